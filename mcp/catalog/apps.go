package catalog

import (
	"slices"
	"strings"

	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/mcp/rpc"
)

// A tool may name a page that shows its results (MCP Apps): a resource whose URI begins with ui://. Servers need not list
// such a resource, so the tools say whose it is. Where two servers of a space have pages of one URI, the first by the
// server's name keeps it and the others get theirs under another, in their tools as in their lists.

const (
	pageScheme  = "ui://"
	pageFlatKey = "ui/resourceUri" // what _meta.ui.resourceUri was before
)

// pageOf is the URI of the page that a tool's definition names; empty: none.
func pageOf(raw []byte) string {
	for _, v := range pagesIn(raw) {
		if uri, err := strictjson.Unquote(v.In(raw)); err == nil && strings.HasPrefix(uri, pageScheme) && len(uri) <= uriBytesMax {
			return uri
		}
	}
	return ""
}

// pagesIn are the places in a tool's definition that name its page, in the order in which they count.
func pagesIn(raw []byte) (at []strictjson.Value) {
	meta := strictjson.Lookup(raw, strictjson.Whole(raw), "_meta")
	ui := strictjson.Lookup(raw, meta, "ui")
	for _, v := range [...]strictjson.Value{strictjson.Lookup(raw, ui, "resourceUri"), strictjson.Lookup(raw, meta, pageFlatKey)} {
		if v.Kind == '"' {
			at = append(at, v)
		}
	}
	return at
}

// withPage returns a tool's definition with another URI in all places that name from.
func withPage(raw []byte, from, to string) []byte {
	var edits []strictjson.Edit
	for _, v := range pagesIn(raw) {
		if uri, err := strictjson.Unquote(v.In(raw)); err == nil && uri == from {
			edits = append(edits, strictjson.Replace(v, rpc.String(to)))
		}
	}
	slices.SortFunc(edits, func(a, b strictjson.Edit) int { return a.Start - b.Start })
	return strictjson.Splice(raw, edits...)
}

// page is one server's page.
type page struct{ server, uri string }

// partPages gives each server's pages URIs of their own in the space's lists, which are not sorted yet, and notes the pages
// that no list has.
func (s *Space) partPages() {
	owners := map[string][]string{} // URI -> servers, in the order of the shelves
	listed := map[page]bool{}
	for _, shelf := range s.Shelves {
		own := func(uri string) {
			if all := owners[uri]; len(all) == 0 || all[len(all)-1] != shelf.Server {
				owners[uri] = append(all, shelf.Server)
			}
		}
		for _, e := range shelf.Lists[Resources] {
			if strings.HasPrefix(e.Name, pageScheme) {
				listed[page{e.Server, e.Name}] = true
				own(e.Name)
			}
		}
		for _, e := range shelf.Lists[Tools] {
			if e.page != "" {
				own(e.page)
			}
		}
	}
	if len(owners) == 0 {
		return
	}
	moved := map[page]string{}
	for uri, servers := range owners {
		for _, server := range servers[1:] {
			to := uri
			for taken := true; taken; _, taken = owners[to] {
				to = pageScheme + server + sep + strings.TrimPrefix(to, pageScheme)
			}
			moved[page{server, uri}] = to
		}
	}
	for i, e := range s.lists[Resources] {
		if to := moved[page{e.Server, e.Name}]; to != "" {
			s.lists[Resources][i] = e.under(to)
		}
	}
	for i, e := range s.lists[Tools] {
		if e.page == "" {
			continue
		}
		to := moved[page{e.Server, e.page}]
		if to != "" {
			s.lists[Tools][i] = e.pointing(to)
		}
		if p := (page{e.Server, e.page}); !listed[p] {
			listed[p] = true
			other := unlisted(e.Server, e.Tool.Trusted, e.page)
			other.exposed = to
			at := other.Exposed(s.Prefixed)
			s.pages[at] = append(s.pages[at], other)
		}
	}
}

// under is the resource e with another URI to its readers.
func (e *Entry) under(uri string) *Entry {
	other := *e
	other.exposed = uri
	raw := rpc.With(e.prefixed.modern, strictjson.Change{Name: "uri", Value: rpc.String(uri)})
	other.prefixed = item{raw, raw}
	other.sum ^= sumOf(rpc.String(uri))
	return &other
}

// pointing is the tool e with another URI of its page.
func (e *Entry) pointing(uri string) *Entry {
	other := *e
	other.prefixed = item{withPage(e.prefixed.modern, e.page, uri), withPage(e.prefixed.legacy, e.page, uri)}
	other.sum ^= sumOf(rpc.String(uri))
	return &other
}
