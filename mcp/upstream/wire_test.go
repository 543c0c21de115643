package upstream

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/gatetest"
	"github.com/tollgate/tollgate/internal/mcptest"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/policy"
)

func TestRequestsArePutTogether(t *testing.T) {
	for _, c := range []struct{ params, meta, want string }{
		{"", "", `{"jsonrpc":"2.0","id":7,"method":"m"}`},
		{"{}", "", `{"jsonrpc":"2.0","id":7,"method":"m","params":{}}`},
		{" { } ", `{"a":1}`, `{"jsonrpc":"2.0","id":7,"method":"m","params":{"_meta":{"a":1}}}`},
		{"\n{ \"x\" : [1] }\n", `{"a":1}`, `{"jsonrpc":"2.0","id":7,"method":"m","params":{"x" : [1],"_meta":{"a":1}}}`},
		{"", `{"a":1}`, `{"jsonrpc":"2.0","id":7,"method":"m","params":{"_meta":{"a":1}}}`},
	} {
		o := &outgoing{id: 7, method: "m"}
		if c.params != "" {
			o.params = []byte(c.params)
		}
		if c.meta != "" {
			o.meta = []byte(c.meta)
		}
		if got := string(o.body()); got != c.want || !json.Valid([]byte(got)) {
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
		era  Era
		x    Exchange
		want string
	}{
		{"nothing to say", t.Context(), Legacy, Exchange{}, ``},
		{"an empty object", t.Context(), Legacy, Exchange{Meta: []byte("{ }")}, ``},
		{"what is the caller's passes", t.Context(), Legacy, Exchange{Meta: []byte(`{"a/b": 1}`)}, `{"a/b": 1}`},
		{"progress nobody hears is not asked for", t.Context(), Legacy, Exchange{ProgressToken: []byte("1")}, ``},
		{"trace", traced, Legacy, Exchange{Meta: []byte(`{"a":1}`)}, `{"a":1,` + at + `}`},
		{"log level is no legacy matter", t.Context(), Legacy, Exchange{LogLevel: "info"}, ``},
		{"capabilities without a caller", t.Context(), Modern, Exchange{}, `{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},"io.modelcontextprotocol/clientInfo":{"name":"tollgate","version":"1"}}`},
	} {
		p := &peer{era: c.era}
		if got := string(p.metaOf(c.ctx, &c.x, 7, self)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestReadLine(t *testing.T) {
	in := bufio.NewReaderSize(strings.NewReader("a\n\r\nb\r\n"+strings.Repeat("x", 100)+"\nlast"), 16)
	for _, want := range []string{"a", "", "b", strings.Repeat("x", 100), "last"} {
		got, err := readLine(in, 101)
		if string(got) != want || (err != nil) != (want == "last") {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	if _, err := readLine(bufio.NewReaderSize(strings.NewReader(strings.Repeat("x", 100)), 16), 99); !errors.Is(err, errTooLarge) {
		t.Errorf("a line beyond the bound: %v", err)
	}
}

// FuzzLines holds that lines come as they are in the stream, however it is cut into reads.
func FuzzLines(f *testing.F) {
	f.Add([]byte("{\"jsonrpc\":\"2.0\"}\n\r\nbanner\r\n"))
	f.Add([]byte(strings.Repeat("x", 70) + "\nlast"))
	f.Fuzz(func(t *testing.T, stream []byte) {
		in := bufio.NewReaderSize(iotest.OneByteReader(bytes.NewReader(stream)), 16)
		for want := range bytes.SplitSeq(stream, []byte("\n")) {
			got, err := readLine(in, 64)
			if errors.Is(err, errTooLarge) {
				if len(want) < 64 {
					t.Errorf("%q is too long", want)
				}
				return
			}
			if !bytes.Equal(got, bytes.TrimSuffix(want, []byte("\r"))) {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		if rest, err := readLine(in, 64); len(rest) > 0 || err == nil {
			t.Errorf("behind the end: %q, %v", rest, err)
		}
	})
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
		m, err := parseMessage(raw)
		if err != nil {
			return
		}
		if !json.Valid(raw) {
			t.Fatalf("not JSON: %q", raw)
		}
		if m.method == "" {
			a := m.answer(200)
			if part := append(append([]byte{}, a.Result...), errorOf(a)...); !json.Valid(part) {
				t.Errorf("%q has the answer %q", raw, part)
			}
		}
		if m.request() && !json.Valid(refusal(m)) {
			t.Errorf("%q is refused with %q", raw, refusal(m))
		}
		x := &Exchange{ProgressToken: []byte(`"mine"`), LogLevel: "debug", Notify: func(_ string, params []byte) {
			if !json.Valid(params) {
				t.Errorf("%q is told as %q", raw, params)
			}
		}}
		x.deliver(m, 7)
	})
}

func errorOf(a *Answer) []byte {
	if a.Error == nil {
		return nil
	}
	return a.Error.Raw
}

// FuzzStream holds that an event stream ends in an answer that is JSON or in an error, and never in both or a panic.
func FuzzStream(f *testing.F) {
	for _, s := range []string{
		"data: {\"id\":7,\"result\":{}}\n\n", "event: message\r\ndata: {\"id\":7,\r\ndata: \"result\":{}}\r\n\r\n", ": hi\n\nid: 1\nretry: 5\ndata:\n\n",
		"data: {\"method\":\"notifications/progress\",\"params\":{\"progressToken\":7}}\n\ndata: {\"id\":7,\"error\":{\"code\":1}}", "data: x\n\n",
		"data: {\"id\":1,\"method\":\"ping\"}\n\n", "\xef\xbb\xbfdata: {\"id\":7,\"result\":{}}\r\r",
	} {
		f.Add([]byte(s), true)
		f.Add([]byte(s), false)
	}
	f.Fuzz(func(t *testing.T, stream []byte, oneByte bool) {
		var r io.Reader = bytes.NewReader(stream)
		if oneByte {
			r = iotest.OneByteReader(r)
		}
		s := &httpServer{cfg: Config{Name: "fuzzed", Log: slog.New(slog.DiscardHandler)}}
		x := &Exchange{ProgressToken: []byte("1"), Notify: func(_ string, params []byte) {
			if !json.Valid(params) {
				t.Errorf("told %q", params)
			}
		}}
		turn := &turn{server: s, exchange: x, id: 7, peer: &peer{era: Modern}}
		a, err := turn.stream(context.Background(), &http.Response{Body: io.NopCloser(r)})
		if (a == nil) == (err == nil) {
			t.Fatalf("%q: answer %v and error %v", stream, a, err)
		}
		if a != nil && !json.Valid(append(append([]byte{}, a.Result...), errorOf(a)...)) {
			t.Errorf("%q has the answer %s%s", stream, a.Result, errorOf(a))
		}
	})
}

func TestQueueOfASlowCallerIsBounded(t *testing.T) {
	for _, c := range []struct {
		name       string
		bytes, put int
		want       int
	}{
		{"many", 1, 3 * queueMax, queueMax},
		{"large", queueBytesMax / 4, 10, 4},
	} {
		p := &pipe{waiting: map[int64]*waiter{}}
		w := p.register(7)
		for range c.put {
			p.put(7, &message{method: "notifications/progress", raw: make([]byte, c.bytes)})
		}
		p.put(8, &message{})
		p.put(7, &message{raw: make([]byte, queueBytesMax)}) // the answer
		<-w.signal
		got := p.collect(w)
		if len(got) != c.want+1 || got[c.want].method != "" || w.dropped != c.put-c.want {
			t.Errorf("%s: %d wait, %d dropped", c.name, len(got), w.dropped)
		}
		p.forget(7)
		p.put(7, &message{})
		if len(p.waiting) != 0 {
			t.Error("it still waits")
		}
	}
}

func TestUnwrittenRequestGoesToTheNextChild(t *testing.T) {
	g := gatetest.New(t, gatetest.Options{Upstreams: []gate.Upstream{{Side: policy.Tools, Name: "s"}}}).Gate
	up, err := New(Config{Gate: g, Name: "s", Command: mcptest.Command()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = up.Close(t.Context()) }()
	if _, err := up.Discover(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := up.(*stdioServer).current.pipe
	_ = first.process.Stdin.Close() // as when the child dies between two calls, and nobody has noticed yet
	err = g.Do(t.Context(), policy.Call{Action: policy.ServerPing, Upstream: "s"}, ledger.Hold{}, func(ctx context.Context, p *gate.Permit) error {
		a, err := up.Call(ctx, &Exchange{Permit: p, Method: "ping"})
		if err == nil && a.Error != nil {
			err = a.Error
		}
		return err
	})
	if err != nil {
		t.Error(err, errors.Unwrap(err))
	}
	if up.(*stdioServer).current.pipe == first {
		t.Error("the dead child is still the one")
	}
}

func TestFewFirstDeathsAreForgiven(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stdioServer{}
		for _, want := range []time.Duration{0, 0, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second, 32 * time.Second, time.Minute, time.Minute} {
			if got := s.backoff(); max(got, 0) != want {
				t.Errorf("after %d deaths: %s, want %s", s.deaths, got, want)
			}
			s.deaths++
			s.died = time.Now()
		}
		time.Sleep(time.Minute)
		if got := s.backoff(); got > 0 {
			t.Errorf("it is still not started: %s", got)
		}
	})
}

func TestIdleSessionsAreRetired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ss sessions
		ss.init(&httpServer{cfg: Config{Name: "s"}})
		for range sessionsMax {
			key := string(rune('a' + len(ss.all)))
			ss.all[key] = &session{key: key, leave: func() {}, used: time.Now().Add(time.Duration(len(ss.all)) * time.Second)}
		}
		busy := ss.all["a"]
		busy.busy = 1
		if err := ss.room(); err != nil || ss.all["a"] != busy || ss.all["b"] != nil || len(ss.all) != sessionsMax-1 {
			t.Errorf("the session unused longest made no room: %v, %d", err, len(ss.all))
		}
		c := ss.all["c"]
		if ss.retire(c) {
			t.Error("retired at once")
		}
		time.Sleep(sessionIdle + 10*time.Second)
		if !ss.retire(c) || ss.all["c"] != nil {
			t.Error("not retired")
		}
		time.Sleep(sessionIdle)
		if ss.retire(busy) {
			t.Error("a busy session was retired")
		}
		for _, in := range ss.all {
			in.busy = 1
		}
		ss.all["b"], ss.all["c"] = &session{key: "b", busy: 1}, &session{key: "c", busy: 1}
		var f *Fault
		if err := ss.room(); !errors.As(err, &f) || f.Kind != Unreachable {
			t.Errorf("more than %d busy sessions: %v", sessionsMax, err)
		}
	})
}
