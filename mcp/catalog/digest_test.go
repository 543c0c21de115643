package catalog

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/policy"
)

func raws(defs ...string) [][]byte {
	var out [][]byte
	for _, d := range defs {
		out = append(out, []byte(d))
	}
	return out
}

func tool(name, more string) string {
	return `{"name":` + string(quote(name)) + `,"inputSchema":{"type":"object"}` + more + `}`
}

func quote(s string) []byte {
	b, _ := json.Marshal(s)
	return b
}

func digestTools(defs ...string) *Shelf {
	return Digest(Source{Server: "srv"}, &upstream.Offer{Tools: raws(defs...)})
}

func TestTools(t *testing.T) {
	tests := []struct {
		def  string
		why  string // part of the reason it is withheld for; empty: it is served
		many int    // how often the definition is listed; 0: once
	}{
		{def: tool("read_File-2", "")},
		{def: tool(strings.Repeat("x", 59), "")},
		{def: tool(strings.Repeat("x", 60), ""), why: "65 characters"},
		{def: tool("a.b", ""), why: "other than A-Z"},
		{def: tool("naïve", ""), why: "other than A-Z"},
		{def: tool("re\u0430d", ""), why: "other than A-Z"}, // Cyrillic а
		{def: tool("", ""), why: "no name"},
		{def: `{"inputSchema":{"type":"object"}}`, why: "no name"},
		{def: `{"name":7,"inputSchema":{"type":"object"}}`, why: "no name"},
		{def: `{"name":"t"}`, why: "not of type object"},
		{def: `{"name":"t","inputSchema":true}`, why: "not of type object"},
		{def: `{"name":"t","inputSchema":{"type":"array"}}`, why: "not of type object"},
		{def: `{"name":"t","name":"u","inputSchema":{"type":"object"}}`, why: "duplicate name"},
		{def: `{"name":"t","Description":"x","inputSchema":{"type":"object"}}`, why: "by case only"},
		{def: `[]`, why: "not a definition"},
		{def: tool("t", `,"description":`+string(quote(strings.Repeat("d", 4096))))},
		{def: tool("t", `,"description":`+string(quote(strings.Repeat("d", 4097)))), why: "description is longer"},
		{def: tool("t", `,"description":{}`), why: "must be strings"},
		{def: tool("t", `,"outputSchema":{"$comment":"`+strings.Repeat("s", 64<<10)+`"}`), why: "schema is longer"},
		{def: tool("t", `,"outputSchema":[]`), why: "outputSchema is no object"},
		{def: tool("t", `,"icons":"`+strings.Repeat("s", 200<<10)+`"`), why: "longer than"},
		{def: tool("t", `,"description":"a\nb\tc é 👩‍💻 🇩🇪 ❤️ می\u200cخواهم"`)},
		{def: tool("t", `,"description":"a`+"\u202e"+`b"`), why: "U+202E"},
		{def: tool("t", `,"description":"a\u202Eb"`), why: "U+202E"},
		{def: tool("t", `,"description":"a\udb40\udc41b"`), why: "U+E0041"}, // a tag character, as escapes
		{def: tool("t", `,"description":"a`+"\U000e0041"+`b"`), why: "U+E0041"},
		{def: tool("t", `,"description":"a`+"\u200d"+`b"`), why: "U+200D"},
		{def: tool("t", `,"description":"a`+"\u200b"+`b"`), why: "U+200B"},
		{def: tool("t", `,"description":"a`+"\u00ad"+`b"`), why: "U+00AD"},
		{def: tool("t", `,"description":"\u001b[31mred"`), why: "U+001B"},
		{def: tool("t", `,"description":"a\u0085b"`), why: "U+0085"},
		{def: tool("t", `,"description":"x\ufe01\ufe02"`), why: "U+FE02"},
		{def: tool("t", `,"annotations":{"title":"`+"\u2066"+`"}`), why: "U+2066"},
		{def: `{"name":"t","inputSchema":{"type":"object","properties":{"p":{"description":"\u2067"}}}}`, why: "U+2067"},
		{def: `{"name":"t","inputSchema":{"type":"object","properties":{"p":{"type":"string","x-mcp-header":"Bad Name"}}}}`, why: "x-mcp-header"},
		{def: tool("t", ""), why: "another tool has this name", many: 2},
	}
	for _, tt := range tests {
		many := max(tt.many, 1)
		var defs []string
		for range many {
			defs = append(defs, tt.def)
		}
		s := digestTools(defs...)
		switch {
		case tt.why == "" && (len(s.Withheld) > 0 || len(s.Lists[Tools]) != many):
			t.Errorf("%.120s: withheld %v", tt.def, s.Withheld)
		case tt.why != "" && (len(s.Withheld) != many || len(s.Lists[Tools]) != 0):
			t.Errorf("%.120s: served %d, withheld %v", tt.def, len(s.Lists[Tools]), s.Withheld)
		case tt.why != "" && !strings.Contains(s.Withheld[0], tt.why):
			t.Errorf("%.120s: withheld %q, want %q", tt.def, s.Withheld, tt.why)
		}
	}
}

