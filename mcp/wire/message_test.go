package wire

import (
	"context"
	"encoding/json"
	"testing"

	"go.opentelemetry.io/otel/trace"

	"github.com/tollgate/tollgate/mcp/upstream"
)

func TestRequestsArePutTogether(t *testing.T) {
	for _, c := range []struct{ params, meta, want string }{
		{"", "", `{"jsonrpc":"2.0","id":7,"method":"m"}`},
		{"{}", "", `{"jsonrpc":"2.0","id":7,"method":"m","params":{}}`},
		{" { } ", `{"a":1}`, `{"jsonrpc":"2.0","id":7,"method":"m","params":{"_meta":{"a":1}}}`},
		{"\n{ \"x\" : [1] }\n", `{"a":1}`, `{"jsonrpc":"2.0","id":7,"method":"m","params":{"x" : [1],"_meta":{"a":1}}}`},
		{"", `{"a":1}`, `{"jsonrpc":"2.0","id":7,"method":"m","params":{"_meta":{"a":1}}}`},
	} {
		o := &Request{ID: 7, Method: "m"}
		if c.params != "" {
			o.Params = []byte(c.params)
		}
		if c.meta != "" {
			o.Meta = []byte(c.meta)
		}
		if got := string(o.Body()); got != c.want || !json.Valid([]byte(got)) {
			t.Errorf("params %q, meta %q: %s, want %s", c.params, c.meta, got, c.want)
		}
	}
}

func TestMetaOfEachHop(t *testing.T) {
	self := []byte(`{"name":"tollgate","version":"1"}`)
	parent := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled})
	traced := trace.ContextWithSpanContext(t.Context(), parent)
	const at = `"traceparent":"00-01000000000000000000000000000000-0200000000000000-01"`
	for _, c := range []struct {
		name string
		ctx  context.Context
		era  upstream.Era
		x    upstream.Exchange
		want string
	}{
		{"nothing to say", t.Context(), upstream.Legacy, upstream.Exchange{}, ``},
		{"an empty object", t.Context(), upstream.Legacy, upstream.Exchange{Meta: []byte("{ }")}, ``},
		{"what is the caller's passes", t.Context(), upstream.Legacy, upstream.Exchange{Meta: []byte(`{"a/b": 1}`)}, `{"a/b": 1}`},
		{"progress nobody hears is not asked for", t.Context(), upstream.Legacy, upstream.Exchange{ProgressToken: []byte("1")}, ``},
		{"trace", traced, upstream.Legacy, upstream.Exchange{Meta: []byte(`{"a":1}`)}, `{"a":1,` + at + `}`},
		{"log level is no legacy matter", t.Context(), upstream.Legacy, upstream.Exchange{LogLevel: "info"}, ``},
		{"the gateway's own", t.Context(), upstream.Modern, upstream.Exchange{}, `{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{"extensions":` + apps + `},"io.modelcontextprotocol/clientInfo":{"name":"tollgate","version":"1"}}`},
		{"capabilities of a caller without any", t.Context(), upstream.Modern, upstream.Exchange{Era: upstream.Modern}, `{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"tollgate","version":"1"}}`},
	} {
		p := &Peer{Era: c.era}
		if got := string(p.Meta(c.ctx, &c.x, 7, self)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

// FuzzMessage holds that whatever is taken for a message is JSON whose parts are JSON.
func FuzzMessage(f *testing.F) {
	for _, s := range []string{
		`{"jsonrpc":"2.0","id":7,"result":{"a":[1]}}`, `{"id":7,"error":{"code":-32601,"message":"x","data":1}}`,
		`{"id":null,"error":{"code":1}}`, `{"method":"notifications/progress","params":{"progressToken":7,"progress":1}}`,
		`{"method":"notifications/message","params":{"level":"error","data":"x"}}`, `{"id":"q","method":"ping"}`,
		`{"id":7,"Result":{}}`, `{"id":7,"result":{},"result":{}}`, `[]`, `{"error":{"code":1e99}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, err := Parse(raw)
		if err != nil {
			return
		}
		if !json.Valid(raw) {
			t.Fatalf("not JSON: %q", raw)
		}
		if m.Method == "" {
			a := m.Answer(200)
			if part := append(append([]byte{}, a.Result...), errorOf(a)...); !json.Valid(part) {
				t.Errorf("%q has the answer %q", raw, part)
			}
		}
		if m.Request() && !json.Valid(Abilities{}.Refuses(m)) {
			t.Errorf("%q is refused with %q", raw, Abilities{}.Refuses(m))
		}
		x := &upstream.Exchange{ProgressToken: []byte(`"mine"`), LogLevel: "debug", Notify: func(_ string, params []byte) {
			if !json.Valid(params) {
				t.Errorf("%q is told as %q", raw, params)
			}
		}}
		Deliver(x, m, 7)
	})
}

func errorOf(a *upstream.Answer) []byte {
	if a.Error == nil {
		return nil
	}
	return a.Error.Raw
}
