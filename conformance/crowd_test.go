package conformance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tollgate/tollgate/conformance/dialogue"
	"github.com/tollgate/tollgate/conformance/launch"
)

// The measure of the crowds.
const (
	callsOfOneSession = 10_000
	callsAtOnce       = 32
	vanishing         = 1_000
	stepsTold         = 3 // progress of each call
)

// TestProgressReachesItsOwnCall makes 10,000 calls of one client, many at once: each is told of all of its own progress, in
// order, before its answer, and of nobody else's.
func TestProgressReachesItsOwnCall(t *testing.T) {
	withPeers(t)
	g, _ := overFixtures(t)
	for _, client := range []string{"legacy", "modern"} {
		for _, server := range []string{"legacy", "modern"} {
			t.Run(client+"-"+server, func(t *testing.T) {
				c := &dialogue.Client{URL: g.URL() + "/mcp/" + server, Modern: client == "modern"}
				if _, err := c.Open(t.Context()); err != nil {
					t.Fatal(err)
				}
				var made atomic.Int64
				var workers sync.WaitGroup
				for range callsAtOnce {
					workers.Go(func() {
						for n := made.Add(1); n <= callsOfOneSession && !t.Failed(); n = made.Add(1) {
							if err := toldOfItself(t.Context(), c, n); err != nil {
								t.Error(err)
							}
						}
					})
				}
				workers.Wait()
			})
		}
	}
}

// toldOfItself makes one call with a token of its own and holds what it was told against it.
func toldOfItself(ctx context.Context, c *dialogue.Client, n int64) error {
	ctx, cancel := context.WithTimeout(ctx, stepMax)
	defer cancel()
	token := "token-" + strconv.FormatInt(n, 10)
	x, err := c.DoAs(ctx, c.ID(), "tools/call", fmt.Sprintf(`{"name":"progress","arguments":{"steps":%d}}`, stepsTold), token)
	if err != nil {
		return err
	}
	if len(x.Notifications) != stepsTold || !strings.Contains(string(x.Response), "steps") {
		return fmt.Errorf("call %d was told %s and answered %s", n, x.Notifications, x.Response)
	}
	for i, raw := range x.Notifications {
		var told struct {
			Params struct {
				Token    string `json:"progressToken"`
				Progress int    `json:"progress"`
			} `json:"params"`
		}
		if err := json.Unmarshal(raw, &told); err != nil || told.Params.Token != token || told.Params.Progress != i+1 {
			return fmt.Errorf("call %d was told %s as number %d: %v", n, raw, i, err)
		}
	}
	return nil
}

