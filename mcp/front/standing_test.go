package front

import (
	"context"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/front/owned"
	"github.com/tollgate/tollgate/mcp/front/replay"
	"github.com/tollgate/tollgate/mcp/front/reply"
	"github.com/tollgate/tollgate/mcp/front/updates"
)

// inSession runs f in a bubble with a session that can be asked for its roots, and a hall that its end leaves.
func inSession(t *testing.T, version string, f func(t *testing.T, ss *sessions, s *session)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ss := newSessions(t.Context(), newHall(), owned.ID)
		s := ss.open(hello{version: version, capabilities: []byte(`{"roots":{}}`)})
		f(t, ss, s)
		ss.close(s)
		synctest.Wait()
	})
}

// stream opens a GET stream of s without a connection below it, until end.
func stream(t *testing.T, s *session) (w *recorder, out *reply.Reply, end func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	w = &recorder{ResponseRecorder: httptest.NewRecorder()}
	r := httptest.NewRequest("GET", "/mcp", nil).WithContext(ctx)
	r.Header.Set("Accept", "text/event-stream")
	out = reply.New(w, r)
	s.belong(out, replay.Session)
	s.enter(out)
	out.Begin()
	return w, out, func() {
		cancel()
		s.leave(out, w)
		out.End()
	}
}

// TestAskWithoutStream holds what becomes of a question outside of any call, with no stream to go out on or with one.
func TestAskWithoutStream(t *testing.T) {
	ask := func(ctx context.Context, s *session) <-chan string {
		got := make(chan string, 1)
		go func() { got <- told(s.client.Ask(ctx, era.ListRoots, nil)) }()
		synctest.Wait()
		return got
	}
	inSession(t, era.V2025Nov, func(t *testing.T, _ *sessions, s *session) {
		since := time.Now()
		if got := <-ask(t.Context(), s); !strings.Contains(got, "no event stream open") || time.Since(since) != streamWithin {
			t.Errorf("after %v: %s", time.Since(since), got)
		}
	})
	inSession(t, era.V2025Nov, func(t *testing.T, _ *sessions, s *session) {
		ctx, cancel := context.WithCancel(t.Context())
		got := ask(ctx, s)
		cancel()
		if got := <-got; !strings.Contains(got, "before the client was asked") {
			t.Error(got)
		}
	})
	inSession(t, era.V2025Nov, func(t *testing.T, ss *sessions, s *session) {
		got := ask(t.Context(), s)
		ss.close(s)
		if got := <-got; !strings.Contains(got, "session has ended") {
			t.Error(got)
		}
	})
	inSession(t, era.V2025Nov, func(t *testing.T, ss *sessions, s *session) {
		_, _, end := stream(t, s)
		got := ask(t.Context(), s)
		ss.close(s)
		if got := <-got; !strings.Contains(got, "session has ended") {
			t.Errorf("asked, and then: %s", got)
		}
		end()
	})
	inSession(t, era.V2025Nov, func(t *testing.T, _ *sessions, s *session) {
		_, _, end := stream(t, s)
		since := time.Now()
		got := ask(t.Context(), s)
		end()
		if got := <-got; !strings.Contains(got, "before the client had answered") || time.Since(since) != answerWithin {
			t.Errorf("a client that never answers, after %v: %s", time.Since(since), got)
		}
	})
	inSession(t, era.V2024, func(t *testing.T, _ *sessions, s *session) {
		got := ask(t.Context(), s)
		w, _, end := stream(t, s)
		synctest.Wait()
		if text := w.text(); !strings.Contains(text, `"id":1,"method":"roots/list"`) {
			t.Errorf("a stream that opens in time is asked on: %q", text)
		}
		s.questions.Withdraw([]byte("1")).Settle(unasked(internal("as the client says")))
		if got := <-got; !strings.Contains(got, "as the client says") {
			t.Error(got)
		}
		end()
	})
}

// TestTakenBackElsewhere holds that a question that is taken back when its stream has ended is so on another.
func TestTakenBackElsewhere(t *testing.T) {
	inSession(t, era.V2024, func(t *testing.T, _ *sessions, s *session) {
		_, _, endFirst := stream(t, s)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan string, 1)
		go func() { done <- told(s.client.Ask(ctx, era.ListRoots, nil)) }()
		synctest.Wait()
		endFirst()
		w, _, end := stream(t, s)
		cancel()
		<-done
		if text := w.text(); !strings.Contains(text, `"notifications/cancelled","params":{"requestId":1`) {
			t.Errorf("told %q", text)
		}
		end()
	})
}

// TestUntold holds that what a stream that has just been lost could not be told is told by the next.
func TestUntold(t *testing.T) {
	inSession(t, era.V2024, func(t *testing.T, _ *sessions, s *session) {
		s.updates.Resource("x://1", updates.Of("x://1"))
		now := sums{1, 0, 0}
		s.tellUpdates()
		s.tellLists(now)
		w, _, end := stream(t, s)
		s.tellUpdates()
		s.tellLists(now)
		s.tellUpdates()
		s.tellLists(now)
		text := w.text()
		if strings.Count(text, "resources/updated") != 1 || strings.Count(text, "tools/list_changed") != 1 || strings.Count(text, "data: ") != 2 {
			t.Errorf("told %q", text)
		}
		end()
	})
}

// TestForget holds that a client whose stream has lost something is told to look at everything it watches.
func TestForget(t *testing.T) {
	inSession(t, era.V2025Nov, func(t *testing.T, _ *sessions, s *session) {
		if err := s.subscriptions.Add(t.Context(), "x://1", func() (func(), error) { return func() {}, nil }); err != nil {
			t.Fatal(err)
		}
		w, _, end := stream(t, s)
		s.forget()
		s.tellUpdates()
		s.tellLists(sums{})
		if text := w.text(); strings.Count(text, "list_changed") != len(watched) || strings.Count(text, `updated","params":{"uri":"x://1"}`) != 1 {
			t.Errorf("told %q", text)
		}
		end()
	})
}

// TestPausedForAWhile holds that a stream that is lost takes what its session is told for as long as it can be resumed.
func TestPausedForAWhile(t *testing.T) {
	for _, tt := range []struct {
		version string
		after   time.Duration
		kept    bool
	}{{era.V2025Nov, replay.Age / 2, true}, {era.V2025Nov, 2 * replay.Age, false}, {era.V2024, 0, false}} {
		inSession(t, tt.version, func(t *testing.T, _ *sessions, s *session) {
			w, out, _ := stream(t, s)
			s.leave(out, w)
			time.Sleep(tt.after)
			if got := s.say([]byte(`{}`)); got != tt.kept {
				t.Errorf("%s, lost for %v: kept %v", tt.version, tt.after, got)
			}
		})
	}
}
