package era

import (
	"strings"
	"testing"

	"github.com/tollgate/tollgate/mcp/rpc"
)

func TestDeclared(t *testing.T) {
	const all = `{"elicitation":{"form":{},"url":{}},"sampling":{"tools":{},"context":{}},"roots":{"listChanged":true},"tasks":{},"experimental":{"x":{}}}`
	tests := []struct{ version, in, want string }{
		{V2025Nov, all, `{"elicitation":{"form":{},"url":{}},"sampling":{"tools":{},"context":{}},"roots":{"listChanged":true},"experimental":{"x":{}}}`},
		{V2025Jun, all, `{"elicitation":{"form":{}},"sampling":{},"roots":{"listChanged":true},"experimental":{"x":{}}}`},
		{V2025Mar, all, `{"sampling":{},"roots":{"listChanged":true},"experimental":{"x":{}}}`},
		{V2024, `{"sampling":{}}`, `{"sampling":{}}`},
		{V2024, ``, ``},
	}
	for _, tt := range tests {
		if got := string(Declared(tt.version, []byte(tt.in))); got != tt.want {
			t.Errorf("of %s at %s counts %s, want %s", tt.in, tt.version, got, tt.want)
		}
	}
}

func TestAsks(t *testing.T) {
	for raw, want := range map[string]bool{
		`{"roots":{}}`: true, `{"sampling":{}}`: true, `{"elicitation":{}}`: true, `{"extensions":{},"roots":true}`: false, `{}`: false, ``: false,
	} {
		if Asks([]byte(raw)) != want {
			t.Errorf("%s: %v", raw, !want)
		}
	}
}

// TestQuestion is the table of what a client of each revision and capability can be asked. want empty: as it came; otherwise
// the params, or the code and a word of the refusal.
func TestQuestion(t *testing.T) {
	const (
		form     = `{"message":"m","requestedSchema":{"type":"object","properties":{"a":{"type":"string","default":"d"}}}}`
		formMode = `{"mode":"form","message":"m","requestedSchema":{"type":"object","properties":{}}}`
		url      = `{"mode":"url","message":"m","url":"https://x.test/","elicitationId":"e"}`
		titled   = `{"message":"m","requestedSchema":{"type":"object","properties":{"c":{"type":"string","oneOf":[{"const":"1","title":"One"},{"const":"2","title":"Two"}]},"b":{"type":"boolean"}}}}`
		several  = `{"message":"m","requestedSchema":{"type":"object","properties":{"c":{"type":"array","items":{"enum":["1"]}}}}}`
		sample   = `{"messages":[{"role":"user","content":{"type":"text","text":"hi"}}],"maxTokens":9,"later":1}`
		tools    = `{"messages":[],"maxTokens":9,"tools":[],"toolChoice":{}}`
		toolUse  = `{"messages":[{"role":"assistant","content":{"type":"tool_use","id":"1"}}],"maxTokens":9}`
		manyPart = `{"messages":[{"role":"user","content":[{"type":"text","text":"hi"}]}],"maxTokens":9}`
		audio    = `{"messages":[{"role":"user","content":{"type":"audio","data":""}}],"maxTokens":9}`
		context  = `{"messages":[],"maxTokens":9,"includeContext":"allServers"}`
	)
	tests := []struct {
		version, capabilities, method, params, want string
	}{
		{V2025Nov, `{"elicitation":{}}`, Elicit, form, ""},
		{V2025Nov, `{"elicitation":{"form":{}}}`, Elicit, formMode, ""},
		{V2025Nov, `{"elicitation":{"form":{},"url":{}}}`, Elicit, url, ""},
		{V2025Nov, `{"elicitation":{}}`, Elicit, url, "-32602 by URL"},
		{V2025Nov, `{"elicitation":{"url":{}}}`, Elicit, form, "-32602 by form"},
		{V2025Nov, `{"elicitation":{}}`, Elicit, `{"mode":"voice"}`, "-32602 modes"},
		{V2025Nov, `{"elicitation":{}}`, Elicit, titled, ""},
		{V2025Nov, `{"elicitation":{}}`, Elicit, several, ""},
		{V2025Nov, `{"elicitation":{}}`, Elicit, `{"message":"m","task":{"ttl":1}}`, `{"message":"m"}`},
		{V2025Nov, `{"sampling":{}}`, Elicit, form, "-32601 elicitation/create"},
		{V2025Nov, `{"elicitation":true}`, Elicit, form, "-32601 elicitation/create"},
		{V2025Jun, `{"elicitation":{}}`, Elicit, form, ""},
		{V2025Jun, `{"elicitation":{}}`, Elicit, formMode, strings.Replace(formMode, `"mode":"form",`, "", 1)},
		{V2025Jun, `{"elicitation":{"url":{}}}`, Elicit, url, "-32602 by URL"},
		{V2025Jun, `{"elicitation":{}}`, Elicit, titled, strings.Replace(titled, `"oneOf":[{"const":"1","title":"One"},{"const":"2","title":"Two"}]`, `"enum":["1","2"],"enumNames":["One","Two"]`, 1)},
		{V2025Jun, `{"elicitation":{}}`, Elicit, several, "-32602 field c"},
		{V2025Jun, `{"elicitation":{}}`, Elicit, strings.Replace(titled, `"title":"One"`, `"x":1`, 1), "-32602 field c"},
		{V2025Mar, `{"elicitation":{}}`, Elicit, form, "-32601 elicitation/create"},
		{V2024, `{"elicitation":{"form":{},"url":{}}}`, Elicit, url, "-32601 elicitation/create"},

		{V2024, `{"sampling":{}}`, Sample, sample, ""},
		{V2025Nov, `{"sampling":{}}`, Sample, sample, ""},
		{V2025Nov, `{"roots":{}}`, Sample, sample, "-32601 sampling/createMessage"},
		{V2025Nov, `{"sampling":{}}`, Sample, tools, "-32602 with tools"},
		{V2025Nov, `{"sampling":{"tools":{}}}`, Sample, tools, ""},
		{V2025Jun, `{"sampling":{"tools":{}}}`, Sample, tools, "-32602 with tools"},
		{V2025Nov, `{"sampling":{}}`, Sample, toolUse, "-32602 with tools"},
		{V2025Nov, `{"sampling":{"tools":{}}}`, Sample, toolUse, ""},
		{V2025Nov, `{"sampling":{}}`, Sample, manyPart, ""},
		{V2025Jun, `{"sampling":{}}`, Sample, manyPart, "-32602 several parts"},
		{V2025Mar, `{"sampling":{}}`, Sample, audio, ""},
		{V2024, `{"sampling":{}}`, Sample, audio, "-32602 audio"},
		{V2025Nov, `{"sampling":{}}`, Sample, context, `{"messages":[],"maxTokens":9}`},
		{V2025Nov, `{"sampling":{"context":{}}}`, Sample, context, ""},
		{V2025Jun, `{"sampling":{}}`, Sample, context, ""},

		{V2024, `{"roots":{}}`, ListRoots, "", ""},
		{V2025Nov, `{"roots":{}}`, ListRoots, `{"_meta":{"k":1}}`, ""},
		{V2025Nov, `{}`, ListRoots, "", "-32601 roots/list"},
		{V2025Nov, ``, ListRoots, "", "-32601 roots/list"},
		{V2025Nov, `{"sampling":{},"roots":{},"elicitation":{}}`, "tools/call", `{}`, "-32601 not asked"},
	}
	for _, tt := range tests {
		var params []byte
		if tt.params != "" {
			params = []byte(tt.params)
		}
		got, err := Question(tt.version, Declared(tt.version, []byte(tt.capabilities)), tt.method, params)
		code, word, refused := strings.Cut(tt.want, " ")
		switch {
		case refused && strings.HasPrefix(code, "-"):
			if err == nil || string(err.Object()[8:14]) != code || !strings.Contains(err.Message, word) {
				t.Errorf("%s %s %s %s: %s %v, want %s", tt.version, tt.capabilities, tt.method, tt.params, got, err, tt.want)
			}
		case err != nil:
			t.Errorf("%s %s %s %s: refused: %v", tt.version, tt.capabilities, tt.method, tt.params, err)
		case tt.want == "" && string(got) != tt.params, tt.want != "" && string(got) != tt.want:
			t.Errorf("%s %s %s %s: became %s, want %s", tt.version, tt.capabilities, tt.method, tt.params, got, tt.want)
		}
	}
}

