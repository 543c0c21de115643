package catalog

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/policy"
)

func everything(*policy.Tool) bool { return true }

func named(t *testing.T, page []byte, by string) []string {
	t.Helper()
	var items []map[string]any
	if err := json.Unmarshal(page, &items); err != nil {
		t.Fatalf("%v: %.200s", err, page)
	}
	names := []string{}
	for _, it := range items {
		names = append(names, it[by].(string))
	}
	return names
}

func all(t *testing.T, v *View, k Kind, by string) (names []string, pages int) {
	t.Helper()
	cursor := ""
	for {
		page, next, ok := v.AppendPage(nil, k, cursor, false)
		if !ok {
			t.Fatalf("cursor %q is refused", cursor)
		}
		names = append(names, named(t, page, by)...)
		if pages++; next == "" {
			return names, pages
		}
		cursor = next
	}
}

func manyTools(server string, n int, more string) *Shelf {
	var defs []string
	for i := range n {
		defs = append(defs, tool(fmt.Sprintf("t%03d_x", i), more))
	}
	return Digest(Source{Server: server}, &upstream.Offer{Tools: raws(defs...)})
}

func TestPagesHoldEachEntryOnce(t *testing.T) {
	shelves := []*Shelf{manyTools("a", 333, ""), manyTools("b", 444, ""), manyTools("c", 512, "")}
	space := NewSpace("", true, []string{"a", "b", "c"}, shelves)
	names, pages := all(t, space.View(everything), Tools, "name")
	if len(names) != 333+444+512 || pages != 2 || !slices.IsSorted(names) || len(slices.Compact(names)) != len(names) {
		t.Errorf("%d names on %d pages", len(names), pages)
	}
	big := NewSpace("", true, []string{"a"}, []*Shelf{manyTools("a", 100, `,"icons":"`+strings.Repeat("i", 100<<10)+`"`)})
	if names, pages := all(t, big.View(everything), Tools, "name"); len(names) != 100 || pages < 3 {
		t.Errorf("%d names on %d pages of 10 MB", len(names), pages)
	}
}

func TestCursorSurvivesChange(t *testing.T) {
	before := NewSpace("", true, nil, []*Shelf{manyTools("a", 512, ""), manyTools("b", 512, ""), manyTools("c", 100, "")}).View(everything)
	_, next, _ := before.AppendPage(nil, Tools, "", false)
	after := NewSpace("", true, nil, []*Shelf{manyTools("a", 10, ""), manyTools("b", 480, ""), manyTools("c", 90, "")}).View(everything)
	page, _, ok := after.AppendPage(nil, Tools, next, false)
	if names := named(t, page, "name"); !ok || len(names) != 90 || names[0] != "c__t000_x" {
		t.Errorf("%d names behind the cursor", len(names))
	}
}

func TestForeignCursorsAreRefused(t *testing.T) {
	v := NewSpace("", true, nil, []*Shelf{manyTools("a", 3, "")}).View(everything)
	for _, c := range []string{"x", "!!", "YQ", writeCursor(Prompts, "a"), strings.Repeat("A", 5000), writeCursor(Tools, "a") + "="} {
		if _, _, ok := v.AppendPage(nil, Tools, c, false); ok {
			t.Errorf("cursor %.20q is taken", c)
		}
	}
}

func FuzzCursor(f *testing.F) {
	f.Add("")
	f.Add(writeCursor(Tools, "a__t001_x"))
	f.Add(writeCursor(Resources, "x://1\x00a"))
	v := NewSpace("", true, nil, []*Shelf{manyTools("a", 3, "")}).View(everything)
	f.Fuzz(func(t *testing.T, cursor string) {
		for k := range Kinds {
			page, next, ok := v.AppendPage(nil, k, cursor, true)
			if ok && !json.Valid(page) || next != "" {
				t.Fatalf("%s %s", page, next)
			}
		}
	})
}

func TestTwoServersNeverMeetInOneName(t *testing.T) {
	a := Digest(Source{Server: "git"}, &upstream.Offer{Tools: raws(tool("hub__x", ""), tool("_y", ""))})
	b := Digest(Source{Server: "git-hub"}, &upstream.Offer{Tools: raws(tool("x", ""))})
	s := NewSpace("", true, nil, []*Shelf{a, b})
	for name, server := range map[string]string{"git__hub__x": "git", "git___y": "git", "git-hub__x": "git-hub"} {
		if e := s.Tool(name); e == nil || e.Server != server {
			t.Errorf("%s is %+v", name, e)
		}
	}
	if s.Tool("x") != nil || s.Tool("hub__x") != nil {
		t.Error("a bare name is known")
	}
}

