package streamable

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/mcptest"
	"github.com/tollgate/tollgate/internal/upstreamtest"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/mcp/wire"
	"github.com/tollgate/tollgate/policy"
)

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
		s := &Server{cfg: upstream.Config{Name: "fuzzed", Log: slog.New(slog.DiscardHandler)}}
		x := &upstream.Exchange{ProgressToken: []byte("1"), Notify: func(_ string, params []byte) {
			if !json.Valid(params) {
				t.Errorf("told %q", params)
			}
		}}
		turn := &turn{server: s, exchange: x, id: 7, peer: &wire.Peer{Era: upstream.Modern}}
		a, err := turn.stream(context.Background(), &http.Response{Body: io.NopCloser(r)})
		if (a == nil) == (err == nil) {
			t.Fatalf("%q: answer %v and error %v", stream, a, err)
		}
		if a != nil && !json.Valid(append(append([]byte{}, a.Result...), errorOf(a)...)) {
			t.Errorf("%q has the answer %s%s", stream, a.Result, errorOf(a))
		}
	})
}

func TestIdleSessionsAreRetired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ss sessions
		ss.init(&Server{cfg: upstream.Config{Name: "s"}})
		at := func(name string) sessionKey { return sessionKey{keyID: name} }
		for range sessionsMax {
			key := at(string(rune('a' + len(ss.all))))
			ss.all[key] = &session{key: key, leave: func() {}, used: time.Now().Add(time.Duration(len(ss.all)) * time.Second)}
		}
		busy, watches := ss.all[at("a")], ss.all[at("b")]
		busy.busy, ss.watched[at("b")] = 1, map[string]*watched{"a://b": newWatched()}
		if err := ss.room(at("new")); err != nil || ss.all[at("a")] != busy || ss.all[at("b")] != watches || ss.all[at("c")] != nil || len(ss.all) != sessionsMax-1 {
			t.Errorf("the session unused longest made no room: %v, %d", err, len(ss.all))
		}
		delete(ss.watched, at("b"))
		c := ss.all[at("d")]
		if ss.retire(c) {
			t.Error("retired at once")
		}
		time.Sleep(sessionIdle + 10*time.Second)
		if !ss.retire(c) || ss.all[at("d")] != nil {
			t.Error("not retired")
		}
		time.Sleep(sessionIdle)
		if ss.retire(busy) {
			t.Error("a busy session was retired")
		}
		for _, kept := range []sessionKey{{}, {keyID: "a", client: "c"}, {keyID: "watches"}} {
			in := &session{key: kept, used: time.Now().Add(-time.Hour)}
			ss.watched[sessionKey{keyID: "watches"}] = map[string]*watched{"a://b": newWatched()}
			if ss.retire(in) {
				t.Errorf("%+v was retired", kept)
			}
		}
		for _, in := range ss.all {
			in.busy = 1
		}
		ss.all[at("c")], ss.all[at("d")] = &session{key: at("c"), busy: 1}, &session{key: at("d"), busy: 1}
		var f *upstream.Fault
		if err := ss.room(at("new")); !errors.As(err, &f) || f.Kind != upstream.Unreachable {
			t.Errorf("more than %d busy sessions: %v", sessionsMax, err)
		}
	})
}

func errorOf(a *upstream.Answer) []byte {
	if a.Error == nil {
		return nil
	}
	return a.Error.Raw
}

// TestSessionsAreNotLeftBusy holds that whatever took a session gave it back: a busy one is never retired.
func TestSessionsAreNotLeftBusy(t *testing.T) {
	forgets := true
	script := mcptest.Script{Version: mcptest.Legacy, Sessions: true, Streams: true, Tools: []string{}, Watch: "test://"}
	script.On = map[string]func(*mcptest.Request){"tools/call": func(q *mcptest.Request) {
		if forgets = !forgets; forgets {
			q.Status(http.StatusNotFound)
			return
		}
		q.Result(`{}`)
	}}
	raw := mcptest.Raw(t, script)
	var s *Server
	f, _ := upstreamtest.Discovered(t, upstreamtest.New(t, upstream.Config{URL: raw.URL}, func(cfg upstream.Config) (_ *Server, err error) {
		s, err = New(cfg)
		return s, err
	}))
	for range 3 {
		f.Answer(t, upstreamtest.Tool("t", "{}"))
	}
	call := policy.Call{Principal: upstreamtest.Alice, Action: policy.ResourceSubscribe, Upstream: "tracker", Target: "test://a", Tool: &policy.Tool{Server: "tracker", Name: "test://a", Kind: "resource"}}
	err := f.Gate.Do(t.Context(), call, ledger.Hold{}, func(ctx context.Context, permit *gate.Permit) error {
		for _, uri := range []string{"test://a", "other://none"} {
			stop, _, err := s.Subscribe(ctx, &upstream.Exchange{Permit: permit, Name: uri}, func([]byte) {})
			if err != nil {
				return err
			}
			if stop != nil {
				stop()
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := f.As(ended, upstreamtest.Alice, upstreamtest.Tool("t", "{}")); err == nil {
		t.Error("a call that was over was made")
	}
	s.sessions.mu.Lock()
	defer s.sessions.mu.Unlock()
	for key, in := range s.sessions.all {
		if in.busy != 0 {
			t.Errorf("the session of %+v is taken %d times", key, in.busy)
		}
	}
}
