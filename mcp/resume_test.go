package mcp

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate/tollgate/internal/gatetest"
)

// TestListChangedOnce holds that what a session is told goes to one of its streams, the newest that is open, and is not
// lost when there is none for a while.
func TestListChangedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTimed(t, gatetest.Options{Rules: allowAll}, map[string]script{"srv": oneTool("a")}, nil)
		session := w.open(t)
		open := func() (<-chan string, func()) {
			ctx, cancel := context.WithCancel(t.Context())
			get := w.send(t, ctx, "GET", "/mcp", "", session)
			t.Cleanup(func() { get.Body.Close() })
			in := lines(get.Body)
			if got, ended := within(in, 2*time.Second); len(got) != 3 || ended {
				t.Fatalf("begins with %q", got)
			}
			return in, cancel
		}
		told := func(in <-chan string) bool {
			got, _ := within(in, 2*time.Second)
			return strings.Contains(strings.Join(got, "\n"), "tools/list_changed")
		}
		older, closeOlder := open()
		newer, closeNewer := open()
		w.fakes["srv"].set(oneTool("b"))
		if !told(newer) || told(older) {
			t.Error("told on the older stream, or on both, or on none")
		}
		closeNewer()
		w.fakes["srv"].set(oneTool("c"))
		if !told(older) {
			t.Error("the older is not told when the newer is closed")
		}
		closeOlder()
		synctest.Wait()
		w.fakes["srv"].set(oneTool("d"))
		time.Sleep(2 * time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		late := w.send(t, ctx, "GET", "/mcp", "", session)
		defer late.Body.Close()
		if !told(lines(late.Body)) {
			t.Error("what changed while there was no stream is not told")
		}
	})
}

// TestResumedStreamEnds holds that the stream of a call that its client has come back to ends with the client's key, the
// session and the gateway, as any other.
func TestResumedStreamEnds(t *testing.T) {
	hang := oneTool("a")
	hang.Answers = map[string]answer{"tools/call a": {Hang: true, Notify: [][2]json.RawMessage{
		{json.RawMessage(`"notifications/progress"`), json.RawMessage(`{"progressToken":1,"progress":1}`)},
	}}}
	ends := map[string]func(t *testing.T, w *timed, session string){
		"key revoked":     func(_ *testing.T, w *timed, _ string) { w.people.revoke("alice") },
		"session deleted": func(t *testing.T, w *timed, s string) { w.ask(t, "DELETE", "/mcp", "", s) },
		"gateway closed": func(t *testing.T, w *timed, _ string) {
			now, cancel := context.WithCancel(t.Context())
			cancel()
			_ = w.Close(now)
		},
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newTimed(t, gatetest.Options{Rules: allowAll}, map[string]script{"srv": hang}, nil)
				session := w.open(t)
				ctx, cancel := context.WithCancel(t.Context())
				first := w.send(t, ctx, "POST", "/mcp", `{"jsonrpc":"2.0","id":"c","method":"tools/call","params":{"name":"srv__a","arguments":{}}}`, session)
				in := lines(first.Body)
				if got, _ := within(in, time.Second); len(got) != 6 || got[3] != "id: c1-1" {
					t.Fatalf("%q", got)
				}
				cancel()
				synctest.Wait()
				again := w.send(t, t.Context(), "GET", "/mcp", "", session, "Last-Event-ID: c1-0")
				defer again.Body.Close()
				in = lines(again.Body)
				if got, ended := within(in, 20*time.Second); len(got) != 3 || got[0] != "id: c1-1" || ended {
					t.Fatalf("resumed with %q, ended %v", got, ended)
				}
				end(t, w, session)
				if got, ended := within(in, 6*time.Second); !ended {
					t.Errorf("goes on: %q", got)
				}
			})
		})
	}
}
