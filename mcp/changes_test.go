package mcp

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate/tollgate/internal/gatetest"
	"github.com/tollgate/tollgate/mcp/upstream"
)

// TestChangesAreSeenSoon holds that a change is listed well within a second, whenever it comes, and that a server that
// shouts is not asked for its lists as often as it does.
func TestChangesAreSeenSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTimed(t, gatetest.Options{Rules: allowAll}, map[string]script{"srv": oneTool("first")}, nil)
		list := func() string {
			body, headers := modernBody("1", "tools/list", "")
			_, got := w.ask(t, "POST", "/mcp", body, headers...)
			return got
		}
		list()
		srv := w.fakes["srv"]
		for _, c := range []struct {
			tool         string
			quiet, after time.Duration // before the change; in which it is listed
		}{
			{"rested", time.Minute, 2 * changeWithin},
			{"atOnce", 0, 600 * time.Millisecond},
			{"soon", 100 * time.Millisecond, 600 * time.Millisecond},
			{"restedAgain", 5 * time.Second, 2 * changeWithin},
		} {
			time.Sleep(c.quiet)
			srv.set(oneTool(c.tool))
			time.Sleep(c.after)
			if got := list(); !strings.Contains(got, c.tool) {
				t.Errorf("%s is not listed %v after the change: %s", c.tool, c.after, got)
			}
		}
		before := srv.looked()
		for range 1000 {
			srv.cfg.Changed(upstream.ToolsChanged)
			time.Sleep(10 * time.Millisecond)
		}
		if n := srv.looked() - before; n < 5 || n > 25 {
			t.Errorf("a server that shouts for ten seconds was asked %d times", n)
		}
	})
}
