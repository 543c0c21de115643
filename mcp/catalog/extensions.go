package catalog

import (
	"bytes"
	"maps"
	"slices"

	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/rpc"
	"github.com/tollgate/tollgate/mcp/upstream"
)

// The bounds of what a server may declare of extensions: each caller's initialize and discover carries it.
const (
	extensionsMax        = 32
	extensionNameMax     = 128
	extensionSettingsMax = 2 << 10
)

// extensionsOf are the extensions that a server offers, by name, with its settings for them, a raw object.
func extensionsOf(declared []byte, e upstream.Era) map[string][]byte {
	out := map[string][]byte{}
	for name, v := range rpc.Members(declared) {
		if v.Kind != '{' || len(name) > extensionNameMax || v.End-v.Start > extensionSettingsMax || len(out) == extensionsMax {
			continue
		}
		if n := string(name); era.Carries(n, e) && hidden(rpc.String(n)) == "" {
			out[n] = v.In(declared)
		}
	}
	return out
}

// AppendExtensions appends the extensions of the visible servers that a caller in era e with these capabilities is offered,
// as an object; nothing when there are none. Those the gateway has a part in are offered to whoever can have them, others
// to callers that declare them too. Where servers differ in their settings none can be promised, and they are left empty.
func (v *View) AppendExtensions(b []byte, c *era.Context) []byte {
	offered := map[string][]byte{}
	for _, s := range v.Space.Shelves {
		if len(s.Extensions) == 0 || !v.Sees(s.Server) {
			continue
		}
		for name, settings := range s.Extensions {
			switch before, known := offered[name]; {
			case !era.Carries(name, c.Era) || name != era.Tasks && name != era.Apps && !c.Declares(name):
			case !known:
				offered[name] = settings
			case !bytes.Equal(before, settings):
				offered[name] = []byte("{}")
			}
		}
	}
	if len(offered) == 0 {
		return b
	}
	b = append(b, '{')
	for i, name := range slices.Sorted(maps.Keys(offered)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(b, rpc.String(name)...), ':')
		b = append(b, offered[name]...)
	}
	return append(b, '}')
}

// Offers reports whether a server of the space offers an extension.
func (s *Space) Offers(server, extension string) bool {
	return slices.ContainsFunc(s.Shelves, func(shelf *Shelf) bool {
		return shelf.Server == server && shelf.Extensions[extension] != nil
	})
}

// ToolOf returns a server's tool by the server's own name for it, or nil.
func (s *Space) ToolOf(server, name string) *Entry {
	exposed := name
	if s.Prefixed {
		exposed = server + sep + name
	}
	if e := s.Tool(exposed); e != nil && e.Server == server {
		return e
	}
	return nil
}
