package mcp_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/internal/gatetest"
	"github.com/tollgate/tollgate/internal/mcptest"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/mcp"
	"github.com/tollgate/tollgate/policy"
)

// tenRules is a policy of the size people have; the tool is decided by the last of it.
func tenRules() string {
	var b strings.Builder
	b.WriteString("version: 1\nrules:\n")
	for i := range 8 {
		fmt.Fprintf(&b, "  - {id: r%d, effect: allow, tools: [\"other%d/*\"], when: 'tool.read_only && key.name != \"x\"'}\n", i, i)
	}
	b.WriteString("  - {id: big, effect: deny, tools: [\"srv/*\"], if: '\"limit\" in args && args.limit > 1000'}\n")
	b.WriteString("  - {id: all, effect: allow, tools: [\"srv/*\"]}\n")
	return b.String()
}

// quick is a server of either era that does as little as can be: it finds the method as text and answers at once.
func quick(b *testing.B, version string, tools []string) *url.URL {
	list := `{"tools":[` + strings.Join(tools, ",") + `]}`
	answers := []struct{ method, result string }{
		{`"tools/call"`, `{"content":[{"type":"text","text":"hello"}]}`},
		{`"tools/list"`, list},
		{`"ping"`, `{}`},
		{`"initialize"`, `{"protocolVersion":"` + version + `","capabilities":{"tools":{}},"serverInfo":{"name":"q","version":"1"}}`},
	}
	if version == mcptest.Modern {
		answers[3].method, answers[3].result = `"server/discover"`, `{"supportedVersions":["`+version+`"],"capabilities":{"tools":{}}}`
	}
	id := regexp.MustCompile(`"id":(\d+)`)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		n := id.FindSubmatch(body[:min(len(body), 64)])
		for _, a := range answers {
			if n != nil && bytes.Contains(body, []byte(a.method)) {
				w.Header().Set("Content-Type", "application/json")
				fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":%s}`, n[1], a.result)
				return
			}
		}
		if n != nil {
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":{"code":-32601,"message":"no"}}`, n[1])
			return
		}
		w.WriteHeader(http.StatusAccepted)
	}))
	b.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	u, err := url.Parse(srv.URL + "/mcp")
	if err != nil {
		b.Fatal(err)
	}
	return u
}

// bench is a gateway with everything on, and a server that answers at once.
func bench(b *testing.B, version string, tools ...string) (*fixture, *url.URL) {
	u := quick(b, version, tools)
	servers := []mcp.Server{at("srv", u)}
	key := ledger.Scope{Level: ledger.KeyLevel, Name: "k1"}
	f := &fixture{Fixture: gatetest.New(b, gatetest.Options{
		Rules: tenRules(), Upstreams: mcp.Upstreams(servers), Durability: ledger.Relaxed, // the disk is measured where it is written to
		Limits: map[ledger.Scope][]string{key: {"1000000 USD / 1d", "100M calls / 1h", "100 concurrent", "100M calls / 1M"}},
	})}
	g, err := mcp.New(mcp.Config{Gate: f.Gate, Auth: &alice{policy.Principal{Key: "alice", KeyID: "k1"}}, Servers: servers, Version: "1"})
	if err != nil {
		b.Fatal(err)
	}
	f.Gateway = g
	srv := httptest.NewServer(g.Handler())
	f.url = srv.URL + "/mcp"
	b.Cleanup(func() {
		_ = g.Close(b.Context())
		srv.Close()
	})
	f.post(b, "tools/list", "", "")
	return f, u
}

// caller sends one and the same request again and again.
type caller struct {
	url    string
	header http.Header
	body   []byte
}

func (c *caller) do(b *testing.B) {
	req, err := http.NewRequest(http.MethodPost, c.url, bytes.NewReader(c.body))
	if err != nil {
		b.Fatal(err)
	}
	req.Header = c.header
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	n, _ := io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	if resp.StatusCode != 200 || n == 0 {
		b.Fatal(resp.Status)
	}
}

func (f *fixture) modernCaller(method, name, params string) *caller {
	c := &caller{url: f.url, header: http.Header{}}
	for k, v := range map[string]string{
		"Authorization": "Bearer alice", "Content-Type": "application/json", "Accept": "application/json, text/event-stream",
		"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": method, "Mcp-Name": name,
	} {
		if v != "" {
			c.header.Set(k, v)
		}
	}
	c.body = fmt.Appendf(nil, `{"jsonrpc":"2.0","id":1,"method":%q,"params":{%s"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"bench","version":"1"}}}}`, method, params)
	return c
}

func (f *fixture) legacyCaller(b *testing.B, method, params string) *caller {
	c := &caller{url: f.url, header: http.Header{"Authorization": {"Bearer alice"}, "Content-Type": {"application/json"}, "Accept": {"application/json, text/event-stream"}}}
	req, _ := http.NewRequest(http.MethodPost, f.url, strings.NewReader(`{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}`))
	req.Header = c.header
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	_ = resp.Body.Close()
	c.header = c.header.Clone()
	c.header.Set("Mcp-Session-Id", resp.Header.Get("Mcp-Session-Id"))
	c.body = fmt.Appendf(nil, `{"jsonrpc":"2.0","id":1,"method":%q,"params":{%s}}`, method, params)
	return c
}

// BenchmarkCall is a tools/call over loopback, through the gateway with key, ten rules, four limits and the journal, and
// to the server without it. Era of client and server are the same.
func BenchmarkCall(b *testing.B) {
	for _, args := range []struct {
		name, raw string
	}{
		{"20B", `{"text":"0123456789"}`},
		{"10KB", `{"text":"` + strings.Repeat("0123456789", 1000) + `"}`},
	} {
		params := `"name":"srv__t","arguments":` + args.raw
		for _, version := range []string{mcptest.Modern, "2025-11-25"} {
			f, u := bench(b, version, plainTool)
			c := f.modernCaller("tools/call", "srv__t", params+",")
			if version != mcptest.Modern {
				c = f.legacyCaller(b, "tools/call", params)
			}
			run := func(name string, c *caller) {
				b.Run(version+"/"+args.name+"/"+name, func(b *testing.B) {
					b.ReportAllocs()
					for b.Loop() {
						c.do(b)
					}
				})
			}
			run("gateway", c)
			direct := *c
			direct.url = u.String()
			run("direct", &direct)
		}
	}
}

// BenchmarkList500 is tools/list of 500 tools of 1 KB, client and loopback included.
func BenchmarkList500(b *testing.B) {
	var tools []string
	for i := range 500 {
		tools = append(tools, fmt.Sprintf(`{"name":"t%d_x","description":%q,"inputSchema":{"type":"object"}}`, i, strings.Repeat("d", 900)))
	}
	f, _ := bench(b, mcptest.Modern, tools...)
	c := f.modernCaller("tools/list", "", "")
	b.ReportAllocs()
	for b.Loop() {
		c.do(b)
	}
}