func TestNamesThatLookAlikeAreAllWithheld(t *testing.T) {
	s := digestTools(tool("read", ""), tool("Read", ""), tool("l0ad", ""), tool("1oad", ""), tool("write", ""))
	if len(s.Lists[Tools]) != 1 || s.Lists[Tools][0].Name != "write" || len(s.Withheld) != 4 {
		t.Errorf("served %d, withheld %v", len(s.Lists[Tools]), s.Withheld)
	}
}

func TestOneBadDefinitionHidesNoOther(t *testing.T) {
	s := Digest(Source{Server: "srv"}, &upstream.Offer{
		Tools:     raws(tool("ok", ""), `{`, tool("bad name", "")),
		Prompts:   raws(`{"name":"ok"}`, `{"name":"b\u00fcse"}`),
		Resources: raws(`{"uri":"x://ok","name":"n"}`, `{"uri":"x://bad"}`, `{"uri":"`+strings.Repeat("u", 3000)+`","name":"n"}`),
		Templates: raws(`{"uriTemplate":"x://{a}","name":"n"}`, `{"uri":"x://no","name":"n"}`),
	})
	for k := range Kinds {
		if len(s.Lists[k]) != 1 {
			t.Errorf("%d %s", len(s.Lists[k]), k.Member())
		}
	}
	if len(s.Withheld) != 6 {
		t.Errorf("withheld %q", s.Withheld)
	}
}

func TestToolsMax(t *testing.T) {
	var defs []string
	for i := range 600 {
		defs = append(defs, tool(fmt.Sprintf("t%dx", i), ""))
	}
	s := digestTools(defs...)
	if len(s.Lists[Tools]) != 512 || len(s.Withheld) != 1 {
		t.Errorf("%d served, withheld %q", len(s.Lists[Tools]), s.Withheld)
	}
	var bad []string
	for range 300 {
		bad = append(bad, "{")
	}
	if s := digestTools(bad...); len(s.Withheld) != 101 || s.Withheld[100] != "and 200 more" {
		t.Errorf("%d reasons", len(s.Withheld))
	}
}

func TestWhatRulesSee(t *testing.T) {
	yes, no := true, false
	price := ledger.Nano(7)
	const hints = `,"annotations":{"readOnlyHint":true,"destructiveHint":false,"openWorldHint":false}`
	tests := []struct {
		name string
		src  Source
		def  string
		want policy.Tool
	}{
		{"not trusted: the worst", Source{}, tool("t", hints), policy.Tool{Destructive: true, OpenWorld: true}},
		{"trusted: its word", Source{Trusted: true}, tool("t", hints), policy.Tool{ReadOnly: true, Idempotent: true, Trusted: true}},
		{"trusted, says nothing", Source{Trusted: true}, tool("t", ""), policy.Tool{Destructive: true, OpenWorld: true, Trusted: true}},
		{"trusted, nonsense", Source{Trusted: true}, tool("t", `,"annotations":{"readOnlyHint":"yes"}`), policy.Tool{Destructive: true, OpenWorld: true, Trusted: true}},
		{"overridden", Source{Tools: map[string]Override{"t": {ReadOnly: &yes, OpenWorld: &no, Price: &price}}}, tool("t", ""), policy.Tool{ReadOnly: true, Idempotent: true}},
		{"the config goes before the server", Source{Trusted: true, Tools: map[string]Override{"t": {ReadOnly: &no}}}, tool("t", hints), policy.Tool{Trusted: true}},
	}
	for _, tt := range tests {
		tt.src.Server, tt.want.Server, tt.want.Name, tt.want.Kind = "srv", "srv", "t", "tool"
		e := Digest(tt.src, &upstream.Offer{Tools: raws(tt.def)}).Lists[Tools][0]
		if e.Tool != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, e.Tool, tt.want)
		}
		if tt.src.Tools["t"].Price != nil && e.Price != price {
			t.Errorf("%s: price %d", tt.name, e.Price)
		}
	}
}

// FuzzDigest holds that whatever a server lists, what is served of it is JSON under its exposed name.
func FuzzDigest(f *testing.F) {
	f.Add([]byte(tool("read", `,"outputSchema":{"type":"array"},"annotations":{"readOnlyHint":true}`)))
	f.Add([]byte(`{"name":"x","inputSchema":{"type":"object","properties":{"p":{"type":"string","x-mcp-header":"P"}}}}`))
	f.Add([]byte(tool("t", `,"description":"\ud83d\udc69\u200d\ud83d\udcbb"`)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		defs := [][]byte{raw}
		s := Digest(Source{Server: "srv", Trusted: true}, &upstream.Offer{Tools: defs, Prompts: defs, Resources: defs, Templates: defs})
		space := NewSpace("", true, []string{"srv"}, []*Shelf{s})
		view := space.View(func(*policy.Tool) bool { return true })
		for k := range Kinds {
			for _, legacy := range []bool{true, false} {
				page, _, ok := view.AppendPage(nil, k, "", legacy)
				var items []struct{ Name string }
				if err := json.Unmarshal(page, &items); err != nil || !ok {
					t.Fatalf("%s: %v", page, err)
				}
				if k == Tools && len(items) == 1 && space.Tool(items[0].Name) == nil {
					t.Fatalf("listed as %q and unknown", items[0].Name)
				}
			}
		}
	})
}