func TestResource(t *testing.T) {
	a := Digest(Source{Server: "a"}, &upstream.Offer{
		Resources: raws(`{"uri":"x://both","name":"n"}`), Templates: raws(`{"uriTemplate":"log://{day}/all","name":"n"}`),
		Capabilities: []byte(`{"resources":{}}`),
	})
	b := Digest(Source{Server: "b"}, &upstream.Offer{Resources: raws(`{"uri":"x://both","name":"n"}`, `{"uri":"x://b","name":"n"}`)})
	both := NewSpace("", true, nil, []*Shelf{a, b})
	tests := []struct {
		uri  string
		want string // servers, best first
	}{
		{"x://both", "a b"}, {"x://b", "b"}, {"log://mon/all", "a"}, {"log://mon/none", "a"}, {"", ""}, {strings.Repeat("u", 3000), ""},
	}
	for _, tt := range tests {
		var got []string
		for _, e := range both.Resource(tt.uri) {
			got = append(got, e.Server)
			if e.Tool.Name != tt.uri || e.Tool.Kind != "resource" {
				t.Errorf("%s is judged as %+v", tt.uri, e.Tool)
			}
		}
		if strings.Join(got, " ") != tt.want {
			t.Errorf("%.30s is %v, want %s", tt.uri, got, tt.want)
		}
	}
	c := Digest(Source{Server: "c"}, &upstream.Offer{Capabilities: []byte(`{"resources":{}}`)})
	if got := NewSpace("", true, nil, []*Shelf{a, c}).Resource("x://unlisted"); got != nil {
		t.Errorf("an unlisted URI is guessed to be %s's", got[0].Server)
	}
}

func TestMatches(t *testing.T) {
	tests := []struct {
		template, uri string
		want          bool
	}{
		{"file:///{path}", "file:///a/b", true},
		{"file:///{path}", "file:///", true},
		{"file:///{path}", "http://x", false},
		{"x://{a}/mid/{b}.txt", "x://1/mid/2.txt", true},
		{"x://{a}/mid/{b}.txt", "x://1/2.txt", false},
		{"x://{a}/mid/{b}.txt", "x://1/mid/2.md", false},
		{"x://fixed", "x://fixed", true},
		{"x://fixed", "x://fixed2", false},
		{"{+all}", "anything", false},
		{"x://{open", "x://1", false},
	}
	for _, tt := range tests {
		if got := matches(tt.template, tt.uri); got != tt.want {
			t.Errorf("matches(%q, %q) = %v", tt.template, tt.uri, got)
		}
	}
}

func TestViewHoldsWhatIsVisible(t *testing.T) {
	a := Digest(Source{Server: "a"}, &upstream.Offer{Resources: raws(`{"uri":"x://1","name":"of a"}`), Tools: raws(tool("t", "")), Instructions: "A"})
	b := Digest(Source{Server: "b"}, &upstream.Offer{Resources: raws(`{"uri":"x://1","name":"of b"}`), Tools: raws(tool("t", "")), Instructions: "B"})
	s := NewSpace("", true, nil, []*Shelf{a, b})
	onlyB := s.View(func(t *policy.Tool) bool { return t.Server == "b" })
	page, _, _ := onlyB.AppendPage(nil, Resources, "", false)
	if names := named(t, page, "name"); !slices.Equal(names, []string{"of b"}) {
		t.Errorf("b alone lists %v", names)
	}
	if onlyB.Sees("a") || onlyB.Instructions() != "B" {
		t.Errorf("b alone shows of a: %q", onlyB.Instructions())
	}
	full := s.View(everything)
	page, _, _ = full.AppendPage(nil, Resources, "", false)
	if names := named(t, page, "name"); !slices.Equal(names, []string{"of a"}) {
		t.Errorf("one URI is listed as %v", names)
	}
	if full.Sum(Tools) == onlyB.Sum(Tools) || full.Sum(Prompts) != onlyB.Sum(Prompts) {
		t.Error("sums do not tell lists apart")
	}
	if got := full.Instructions(); got != "# a\n\nA\n\n# b\n\nB" {
		t.Errorf("%q", got)
	}
}

func TestCatalog(t *testing.T) {
	c := New([]string{"b", "a"}, map[string]*Shelf{"a": manyTools("a", 2, ""), "gone": manyTools("gone", 1, "")}, map[string][]string{"p": {"b", "a"}})
	root := c.Space("")
	if root == nil || !root.Prefixed || !slices.Equal(root.Servers, []string{"a", "b"}) || len(root.Shelves) != 1 {
		t.Errorf("%+v", root)
	}
	if s := c.Space("a"); s.Prefixed || s.Tool("t000_x") == nil || s.Tool("a__t000_x") != nil {
		t.Error("a server alone has bare names")
	}
	if s := c.Space("p"); !s.Prefixed || s.Tool("a__t000_x") == nil {
		t.Error("a profile has prefixed names")
	}
	if c.Space("gone") != nil || c.Space("b") == nil {
		t.Error("spaces are those of the declared servers")
	}
}

func BenchmarkPage500(b *testing.B) {
	v := NewSpace("", true, nil, []*Shelf{manyTools("a", 500, `,"description":"`+strings.Repeat("d", 600)+`"`)}).View(everything)
	buf := make([]byte, 0, 1<<20)
	b.ReportAllocs()
	for b.Loop() {
		buf, _, _ = v.AppendPage(buf[:0], Tools, "", false)
	}
	b.SetBytes(int64(len(buf)))
}