// TestVanishedClientsLeaveNothing has 1,000 clients connect, listen, call and vanish without a word, half of them in the
// middle of a call: afterwards the gateway has as many goroutines and children as before, and its servers as many calls,
// sessions and streams.
func TestVanishedClientsLeaveNothing(t *testing.T) {
	withPeers(t)
	g, at := overFixtures(t, "-idle", "5s") // so that connections which nobody uses do not hide what does not end
	if err := g.Connected(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range kinds {
		vanish(t, g, i) // what the first of a kind makes the gateway keep for all that follow is no leak
	}
	var before kept
	settle(t, func() string {
		http.DefaultClient.CloseIdleConnections()
		if before = keptBy(t, g, at); before.Slow > 0 {
			return "calls still wait"
		}
		return ""
	})
	t.Logf("before: %+v", before)
	var workers sync.WaitGroup
	var made atomic.Int64
	for range callsAtOnce {
		workers.Go(func() {
			for n := made.Add(1); n <= vanishing && !t.Failed(); n = made.Add(1) {
				vanish(t, g, int(n))
			}
		})
	}
	workers.Wait()
	// A session with a legacy server and a child outlive their client's silence for a while, so that an agent may pause. All
	// else ends now, and those with their server.
	var after kept
	settle(t, func() string {
		http.DefaultClient.CloseIdleConnections()
		after = keptBy(t, g, at)
		left := after
		left.Goroutines -= after.Sessions*goroutinesOfSession + after.Children*goroutinesOfChild
		left.Streams -= after.Sessions
		left.Children -= childrenMax
		return left.beyond(before)
	})
	t.Logf("after: %+v", after)
	if err := g.Reload(t.Context(), fixtures(at, "-again")); err != nil {
		t.Fatal(err)
	}
	settle(t, func() string {
		http.DefaultClient.CloseIdleConnections()
		after = keptBy(t, g, at)
		return after.beyond(before)
	})
	t.Logf("without the sessions: %+v", after)
}

// goroutinesOfSession are those of an idle session with a legacy server whose stream is open: its life, its stream, and
// the connection's two.
const goroutinesOfSession = 4

// Likewise a child of a client's own: it is kept for a while, and there are only so many.
const (
	goroutinesOfChild = 8
	childrenMax       = 32
)

// kept is what is open on account of clients.
type kept struct {
	Goroutines, Children    int // of the gateway
	Slow, Streams, Sessions int // of the servers: calls that wait, standing streams, sessions
}

// beyond says what of k is more than before, or nothing.
func (k kept) beyond(before kept) string {
	if k.Goroutines <= before.Goroutines && k.Children <= before.Children && k.Slow <= before.Slow && k.Streams <= before.Streams {
		return ""
	}
	return fmt.Sprintf("%+v are open, before %+v", k, before)
}

// keptBy asks the gateway and its servers what is open.
func keptBy(t *testing.T, g *launch.Gateway, servers map[string]string) kept {
	t.Helper()
	k := kept{Children: childrenOf(t, g.PID())}
	for line := range strings.Lines(body(t, "http://"+g.Admin+"/metrics")) {
		if _, err := fmt.Sscanf(line, "go_goroutines %d", &k.Goroutines); err == nil {
			break
		}
	}
	for _, era := range []string{"legacy", "modern"} {
		url := servers[era]
		var stats struct{ Slow, Streams, Sessions int }
		if err := json.Unmarshal([]byte(body(t, strings.TrimSuffix(url, "/mcp")+"/stats")), &stats); err != nil {
			t.Fatal(err)
		}
		k.Slow += stats.Slow
		k.Streams += stats.Streams
		k.Sessions += stats.Sessions
	}
	return k
}

// body reads what is at url.
func body(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// childrenOf is the number of processes that pid has started and that have not ended.
func childrenOf(t *testing.T, pid int) int {
	t.Helper()
	n := 0
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		text, err := os.ReadFile(list)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // a thread may end meanwhile
			t.Fatal(err)
		}
		n += len(strings.Fields(string(text)))
	}
	return n
}

// settleMax is how long what was open may stay open: calls of clients that cancelled nothing run until their timeout.
const settleMax = time.Minute

// settle waits until look has nothing to say.
func settle(t *testing.T, look func() string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), settleMax)
	defer cancel()
	for {
		what := look()
		if what == "" {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal(what)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// kinds is how many kinds of clients vanish.
const kinds = 12

// vanish is a client that connects, listens, calls and is gone: of either era, with servers of either era, after the call
// or in the middle of it.
func vanish(t *testing.T, g *launch.Gateway, n int) {
	server := []string{"legacy", "modern", "child"}[n/2%3]
	c := &dialogue.Client{URL: g.URL() + "/mcp/" + server, Modern: n%2 == 0, Capabilities: declared, Answers: answers}
	ctx, hangUp := context.WithTimeout(t.Context(), stepMax)
	defer hangUp()
	if _, err := c.Open(ctx); err != nil {
		t.Error(err)
		return
	}
	if _, err := c.Listen(ctx); err != nil {
		t.Error(err)
		return
	}
	if n/6%2 == 0 || server == "child" { // children are few: those that are busy are taken from nobody
		if _, err := c.Do(ctx, "tools/call", `{"name":"ask_form"}`); err != nil {
			t.Error(err)
		}
		return
	}
	c.Heard = func(json.RawMessage) { hangUp() } // the call is at the server
	if _, err := c.DoAs(ctx, c.ID(), "tools/call", `{"name":"slow"}`, "token"); !errors.Is(err, context.Canceled) {
		t.Errorf("a call that was cut off: %v", err)
	}
}
