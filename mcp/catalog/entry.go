package catalog

import (
	"hash/fnv"

	sdk "github.com/mark3labs/mcp-go/mcp"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/policy"
)

// Kind is a kind of list.
type Kind int

// The kinds, and how many they are.
const (
	Tools Kind = iota
	Prompts
	Resources
	Templates
	Kinds
)

// Member is the name of the list in a result.
func (k Kind) Member() string {
	return [...]string{"tools", "prompts", "resources", "resourceTemplates"}[k]
}

// noun is what one entry is called in reports.
func (k Kind) noun() string { return [...]string{"tool", "prompt", "resource", "resource template"}[k] }

// sep stands between server and name in exposed names. No server's name contains it or ends in _, so the first one in an
// exposed name is where the server's name ends and no two servers can meet in one name.
const sep = "__"

// Entry is one definition of one server. Immutable.
type Entry struct {
	Kind   Kind
	Server string
	Name   string      // as the server names it: tool or prompt name, URI, URI template
	Tool   policy.Tool // what a rule sees
	Price  ledger.Nano // of a tool call

	// Headers is set when the tool's schema maps arguments to headers (x-mcp-header).
	Headers *sdk.Tool

	page           string // URI of a tool's page, as the server names it; empty: none
	exposed        string // URI of a resource in spaces of several servers; empty: Name
	bare, prefixed item
	sum            uint64 // of the definition
}

// item is a definition as it is listed, in both eras; they share their bytes when they do not differ.
type item struct{ modern, legacy []byte }

// Exposed is the name by which the entry is called in a space.
func (e *Entry) Exposed(prefixed bool) string {
	switch {
	case prefixed && e.exposed != "":
		return e.exposed
	case !prefixed || e.Kind == Resources || e.Kind == Templates:
		return e.Name
	}
	return e.Server + sep + e.Name
}

// key orders the entries of a space. It is unique in its list.
func (e *Entry) key(prefixed bool) string {
	if e.Kind == Resources || e.Kind == Templates {
		return e.Exposed(prefixed) + "\x00" + e.Server
	}
	return e.Exposed(prefixed)
}

func (e *Entry) raw(prefixed, legacy bool) []byte {
	it := &e.bare
	if prefixed {
		it = &e.prefixed
	}
	if legacy {
		return it.legacy
	}
	return it.modern
}

func sumOf(raw []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(raw) // never fails
	return h.Sum64()
}
