package catalog

import (
	"slices"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/mcp/upstream"
)

// appShelf is the shelf of a server with tools and resources.
func appShelf(server string, tools, resources []string) *Shelf {
	o := &upstream.Offer{Era: upstream.Modern, Capabilities: []byte(`{"resources":{}}`)}
	for _, raw := range tools {
		o.Tools = append(o.Tools, []byte(raw))
	}
	for _, raw := range resources {
		o.Resources = append(o.Resources, []byte(raw))
	}
	return Digest(Source{Server: server}, o)
}

const (
	appTool  = `{"name":"t","inputSchema":{"type":"object"},"_meta":{"ui":{"resourceUri":"ui://app/\u0070age","visibility":["app"],"x":1e2},"ui/resourceUri":"ui://app/page","y":1.0}}`
	flatTool = `{"name":"flat","inputSchema":{"type":"object"},"_meta":{"ui/resourceUri":"ui://app/page"}}`
	appPage  = `{"uri":"ui://app/page","name":"p","mimeType":"text/html;profile=mcp-app","_meta":{"ui":{"csp":{"connectDomains":[]},"permissions":{"camera":{}}}}}`
)

func TestDefinitionsOfAppsStayAsTheyAre(t *testing.T) {
	shelf := appShelf("a", []string{appTool, flatTool}, []string{appPage})
	for _, s := range []*Space{NewSpace("a", false, []string{"a"}, []*Shelf{shelf}), NewSpace("", true, []string{"a"}, []*Shelf{shelf})} {
		for _, legacy := range []bool{false, true} {
			tools, _, _ := s.View(everything).AppendPage(nil, Tools, "", legacy)
			want := `[` + flatTool + `,` + appTool + `]`
			if s.Prefixed {
				want = strings.ReplaceAll(want, `"name":"`, `"name":"a__`)
			}
			if string(tools) != want {
				t.Errorf("%s\nwant %s", tools, want)
			}
			resources, _, _ := s.View(everything).AppendPage(nil, Resources, "", legacy)
			if string(resources) != `[`+appPage+`]` {
				t.Errorf("%s\nwant %s", resources, appPage)
			}
		}
	}
}

// TestPagesOfOneURILeadToTheirServers: what a tool names as its page is read from the tool's own server.
func TestPagesOfOneURILeadToTheirServers(t *testing.T) {
	for name, c := range map[string]struct {
		resources map[string][]string // what servers a, b and c list
		listed    []string
	}{
		"all list it":      {map[string][]string{"a": {appPage}, "b": {appPage}, "c": {appPage}}, []string{"ui://app/page", "ui://b__app/page", "ui://c__app/page"}},
		"nobody lists it":  {nil, []string{}},
		"a later one does": {map[string][]string{"b": {appPage}}, []string{"ui://b__app/page"}},
		"the other's new name is taken": {map[string][]string{"a": {appPage, strings.Replace(appPage, "ui://app/", "ui://b__app/", 1)}, "b": {appPage}},
			[]string{"ui://app/page", "ui://b__app/page", "ui://b__b__app/page"}},
	} {
		t.Run(name, func(t *testing.T) {
			var shelves []*Shelf
			servers := []string{"a", "b", "c"}
			for _, s := range servers {
				shelves = append(shelves, appShelf(s, []string{appTool, flatTool}, c.resources[s]))
			}
			s := NewSpace("", true, servers, shelves)
			v := s.View(everything)
			got, _ := all(t, v, Resources, "uri")
			if !slices.Equal(got, c.listed) {
				t.Errorf("listed are %q, want %q", got, c.listed)
			}
			seen := map[string]bool{}
			for _, server := range servers {
				for _, legacy := range []bool{false, true} {
					for _, tool := range []string{"t", "flat"} {
						raw := s.Tool(server+"__"+tool).raw(true, legacy)
						uri := pageOf(raw)
						if seen[uri+tool] != legacy {
							t.Errorf("%s is the page of two servers", uri)
						}
						seen[uri+tool] = true
						found := s.Resource(uri)
						if len(found) != 1 || found[0].Server != server || found[0].Name != "ui://app/page" || found[0].Exposed(true) != uri {
							t.Errorf("%s of %s leads to %+v", uri, server, found)
						}
						for _, at := range pagesIn(raw) {
							if text := at.In(raw); server != "a" && !strings.Contains(string(text), server+"__") {
								t.Errorf("%s names %s", server, text)
							}
						}
					}
				}
			}
		})
	}
}

// TestANewServerMovesNobodysPages but those of servers behind it.
func TestANewServerMovesNobodysPages(t *testing.T) {
	a, b := appShelf("a", []string{appTool}, []string{appPage}), appShelf("b", []string{appTool}, []string{appPage})
	alone, both := NewSpace("", true, []string{"a"}, []*Shelf{a}), NewSpace("", true, []string{"a", "b"}, []*Shelf{a, b})
	if one, two := alone.Tool("a__t").raw(true, false), both.Tool("a__t").raw(true, false); string(one) != string(two) {
		t.Errorf("%s became %s", one, two)
	}
	if alone.View(everything).Sum(Tools) == both.View(everything).Sum(Tools) {
		t.Error("the lists have one sum")
	}
	own := NewSpace("b", false, []string{"b"}, []*Shelf{b})
	if raw := own.Tool("t").raw(false, false); string(raw) != appTool {
		t.Errorf("at its own path it is %s", raw)
	}
}

func TestWhatIsNoPage(t *testing.T) {
	for _, meta := range []string{`{}`, `{"ui":1}`, `{"ui":{}}`, `{"ui":{"resourceUri":1}}`, `{"ui":{"resourceUri":"http://x"}}`, `{"ui/resourceUri":null}`, `{"ui":{"resourceUri":"ui://` + strings.Repeat("x", uriBytesMax) + `"}}`} {
		if got := pageOf([]byte(`{"name":"t","_meta":` + meta + `}`)); got != "" {
			t.Errorf("%.40s: %s", meta, got)
		}
	}
}
