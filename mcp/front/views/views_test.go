package views

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/mcp/catalog"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/policy"
)

// school is a Source in which pupils see only the tool t.
type school struct{ catalog *catalog.Catalog }

func (s *school) Catalog() *catalog.Catalog { return s.catalog }
func (s *school) Policy() *policy.Set       { return nil }
func (s *school) Visible(p *policy.Principal) catalog.Visible {
	return func(t *policy.Tool) bool { return !strings.HasPrefix(p.Key, "pupil") || t.Name == "t" }
}

// shop is a catalog of one server with two tools.
func shop() *catalog.Catalog {
	shelf := catalog.Digest(catalog.Source{Server: "srv"}, &upstream.Offer{Tools: [][]byte{
		[]byte(`{"name":"t","inputSchema":{"type":"object"}}`), []byte(`{"name":"exam","inputSchema":{"type":"object"}}`),
	}})
	return catalog.New([]string{"srv"}, map[string]*catalog.Shelf{"srv": shelf}, nil)
}

func TestCallersWhoSeeTheSameAreOneClass(t *testing.T) {
	s := &school{shop()}
	var vs Views
	space := s.catalog.Space("")
	teacher := vs.Caller(s, &policy.Principal{Key: "teacher"}, "").Class(space).Page(catalog.Tools, false)
	first := vs.Caller(s, &policy.Principal{Key: "pupil"}, "").Class(space).Page(catalog.Tools, false)
	for i := range 999 {
		page := vs.Caller(s, &policy.Principal{Key: fmt.Sprint("pupil", i)}, "").Class(space).Page(catalog.Tools, false)
		if &page[0] != &first[0] {
			t.Fatalf("pupil %d sees a page of its own", i)
		}
	}
	if g := vs.now; len(g.callers) != 1001 || len(g.classes) != 2 || g.pageBytes != len(first)+len(teacher) {
		t.Errorf("%d callers are %d classes with %d bytes of pages", len(g.callers), len(g.classes), g.pageBytes)
	}
	// The client that a request claims makes another caller, not another class.
	base := &policy.Principal{Key: "pupil"}
	a, b := vs.Caller(s, base, "a/1"), vs.Caller(s, base, "b/1")
	if a == b || a.Principal.Client != "a/1" || b.Principal.Client != "b/1" || a.Class(space) != b.Class(space) || vs.Caller(s, base, "a/1") != a {
		t.Errorf("%+v and %+v", a.Principal, b.Principal)
	}
	// A new catalog makes all anew.
	s.catalog = shop()
	if vs.Caller(s, base, "a/1") == a {
		t.Error("a caller of the catalog before")
	}
}

func TestKeptPagesAreBounded(t *testing.T) {
	g := &generation{classes: map[classKey]*Class{}}
	space := shop().Space("")
	everything := space.View(func(*policy.Tool) bool { return true })
	nothing := space.View(func(*policy.Tool) bool { return false })
	a, b := g.class(everything), g.class(nothing)
	put := func(c *Class, k catalog.Kind, bytes int) { g.keep(&c.pages[k][0], make([]byte, bytes)) }
	put(a, catalog.Tools, pageBytesMax/2)
	put(b, catalog.Tools, pageBytesMax/2)
	if g.pageBytes != pageBytesMax || a.pages[catalog.Tools][0].Load() == nil {
		t.Errorf("%d bytes are kept", g.pageBytes)
	}
	put(b, catalog.Tools, 1) // somebody else was first
	put(b, catalog.Prompts, pageBytesMax+1)
	if g.pageBytes != pageBytesMax || b.pages[catalog.Prompts][0].Load() != nil {
		t.Errorf("%d bytes are kept", g.pageBytes)
	}
	put(a, catalog.Prompts, 7)
	if g.pageBytes != 7 || a.pages[catalog.Tools][0].Load() != nil || b.pages[catalog.Tools][0].Load() != nil {
		t.Errorf("%d bytes are kept", g.pageBytes)
	}
	// Two views that only look the same by their sums share nothing.
	g.classes[classKey{space, nothing.Sums()}] = a
	if c := g.class(nothing); c == a || c.View != nothing || c.Page(catalog.Tools, true) == nil || g.pageBytes != 7 {
		t.Error("a class has the view of another")
	}
}