func TestReadAnswer(t *testing.T) {
	tests := []struct {
		body, result, failure string
		code                  int
		bad                   bool
	}{
		{body: `"result":{"n":12345678901234567890}`, result: `{"n":12345678901234567890}`},
		{body: `"error":{"code":-1,"message":"no","data":{"n":12345678901234567890}}`, failure: `{"code":-1,"message":"no","data":{"n":12345678901234567890}}`, code: -1},
		{body: `"error":{"code":1.5}`, bad: true},
		{body: `"error":{}`, bad: true},
		{body: `"error":"no"`, bad: true},
		{body: `"result":[]`, bad: true},
		{body: `"result":{},"error":{"code":1}`, bad: true},
	}
	for _, tt := range tests {
		m, refused := rpc.Parse([]byte(`{"jsonrpc":"2.0","id":1,` + tt.body + `}`))
		if refused != nil {
			t.Fatal(refused)
		}
		a, ok := ReadAnswer(m)
		switch {
		case ok == tt.bad:
			t.Errorf("%s: ok is %v", tt.body, ok)
		case !ok:
		case tt.failure == "" && (string(a.Result) != tt.result || a.Error != nil):
			t.Errorf("%s: %+v", tt.body, a)
		case tt.failure != "" && (string(a.Error.Raw) != tt.failure || a.Error.Code != tt.code):
			t.Errorf("%s: %+v", tt.body, a.Error)
		}
	}
}

// FuzzQuestion holds that whatever a server asks goes out as JSON or not at all.
func FuzzQuestion(f *testing.F) {
	f.Add(0, `{"elicitation":{}}`, Elicit, `{"requestedSchema":{"properties":{"c":{"oneOf":[{"const":"1","title":"One"}]}}}}`)
	f.Add(2, `{"sampling":{"tools":{}}}`, Sample, `{"messages":[{"content":[{"type":"audio"}]}]}`)
	f.Fuzz(func(t *testing.T, version int, capabilities, method, params string) {
		v := legacy[uint(version)%uint(len(legacy))]
		scanned := func(s string) []byte {
			m, err := rpc.Parse([]byte(`{"jsonrpc":"2.0","method":"m","params":` + s + `}`))
			if err != nil || m.Get(rpc.Params) == nil {
				t.Skip()
			}
			return m.Get(rpc.Params)
		}
		got, refused := Question(v, Declared(v, scanned(capabilities)), method, scanned(params))
		if refused == nil {
			if _, err := rpc.Parse(rpc.AppendRequest(nil, []byte("1"), "m", got)); err != nil {
				t.Fatalf("%s: %v", got, err)
			}
		}
	})
}
