package era

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/mcp/rpc"
	"github.com/tollgate/tollgate/mcp/upstream"
)

func parse(t *testing.T, raw string) *rpc.Message {
	t.Helper()
	m, err := rpc.Parse([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func read(t *testing.T, m *rpc.Message) *Meta {
	t.Helper()
	x, err := Read(m)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestEra(t *testing.T) {
	const marked = `{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28"}}}`
	tests := []struct {
		header, raw string
		want        upstream.Era
	}{
		{"", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, upstream.Legacy},
		{"2025-06-18", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, upstream.Legacy},
		{"", `{"jsonrpc":"2.0","id":1,"method":"initialize"}`, upstream.Legacy},
		{"", `{"jsonrpc":"2.0","id":1,"method":"server/discover"}`, upstream.Modern},
		{"2026-07-28", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, upstream.Modern},
		{"2099-01-01", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, upstream.Modern},
		{"", marked, upstream.Modern},
		{"2025-06-18", marked, upstream.Modern},
	}
	for _, tt := range tests {
		h := http.Header{}
		if tt.header != "" {
			h.Set("MCP-Protocol-Version", tt.header)
		}
		m := parse(t, tt.raw)
		if got := read(t, m).Era(h, m); got != tt.want {
			t.Errorf("Era(%q, %s) = %s, want %s", tt.header, tt.raw, got, tt.want)
		}
	}
}

func TestNegotiate(t *testing.T) {
	for asked, want := range map[string]string{
		V2024: V2024, V2025Mar: V2025Mar, V2025Jun: V2025Jun, V2025Nov: V2025Nov,
		V2026: V2025Nov, "2025-08-01": V2025Jun, "1999-01-01": V2025Nov, "": V2025Nov,
	} {
		if got := Negotiate(asked); got != want {
			t.Errorf("Negotiate(%q) = %s, want %s", asked, got, want)
		}
	}
}

func TestContextKeepsWhatIsTheCallers(t *testing.T) {
	m := parse(t, `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":{"a/b":{"c":1e400},"progressToken":"p","io.modelcontextprotocol/related-task":{},"traceparent":"t", "z":[]}}}`)
	c := read(t, m).Legacy(V2025Nov)
	if got, want := string(c.Meta), `{"a/b":{"c":1e400},"z":[]}`; got != want {
		t.Errorf("meta %s, want %s", got, want)
	}
	if string(c.ProgressToken) != `"p"` || c.TraceParent != "t" || c.Version != V2025Nov {
		t.Errorf("context %+v", c)
	}
	for _, bad := range []string{`{"progressToken":{}}`, `{"PROGRESSTOKEN":1}`, `{"io.modelcontextprotocol/ProtocolVersion":"x"}`, `[]`} {
		if _, err := Read(parse(t, `{"jsonrpc":"2.0","id":1,"method":"ping","params":{"_meta":`+bad+`}}`)); err == nil {
			t.Errorf("_meta %s is taken", bad)
		}
	}
}

func TestClaimIsBounded(t *testing.T) {
	if got := Claim(strings.Repeat("ü", 200), "1"); len(got) > claimBytesMax {
		t.Errorf("%d bytes", len(got))
	}
	if got := Claim("a", ""); got != "a" {
		t.Error(got)
	}
	if got := Claim("", "1"); got != "" {
		t.Error(got)
	}
}

func TestResultFor(t *testing.T) {
	self := []byte(`{"name":"tollgate"}`)
	modern := &Context{Era: upstream.Modern, Version: V2026}
	tests := []struct {
		name, raw string
		x         *Context
		cacheable bool
		want      string
	}{
		{"modern gets what it lacks", `{"content":[]}`, modern, false,
			`{"content":[],"resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"tollgate"}}}`},
		{"empty", ` {} `, modern, false, `{"resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"tollgate"}}}`},
		{"another server's name stays here", `{"resultType":"complete","_meta":{"a":1,"io.modelcontextprotocol/serverInfo":{"name":"x"}},"n":12345678901234567890}`, modern, false,
			`{"resultType":"complete","_meta":{"a":1,"io.modelcontextprotocol/serverInfo":{"name":"tollgate"}},"n":12345678901234567890}`},
		{"cache hints", `{"contents":[]}`, modern, true,
			`{"contents":[],"resultType":"complete","ttlMs":0,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"tollgate"}}}`},
		{"never public", `{"contents":[],"ttlMs":9,"cacheScope":"public"}`, modern, true,
			`{"contents":[],"ttlMs":9,"cacheScope":"private","resultType":"complete","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"tollgate"}}}`},
		{"legacy as it came", `{"content" : [ ], "x":1}`, &Context{Era: upstream.Legacy, Version: V2025Nov}, false, `{"content" : [ ], "x":1}`},
		{"legacy without what is modern", `{"resultType":"complete","ttlMs":1,"cacheScope":"private","structuredContent":3,"_meta":{"io.modelcontextprotocol/serverInfo":{}},"content":[]}`,
			&Context{Era: upstream.Legacy, Version: V2025Nov}, true, `{"_meta":{},"content":[]}`},
		{"legacy keeps structured objects", `{"structuredContent":{"a":1},"content":[{"type":"resource_link","uri":"x://y"}]}`,
			&Context{Era: upstream.Legacy, Version: V2025Jun}, false, `{"structuredContent":{"a":1},"content":[{"type":"resource_link","uri":"x://y"}]}`},
	}
	for _, tt := range tests {
		r, err := ReadResult([]byte(tt.raw))
		if err != nil {
			t.Fatal(err)
		}
		if got := string(r.For(tt.x, self, tt.cacheable)); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}

func TestReadResultRefuses(t *testing.T) {
	for _, raw := range []string{``, `[]`, `{`, `{"isError":true,"isError":false}`, `{"iserror":true,"isError":false}`, `{"resultType":1}`, `{"_meta":[]}`} {
		if _, err := ReadResult([]byte(raw)); err == nil {
			t.Errorf("ReadResult(%s) takes it", raw)
		}
	}
	if r, err := ReadResult([]byte(`{"isError":true,"resultType":"task"}`)); err != nil || !r.IsError || r.Carried(&Context{Era: upstream.Modern}) {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestErrorFor(t *testing.T) {
	modern, legacy := &Context{Era: upstream.Modern}, &Context{Era: upstream.Legacy, Version: V2025Nov}
	tests := []struct {
		x        *Context
		code     int
		raw      string
		wantCode int
		wantRaw  string // empty: an error of the gateway's own
		wantHTTP int
	}{
		{modern, 7, `{"code":7,"message":"m","data":{"n":12345678901234567890},"x":1}`, 7, `{"code":7,"message":"m","data":{"n":12345678901234567890},"x":1}`, 0},
		{modern, -32002, `{"code":-32002,"message":"m"}`, -32602, `{"code":-32602,"message":"m","data":{"uri":"u"}}`, 0},
		{modern, -32002, `{"code":-32002,"message":"m","data":1}`, -32602, `{"code":-32602,"message":"m","data":1}`, 0},
		{legacy, -32002, `{"code":-32002,"message":"m"}`, -32002, `{"code":-32002,"message":"m"}`, 0},
		{modern, -32021, `{"code":-32021,"message":"m","data":{}}`, -32021, `{"code":-32021,"message":"m","data":{}}`, 400},
		{modern, -32042, `{"code":-32042,"message":"m"}`, -32603, `{"code":-32603,"message":"m"}`, 0},
		{legacy, -32042, `{"code":-32042,"message":"m"}`, -32042, `{"code":-32042,"message":"m"}`, 0},
		{legacy, -32020, `{"code":-32020,"message":"m"}`, -32603, ``, 0},
		{modern, -32022, `{"code":-32022,"message":"m"}`, -32603, ``, 0},
	}
	for _, tt := range tests {
		got := ErrorFor(tt.x, &upstream.RPCError{Code: tt.code, Raw: []byte(tt.raw)}, "u")
		if got.Code != tt.wantCode || string(got.Raw) != tt.wantRaw || got.HTTP != tt.wantHTTP {
			t.Errorf("ErrorFor(%s, %s) = %d %s %d, want %d %s %d", tt.x.Era, tt.raw, got.Code, got.Raw, got.HTTP, tt.wantCode, tt.wantRaw, tt.wantHTTP)
		}
	}
}

// FuzzResult holds that what is read stays JSON and keeps its other members in both eras.
func FuzzResult(f *testing.F) {
	for _, seed := range []string{
		`{"content":[{"type":"text","text":"x"},{"type":"audio"},{"type":"resource_link","uri":"u"}],"isError":true,"x":{"y":[1]}}`,
		`{"resultType":"input_required","_meta":{"io.modelcontextprotocol/serverInfo":{}},"ttlMs":1,"cacheScope":"public","structuredContent":[1]}`,
		"{\n \"content\" : [ ] , \"\\u0078\": 1 }",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		r, err := ReadResult(raw)
		if err != nil {
			return
		}
		var before map[string]json.RawMessage
		if err := json.Unmarshal(raw, &before); err != nil {
			t.Fatal(err)
		}
		for _, x := range []*Context{{Era: upstream.Modern, Version: V2026}, {Era: upstream.Legacy, Version: V2025Nov}, {Era: upstream.Legacy, Version: V2024}} {
			var after map[string]json.RawMessage
			if err := json.Unmarshal(r.For(x, []byte(`{"name":"n"}`), true), &after); err != nil {
				t.Fatalf("%s: %v", x.Version, err)
			}
			for name, v := range before {
				switch name {
				case "resultType", "ttlMs", "cacheScope", "_meta", "structuredContent", "content":
					continue
				}
				if string(after[name]) != string(v) {
					t.Fatalf("%s: member %q was %s and is %s", x.Version, name, v, after[name])
				}
			}
		}
	})
}
