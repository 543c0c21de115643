package llm

import (
	"context"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate/tollgate/policy"
)

// An answer is read on for a bounded time, by a bounded number, and not past the end of the process.
func TestDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := drains{stopped: make(chan struct{})}
		left := func() context.Context {
			ctx, leave := context.WithCancel(t.Context())
			out, stop := d.follow(ctx)
			t.Cleanup(stop)
			leave()
			synctest.Wait()
			return out
		}
		first := left()
		time.Sleep(drainTime - time.Second)
		synctest.Wait()
		if first.Err() != nil {
			t.Error("it ended too early")
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if first.Err() == nil {
			t.Error("it goes on for ever")
		}
		for range drainsMax {
			if left().Err() != nil {
				t.Fatal("there was room")
			}
		}
		if left().Err() == nil {
			t.Error("there was no room for one more")
		}
		d.stop()
		synctest.Wait()
		if left().Err() == nil || d.n != 0 {
			t.Errorf("%d go on after the end", d.n)
		}
	})
}

func TestRests(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	m := policy.Model{Provider: "p", Name: "m"}
	var r rests
	for i := range failuresMost {
		if r.resting(m, now) {
			t.Fatalf("resting after %d failures", i)
		}
		r.failed(m, false, 0, now)
	}
	if !r.resting(m, now) || r.resting(policy.Model{Provider: "p"}, now) {
		t.Error("failures in a row did not count, or for others as well")
	}
	later := now.Add(restTime)
	if r.resting(m, later) {
		t.Error("no probe was let through")
	}
	if !r.resting(m, later) {
		t.Error("two probes at once")
	}
	r.worked(m)
	if r.resting(m, later) || r.count.Load() != 0 {
		t.Error("a success was not believed")
	}
	r.failed(m, false, time.Minute, now)
	r.failed(m, true, 0, now)
	if !r.resting(m, now.Add(59*time.Second)) {
		t.Error("a shorter rest took the place of a longer one")
	}
	for i := range 2 * restsKept {
		r.failed(policy.Model{Name: fmt.Sprint(i)}, true, 0, now)
	}
	if len(r.of) > restsKept {
		t.Errorf("%d targets are remembered", len(r.of))
	}
	r.failed(policy.Model{Name: "new"}, true, 0, now.Add(time.Hour))
	if len(r.of) != 1 {
		t.Errorf("%d are remembered after their time", len(r.of))
	}
}

func TestRetryAfter(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "0.5": 500 * time.Millisecond, "-3": 0, "NaN": 0, "1e300": retryAfterMost, "soon": 0,
		"Tue, 24 Nov 2026 12:00:30 GMT": 30 * time.Second, "Tue, 24 Nov 2026 11:00:00 GMT": 0, "Wed, 24 Nov 2027 12:00:00 GMT": retryAfterMost,
	} {
		h := http.Header{}
		if text != "" {
			h.Set("Retry-After", text)
		}
		if got := retryAfter(h, now); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

func TestKeptAnswersAreBounded(t *testing.T) {
	var k kept
	for i := range 2 * keptMax {
		k.put(fmt.Sprint(i), keptAnswer{keyID: "k"})
	}
	if n := len(k.young) + len(k.old); n > keptMax {
		t.Errorf("%d answers are remembered", n)
	}
	if _, ok := k.get(fmt.Sprint(2*keptMax - 1)); !ok {
		t.Error("the last one is not")
	}
}

func TestClientNames(t *testing.T) {
	for agent, want := range map[string]string{
		"claude-cli/2.1.330 (external, cli)": "claude-cli/2.1.330", "OpenAI/JS 6.49": "OpenAI/JS", "": "", "a\x01b/1": "",
		"é/1": "", string(make([]byte, 100)): "",
	} {
		if got := clientName(http.Header{"User-Agent": {agent}}); got != want {
			t.Errorf("%q: %q", agent, got)
		}
	}
	var c clients
	p := &policy.Principal{Key: "k"}
	first := c.with(p, "a/1")
	if c.with(p, "") != p || c.with(p, "a/1") != first || first.Client != "a/1" || p.Client != "" {
		t.Error("a principal was changed, or made twice")
	}
	for i := range 2 * clientsKept {
		c.with(p, fmt.Sprint(i))
	}
	if len(c.of) > clientsKept {
		t.Errorf("%d are kept", len(c.of))
	}
}

// What opens a conversation is found whatever follows it.
func TestOpening(t *testing.T) {
	for turns, want := range map[string]string{
		`[{"role":"user","content":"a"}]`:                            `[{"role":"user","content":"a"}`,
		`[{"role":"user","content":"a"},{"role":"assistant"}]`:       `[{"role":"user","content":"a"}`,
		`[{"role":"system","x":"}{\"{"},{"role":"user"},{"role":1}]`: `[{"role":"system","x":"}{\"{"},{"role":"user"}`,
		`"a plain text"`: `"a plain text"`, `[]`: `[]`, ``: ``, `[1,2]`: `[1,2]`,
	} {
		if got := string(opening([]byte(turns))); got != want {
			t.Errorf("%s: %s, want %s", turns, got, want)
		}
	}
}
