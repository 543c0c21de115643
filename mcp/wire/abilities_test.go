package wire

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/tollgate/tollgate/mcp/upstream"
)

func TestAbilitiesOfACaller(t *testing.T) {
	ask := func(context.Context, string, []byte) *upstream.Answer { return nil }
	session := &upstream.Client{ID: "c"}
	for _, c := range []struct {
		name, caller string
		ask          upstream.Ask
		client       *upstream.Client
		version      string
		want         string // what the server is told
	}{
		{"nothing", `{}`, ask, nil, "2025-11-25", `{}`},
		{"an empty elicitation is of forms", `{"elicitation":{}}`, ask, nil, "2025-11-25", `{"elicitation":{"form":{}}}`},
		{"both modes", `{"elicitation":{"form":{},"url":{}}}`, ask, nil, "2025-11-25", `{"elicitation":{"form":{},"url":{}}}`},
		{"url alone", `{"elicitation":{"url":{}}}`, ask, nil, "2025-11-25", `{"elicitation":{"url":{}}}`},
		{"older servers know no modes", `{"elicitation":{"form":{},"url":{}}}`, ask, nil, "2025-06-18", `{"elicitation":{}}`},
		{"url alone is nothing to them", `{"elicitation":{"url":{}}}`, ask, nil, "2025-06-18", `{}`},
		{"and still older ones no elicitation", `{"elicitation":{},"sampling":{"tools":{}}}`, ask, nil, "2025-03-26", `{"sampling":{}}`},
		{"sampling", `{"sampling":{"tools":{},"context":{},"other":{}}}`, ask, nil, "2025-11-25", `{"sampling":{"tools":{},"context":{}}}`},
		{"roots of a session change", `{"roots":{"listChanged":true}}`, ask, session, "2025-11-25", `{"roots":{"listChanged":true}}`},
		{"those of a request cannot be told to", `{"roots":{"listChanged":true}}`, ask, nil, "2025-11-25", `{"roots":{}}`},
		{"who cannot be asked", `{"roots":{},"sampling":{},"elicitation":{}}`, nil, session, "2025-11-25", `{}`},
		{"extensions go with everyone", `{"roots":{},"extensions":{"io.modelcontextprotocol/ui":{"mimeTypes":["x"]},"io.modelcontextprotocol/tasks":{}}}`, nil, nil, "2025-11-25",
			`{"extensions":{"io.modelcontextprotocol/ui":{"mimeTypes":["x"]}}}`},
		{"tasks alone are none", `{"extensions":{"io.modelcontextprotocol/tasks":{}}}`, ask, nil, "2025-11-25", `{}`},
		{"with something else", `{"extensions":{"a/b":{}},"roots":{}}`, ask, nil, "2025-11-25", `{"roots":{},"extensions":{"a/b":{}}}`},
		{"the unknown is not declared", `{"experimental":{"x":1},"tasks":{}}`, ask, nil, "2025-11-25", `{}`},
	} {
		able := AbilitiesOf(&upstream.Exchange{Capabilities: []byte(c.caller), Ask: c.ask, Client: c.client}, c.version)
		if got := string(able.declared(c.version)); got != c.want || !json.Valid([]byte(got)) {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestWhatIsNotDeclaredIsRefused(t *testing.T) {
	all := Abilities{Form: true, URL: true, Sample: true, SampleTools: true, Roots: true}
	for _, c := range []struct {
		name    string
		able    Abilities
		request string
		want    string // empty: it may be asked
	}{
		{"ping is always answered", Abilities{}, `{"id":"p","method":"ping"}`, `{"jsonrpc":"2.0","id":"p","result":{}}`},
		{"roots", Abilities{Form: true}, `{"id":1,"method":"roots/list"}`, `-32601`},
		{"roots declared", all, `{"id":1,"method":"roots/list"}`, ``},
		{"sampling", Abilities{Form: true}, `{"id":1,"method":"sampling/createMessage","params":{}}`, `-32601`},
		{"sampling declared", Abilities{Sample: true}, `{"id":1,"method":"sampling/createMessage","params":{"messages":[]}}`, ``},
		{"sampling with tools", Abilities{Sample: true}, `{"id":1,"method":"sampling/createMessage","params":{"tools":[]}}`, `-32602`},
		{"sampling with tools declared", all, `{"id":1,"method":"sampling/createMessage","params":{"tools":[],"toolChoice":{}}}`, ``},
		{"elicitation", Abilities{Sample: true}, `{"id":1,"method":"elicitation/create","params":{}}`, `-32601`},
		{"form by default", Abilities{Form: true}, `{"id":1,"method":"elicitation/create","params":{"message":"?"}}`, ``},
		{"form", Abilities{Form: true}, `{"id":1,"method":"elicitation/create","params":{"mode":"form"}}`, ``},
		{"url of a client of forms", Abilities{Form: true}, `{"id":1,"method":"elicitation/create","params":{"mode":"url"}}`, `-32602`},
		{"a form for a client of urls", Abilities{URL: true}, `{"id":1,"method":"elicitation/create","params":{}}`, `-32602`},
		{"a mode nobody knows", all, `{"id":1,"method":"elicitation/create","params":{"mode":"voice"}}`, `-32602`},
		{"anything else", all, `{"id":1,"method":"tools/list"}`, `-32601`},
		{"tasks of the client", all, `{"id":1,"method":"tasks/get","params":{}}`, `-32601`},
	} {
		m, err := Parse([]byte(c.request))
		if err != nil {
			t.Fatal(err)
		}
		answer := c.able.Refuses(m)
		if answer == nil {
			if c.want != "" {
				t.Errorf("%s: it may be asked, want %s", c.name, c.want)
			}
			continue
		}
		var got struct {
			ID    json.RawMessage
			Error struct {
				Code    json.Number
				Message string
			}
		}
		if err := json.Unmarshal(answer, &got); err != nil || string(got.ID) != string(m.ID()) {
			t.Fatalf("%s: %s", c.name, answer)
		}
		if c.want == "" || got.Error.Code.String() != c.want && string(answer) != c.want {
			t.Errorf("%s: %s, want %s", c.name, answer, c.want)
		}
	}
}

func TestModernServersAreToldWhatCallersCanBeAsked(t *testing.T) {
	ask := func(context.Context, string, []byte) *upstream.Answer { return nil }
	const (
		caller = `{"elicitation":{"form":{}},"roots":{"listChanged":true},"experimental":{},"extensions":{"a/b":{"x":1e2},"io.modelcontextprotocol/ui":{"mimeTypes":["m"]},"io.modelcontextprotocol/tasks":{},"c/d":{}}}`
		server = `{"extensions":{"a/b":{},"io.modelcontextprotocol/tasks":{},"e/f":{}}}`
		asked  = `"elicitation":{"form":{}},"roots":{},`
		both   = `"a/b":{"x":1e2},"io.modelcontextprotocol/ui":{"mimeTypes":["m"]}`
	)
	for _, c := range []struct {
		name           string
		era            upstream.Era
		ask            upstream.Ask
		caller, server string
		tasks          bool
		want           string
	}{
		{"modern", upstream.Modern, nil, caller, server, false, `{` + asked + `"extensions":{` + both + `}}`},
		{"modern, may get a task", upstream.Modern, nil, caller, server, true, `{` + asked + `"extensions":{` + both + `,"io.modelcontextprotocol/tasks":{}}}`},
		{"no tasks at this server", upstream.Modern, nil, caller, `{"extensions":{"a/b":{}}}`, true, `{` + asked + `"extensions":{` + both + `}}`},
		{"apps need no server", upstream.Modern, nil, caller, `{}`, true, `{` + asked + `"extensions":{"io.modelcontextprotocol/ui":{"mimeTypes":["m"]}}}`},
		{"legacy, can be asked", upstream.Legacy, ask, caller, server, false, `{` + asked + `"extensions":{` + both + `}}`},
		{"legacy", upstream.Legacy, nil, caller, server, false, `{"extensions":{` + both + `}}`},
		{"legacy, nothing declared, polled for", upstream.Legacy, nil, ``, server, true, `{"extensions":{"io.modelcontextprotocol/tasks":{}}}`},
		{"nothing", upstream.Modern, nil, `{}`, server, false, `{}`},
		{"no object", upstream.Modern, nil, `{"extensions":[]}`, server, false, `{}`},
		{"the gateway itself", "", nil, ``, server, false, `{"extensions":{"io.modelcontextprotocol/ui":{"mimeTypes":["text/html;profile=mcp-app"]}}}`},
	} {
		p := &Peer{Capabilities: []byte(c.server)}
		if got := string(p.declared(&upstream.Exchange{Era: c.era, Ask: c.ask, Capabilities: []byte(c.caller), Tasks: c.tasks})); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}
