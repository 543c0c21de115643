package catalog

import (
	"slices"
	"strings"

	"github.com/tollgate/tollgate/policy"
)

// Space is one namespace of definitions: that of /mcp, of one server or of a profile. Immutable.
type Space struct {
	Name     string // empty: /mcp
	Prefixed bool   // names carry their server's
	Shelves  []*Shelf
	Servers  []string // all servers of the space, also those that have not been heard of yet

	lists     [Kinds][]*Entry // in the order of key
	named     [2]map[string]*Entry
	resources map[string][]*Entry
	pages     map[string][]*Entry // resources that tools name as their pages and that are not listed
}

// NewSpace puts shelves, in the order of their servers' names, into one namespace.
func NewSpace(name string, prefixed bool, servers []string, shelves []*Shelf) *Space {
	s := &Space{Name: name, Prefixed: prefixed, Servers: servers, Shelves: shelves, resources: map[string][]*Entry{}, pages: map[string][]*Entry{}}
	for k := range Kinds {
		for _, shelf := range shelves {
			s.lists[k] = append(s.lists[k], shelf.Lists[k]...)
		}
	}
	s.partPages()
	for k := range Kinds {
		slices.SortFunc(s.lists[k], func(a, b *Entry) int { return strings.Compare(a.key(prefixed), b.key(prefixed)) })
	}
	for _, k := range [...]Kind{Tools, Prompts} {
		s.named[k] = make(map[string]*Entry, len(s.lists[k]))
		for _, e := range s.lists[k] {
			s.named[k][e.Exposed(prefixed)] = e
		}
	}
	for _, e := range s.lists[Resources] {
		uri := e.Exposed(prefixed)
		s.resources[uri] = append(s.resources[uri], e)
	}
	return s
}

// Tool returns the tool exposed by that name, or nil.
func (s *Space) Tool(name string) *Entry { return s.named[Tools][name] }

// Prompt returns the prompt exposed by that name, or nil.
func (s *Space) Prompt(name string) *Entry { return s.named[Prompts][name] }

// Resource returns the entries that a URI may mean, best first: listed ones by server name, then pages of tools, then matching templates. When
// neither knows it and the space has just one server with resources, it is that server's to know. An entry for an
// unlisted URI has the URI as its name.
func (s *Space) Resource(uri string) []*Entry {
	if len(uri) == 0 || len(uri) > uriBytesMax {
		return nil
	}
	if listed := s.resources[uri]; listed != nil {
		return listed
	}
	if pages := s.pages[uri]; pages != nil {
		return pages
	}
	var out []*Entry
	for _, t := range s.lists[Templates] {
		if matches(t.Name, uri) {
			out = append(out, unlisted(t.Server, t.Tool.Trusted, uri))
		}
	}
	if out != nil {
		return out
	}
	var only *Shelf
	for _, shelf := range s.Shelves {
		if shelf.HasResources {
			if only != nil {
				return nil
			}
			only = shelf
		}
	}
	if only == nil {
		return nil
	}
	return []*Entry{unlisted(only.Server, false, uri)}
}

// Template returns the entries listed under a URI template, by server name.
func (s *Space) Template(template string) []*Entry {
	var out []*Entry
	for _, e := range s.lists[Templates] {
		if e.Name == template {
			out = append(out, e)
		}
	}
	return out
}

func unlisted(server string, trusted bool, uri string) *Entry {
	return &Entry{Kind: Resources, Server: server, Name: uri, Tool: readable(Source{Server: server, Trusted: trusted}, "resource", uri)}
}

// matches reports whether uri can be an expansion of a URI template (RFC 6570): its literal parts stand in uri in their
// order. It only chooses the server to ask; whether there is such a resource the server says.
func matches(template, uri string) bool {
	literal, rest, more := strings.Cut(template, "{")
	if !strings.HasPrefix(uri, literal) || literal == "" {
		return false
	}
	uri = uri[len(literal):]
	for more {
		if _, rest, more = strings.Cut(rest, "}"); !more {
			return false
		}
		literal, rest, more = strings.Cut(rest, "{")
		if !more {
			return strings.HasSuffix(uri, literal)
		}
		i := strings.Index(uri, literal)
		if i < 0 {
			return false
		}
		uri = uri[i+len(literal):]
	}
	return uri == ""
}

// Visible says which entries a caller may see.
type Visible func(*policy.Tool) bool

// View is what one caller may see of a space. Immutable.
type View struct {
	Space *Space
	lists [Kinds][]*Entry
	sums  [Kinds]uint64
}

// View filters the space. Of several resources with one URI the first visible one is listed.
func (s *Space) View(visible Visible) *View {
	v := &View{Space: s}
	for k := range Kinds {
		last := ""
		for _, e := range s.lists[k] {
			uri := e.Exposed(s.Prefixed)
			if k == Resources && uri == last || !visible(&e.Tool) {
				continue
			}
			last = uri
			v.lists[k] = append(v.lists[k], e)
			v.sums[k] = v.sums[k]*1099511628211 ^ e.sum
		}
	}
	return v
}

// Sees reports whether the view holds anything of a server.
func (v *View) Sees(server string) bool {
	for _, list := range v.lists {
		if slices.ContainsFunc(list, func(e *Entry) bool { return e.Server == server }) {
			return true
		}
	}
	return false
}

// Sum changes when a list does.
func (v *View) Sum(k Kind) uint64 {
	if k == Resources {
		return v.sums[Resources] ^ v.sums[Templates]*3
	}
	return v.sums[k]
}

// Sums changes when any list does.
func (v *View) Sums() uint64 {
	sum := uint64(0)
	for _, s := range v.sums {
		sum = sum*1099511628211 ^ s
	}
	return sum
}

// Same reports whether two views hold the same entries of the same space.
func (v *View) Same(w *View) bool {
	if v.Space != w.Space {
		return false
	}
	for k := range v.lists {
		if !slices.Equal(v.lists[k], w.lists[k]) {
			return false
		}
	}
	return true
}

// Completions reports whether a visible server completes arguments.
func (v *View) Completions() bool {
	return slices.ContainsFunc(v.Space.Shelves, func(s *Shelf) bool { return s.Completions && v.Sees(s.Server) })
}

// Subscriptions reports whether a visible server tells of changes of its resources.
func (v *View) Subscriptions() bool {
	return slices.ContainsFunc(v.Space.Shelves, func(s *Shelf) bool { return s.Subscriptions && v.Sees(s.Server) })
}

// Instructions are those of the visible servers: verbatim when there is one with any, else under the servers' names.
func (v *View) Instructions() string {
	var from []*Shelf
	for _, s := range v.Space.Shelves {
		if s.Instructions != "" && v.Sees(s.Server) {
			from = append(from, s)
		}
	}
	if len(from) == 1 {
		return from[0].Instructions
	}
	var b strings.Builder
	for _, s := range from {
		b.WriteString("# " + s.Server + "\n\n" + s.Instructions + "\n\n")
	}
	return strings.TrimRight(b.String(), "\n")
}
