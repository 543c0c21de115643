package mcp

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate/tollgate/internal/gatetest"
	"github.com/tollgate/tollgate/policy"
)

func hangs(name string) script {
	s := oneTool(name)
	s.Answers = map[string]answer{"tools/call " + name: {Hang: true}}
	return s
}

// TestReload holds that unchanged servers keep their connections, changed ones get new ones, and a call in flight on a
// removed one is finished within its grace.
func TestReload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTimed(t, gatetest.Options{Rules: allowAll}, map[string]script{"same": oneTool("a"), "gone": hangs("a"), "other": oneTool("a")}, nil)
		time.Sleep(time.Second)
		same, gone, other := w.fakes["same"], w.fakes["gone"], w.fakes["other"]
		cut := make(chan error)
		go func() {
			_, err := w.CallTool(t.Context(), &policy.Principal{Key: "k"}, "gone__a", nil)
			cut <- err
		}()
		<-gone.called

		bad := []Server{{Name: "same", Command: []string{"fake"}}, {Name: "Bad", Command: []string{"fake"}}}
		if err := w.Reload(bad, nil); err == nil || len(w.Health()) != 3 {
			t.Errorf("a bad reload: %v, %d servers", err, len(w.Health()))
		}
		if err := w.Reload([]Server{{Name: "same", Command: []string{"fake"}}, {Name: "unknown", Command: []string{"fake"}}}, nil); err == nil || len(w.Health()) != 3 {
			t.Errorf("a server that cannot be made: %v, %d servers", err, len(w.Health()))
		}
		next := []Server{{Name: "same", Command: []string{"fake"}}, {Name: "other", Command: []string{"fake"}, Trusted: true}}
		if err := w.Reload(next, []Profile{{Name: "p", Servers: []string{"same"}}}); err != nil {
			t.Fatal(err)
		}
		if w.fakes["same"] != same || w.fakes["other"] == other {
			t.Error("the unchanged server is another one, or the changed one the same")
		}
		if _, err := w.CallTool(t.Context(), &policy.Principal{Key: "k"}, "gone__a", nil); !errors.Is(err, errUnknownTool) {
			t.Errorf("a removed server's tool: %v", err)
		}
		time.Sleep(drainWithin - 2*time.Second)
		if closed(gone) || !closed(other) || closed(same) {
			t.Errorf("in its grace: gone %v, other %v, same %v", closed(gone), closed(other), closed(same))
		}
		time.Sleep(4 * time.Second)
		synctest.Wait()
		if !closed(gone) {
			t.Error("a removed server goes on for ever")
		}
		if err := <-cut; err == nil || err.Error() != "the call was cancelled" {
			t.Errorf("the call beyond its grace: %v", err)
		}
		if status, _ := w.ask(t, "POST", "/mcp/p", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}`); status != 200 {
			t.Errorf("the new profile: %d", status)
		}
	})
}

func closed(f *fake) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.closed
}

// TestClose holds that calls in flight may end, new ones are refused, and at the deadline all is cut.
func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTimed(t, gatetest.Options{Rules: allowAll}, map[string]script{"srv": hangs("a")}, nil)
		session := w.open(t)
		answered := make(chan string)
		go func() {
			_, body := w.ask(t, "POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"srv__a"}}`, session)
			answered <- body
		}()
		<-w.fakes["srv"].called
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		ended := make(chan error)
		go func() { ended <- w.Close(ctx) }()
		time.Sleep(time.Second)
		if _, body := w.ask(t, "POST", "/mcp", `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"srv__a"}}`, session); !strings.Contains(body, `"code":503`) {
			t.Errorf("a new call: %s", body)
		}
		if err := <-ended; err == nil {
			t.Error("a cut call goes unsaid")
		}
		if body := <-answered; !strings.Contains(body, `"code":499`) {
			t.Errorf("the cut call: %s", body)
		}
		if status, _ := w.ask(t, "POST", "/mcp", `{}`); status != 503 {
			t.Errorf("after the end: %d", status)
		}
		if err := w.Close(t.Context()); err != nil || w.Reload(nil, nil) == nil {
			t.Errorf("closed twice: %v; or reloaded when closed", err)
		}
		w.gate.WantLast(t, "posted cut cost 0 estimated")
	})
}

// TestTraceContext holds that a call's entry and server see the caller's trace: that of params._meta before that of HTTP.
func TestTraceContext(t *testing.T) {
	const header, meta = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", "00-11111111111111111111111111111111-2222222222222222-01"
	synctest.Test(t, func(t *testing.T) {
		srv := oneTool("a")
		srv.Answers = map[string]answer{"tools/call a": {Result: []byte(`{"content":[]}`)}}
		w := newTimed(t, gatetest.Options{Rules: allowAll}, map[string]script{"srv": srv}, nil)
		session := w.open(t)
		call := func(params string) {
			if status, body := w.ask(t, "POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"srv__a"`+params+`}}`, session, "Traceparent: "+header); !strings.Contains(body, `"result"`) {
				t.Errorf("%d %s", status, body)
			}
		}
		call("")
		call(`,"_meta":{"traceparent":"` + meta + `"}`)
		if got := w.fakes["srv"].traces; !slices.Equal(got, []string{header[3:35], meta[3:35]}) {
			t.Errorf("%q", got)
		}
	})
}
