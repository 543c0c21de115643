//go:build unix

package upstream_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/tollgate/tollgate/internal/mcptest"
	"github.com/tollgate/tollgate/mcp/upstream"
)

func TestChildSettlesEra(t *testing.T) {
	for _, c := range []struct {
		name   string
		traits []string
		era    upstream.Era
		want   upstream.Era
	}{
		{"legacy", nil, "", upstream.Legacy},
		{"modern", []string{"modern"}, "", upstream.Modern},
		{"the SDK's server", []string{"sdk"}, "", upstream.Modern},
		{"a banner on standard output", []string{"banner"}, "", upstream.Legacy},
		{"exits when probed", []string{"fragile"}, "", ""},
		{"forced legacy is not probed", []string{"fragile"}, upstream.Legacy, upstream.Legacy},
		{"forced modern does not fall back", nil, upstream.Modern, ""},
		{"exits at once", []string{"broken"}, "", ""},
		{"prints without end", []string{"prints"}, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			noLeaks(t)
			f := newFixture(t, upstream.Config{Command: mcptest.Command(c.traits...), Env: quick(), Era: c.era})
			o, err := f.Discover(t.Context())
			if c.want == "" {
				var fault *upstream.Fault
				if !errors.As(err, &fault) {
					t.Fatalf("no fault but %v, %v", o, err)
				}
				return
			}
			if err != nil {
				t.Fatal(err, errors.Unwrap(err))
			}
			if o.Era != c.want || len(o.Tools) == 0 {
				t.Errorf("offer %+v", o)
			}
			if err := f.Ping(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestChildThatExitsWhenProbedIsNotProbedAgain(t *testing.T) {
	f := newFixture(t, upstream.Config{Command: mcptest.Command("fragile"), Env: quick()})
	_, err := f.Discover(t.Context())
	wantFault(t, err, upstream.Gone)
	if o, err := f.Discover(t.Context()); err != nil || o.Era != upstream.Legacy {
		t.Errorf("the second start: %v, %v", o, err)
	}
}

func TestProbeAgainWhereInitializeIsRefused(t *testing.T) {
	if testing.Short() {
		t.Skip("waits for the probe to time out")
	}
	if _, o := stdioFixture(t, "modern", "late"); o.Era != upstream.Modern {
		t.Errorf("era %s", o.Era)
	}
}

func TestCommandThatIsNotThere(t *testing.T) {
	f := newFixture(t, upstream.Config{Command: []string{"no-such-server"}})
	_, err := f.Discover(t.Context())
	fault := wantFault(t, err, upstream.Unreachable)
	if !strings.Contains(fault.Text, "command") {
		t.Error(fault.Text)
	}
	wantFault(t, f.Ping(t.Context()), upstream.Unreachable)
}

func TestChildGetsDeclaredEnvironmentAndCredentials(t *testing.T) {
	t.Setenv("GATEWAY_SECRET", "canary-of-the-gateway")
	f, _ := stdioFixture(t)
	got := string(f.call(t, tool("env", "{}")).Result)
	if !strings.Contains(got, "CREDENTIAL=canary-credential") || strings.Contains(got, "canary-of-the-gateway") {
		t.Errorf("environment: %s", got)
	}
	if strings.Contains(f.log.String(), "canary") {
		t.Error("a credential is in the log")
	}
}

func TestChildAnswersPassAsTheyCame(t *testing.T) {
	for _, traits := range [][]string{nil, {"modern"}} {
		f, o := stdioFixture(t, traits...)
		x := tool("echo", `{"a": [1, 2.50]}`)
		x.Meta = []byte(`{"vendor/key":1}`)
		got := string(f.call(t, x).Result)
		want := `{"content":[],"structuredContent":{"args":{"a": [1, 2.50]},"meta":{"vendor/key":1`
		if o.Era == upstream.Modern {
			want += `,"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},` +
				`"io.modelcontextprotocol/clientInfo":{"name":"tollgate","version":"1.2.3"}`
		}
		if want += `}},"big":12345678901234567890}`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		a := f.call(t, tool("unknown", "{}"))
		if a.Error == nil || a.Error.Code != -32602 || string(a.Error.Raw) != `{"code":-32602,"message":"Unknown tool","data":{"n":9007199254740993}}` {
			t.Errorf("%+v", a.Error)
		}
	}
}

func TestCallersShareOnePipe(t *testing.T) {
	f, _ := stdioFixture(t)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			var n notified
			x := tool("progress", "{}")
			x.ProgressToken, x.Notify = strconv.AppendInt(nil, int64(i), 10), n.take
			a, err := f.as(t.Context(), alice, x)
			if err != nil || !strings.Contains(string(a.Result), "done") {
				t.Errorf("caller %d: %v", i, err)
				return
			}
			for j, got := range n.got {
				want := fmt.Sprintf(`notifications/progress {"progressToken":%d,"progress":%d,"x":12345678901234567890}`, i, j+1)
				if got != want {
					t.Errorf("caller %d: %s, want %s", i, got, want)
				}
			}
			if len(n.got) != 100 {
				t.Errorf("caller %d got %d notifications", i, len(n.got))
			}
			arg := fmt.Sprintf(`{"caller":%d}`, i)
			if a, err := f.as(t.Context(), alice, tool("echo", arg)); err != nil || !strings.Contains(string(a.Result), arg) {
				t.Errorf("caller %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

func TestLogLinesOfNobodyReachNobody(t *testing.T) {
	f, _ := stdioFixture(t)
	var n notified
	x := tool("log", "{}")
	x.LogLevel, x.Notify = "debug", n.take
	f.call(t, x)
	if len(n.got) != 0 {
		t.Errorf("got %q", n.got)
	}
}

func TestFloodOfNotificationsIsBounded(t *testing.T) {
	f, _ := stdioFixture(t)
	var n notified
	x := tool("flood", "{}")
	x.ProgressToken, x.Notify = []byte("1"), n.take
	if a := f.call(t, x); !strings.Contains(string(a.Result), "flooded") {
		t.Errorf("%+v", a)
	}
	if len(n.got) == 0 {
		t.Error("all were dropped")
	}
}

func TestChildsOwnRequestsAreRefused(t *testing.T) {
	f, _ := stdioFixture(t)
	if a := f.call(t, tool("ask", "{}")); !strings.Contains(string(a.Result), "asked") {
		t.Errorf("%+v", a)
	}
	f.call(t, tool("change", "{}"))
	if c := <-f.changed; c != upstream.ToolsChanged {
		t.Errorf("heard %q", c)
	}
}

func TestKilledChildIsStartedAgain(t *testing.T) {
	f, _ := stdioFixture(t)
	pid := func() int {
		raw := string(f.call(t, tool("pid", "{}")).Result)
		digits := strings.Map(func(r rune) rune {
			if r >= '0' && r <= '9' {
				return r
			}
			return -1
		}, raw)
		n, err := strconv.Atoi(digits)
		if err != nil {
			t.Fatal(raw)
		}
		return n
	}
	first := pid()
	slow := make(chan error, 1)
	going := make(chan struct{})
	go func() {
		x := tool("slow", "{}")
		x.ProgressToken, x.Notify = []byte("1"), func(string, []byte) { close(going) }
		_, err := f.as(context.Background(), alice, x)
		slow <- err
	}()
	<-going
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	fault := wantFault(t, <-slow, upstream.Gone)
	if !strings.Contains(fault.Text, "exited before it answered") {
		t.Error(fault.Text)
	}
	if second := pid(); second == first {
		t.Error("the dead child answers")
	}
	for c := range f.changed {
		if c == upstream.Lost {
			break
		}
	}
}

func TestChildThatKeepsDyingIsNotStartedWithoutPause(t *testing.T) {
	f, _ := stdioFixture(t)
	for range 2 {
		f.wantFault(t, tool("exit", "{}"), upstream.Gone)
		for c := range f.changed { // the death has been counted
			if c == upstream.Lost {
				break
			}
		}
	}
	fault := f.wantFault(t, tool("echo", "{}"), upstream.Unreachable)
	if !strings.Contains(fault.Text, "started again in") {
		t.Error(fault.Text)
	}
}

func TestLineThatNeverEnds(t *testing.T) {
	f, _ := stdioFixture(t)
	f.wantFault(t, tool("huge", "{}"), upstream.TooLarge)
	if a := f.call(t, tool("echo", "{}")); a.Result == nil {
		t.Errorf("the next call: %+v", a)
	}
}

func TestCallerWhoLeavesIsToldToTheChild(t *testing.T) {
	f, _ := stdioFixture(t)
	ctx, cancel := context.WithCancel(t.Context())
	x := tool("slow", "{}")
	x.ProgressToken, x.Notify = []byte("1"), func(string, []byte) { cancel() }
	if _, err := f.as(ctx, alice, x); !errors.Is(err, context.Canceled) {
		t.Errorf("the call ended with %v", err)
	}
	f.call(t, tool("echo", "{}")) // the pipe is in order
	if err := f.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"cancelled on request", "the input has ended"} {
		if !strings.Contains(f.log.String(), want) {
			t.Errorf("the child did not see that %s:\n%s", want, f.log.String())
		}
	}
	f.wantFault(t, tool("echo", "{}"), upstream.Unreachable)
}

func TestManyServersLeaveNothing(t *testing.T) {
	noLeaks(t)
	t.Run("servers", func(t *testing.T) {
		for i := range 30 {
			traits := []string{}
			if i%2 == 0 {
				traits = append(traits, "modern")
			}
			f := newFixture(t, upstream.Config{Command: mcptest.Command(traits...), Env: quick()})
			if _, err := f.Discover(t.Context()); err != nil {
				t.Fatal(err)
			}
			f.call(t, tool("echo", "{}"))
			if err := f.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	})
	var status syscall.WaitStatus
	if pid, err := syscall.Wait4(-1, &status, syscall.WNOHANG, nil); !errors.Is(err, syscall.ECHILD) {
		t.Errorf("child %d is left (%v)", pid, err)
	}
}

func TestEveryMessageHasItsEntry(t *testing.T) {
	f, _ := stdioFixture(t)
	f.call(t, tool("echo", "{}"))
	if err := f.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := f.Lines(t)
	for _, want := range []string{"reserved server.discover tracker", "reserved session.open tracker", "reserved tool.call tracker echo all"} {
		if !slices.Contains(got, want) {
			t.Errorf("no entry %q in %q", want, got)
		}
	}
	if n := len(slices.DeleteFunc(got, func(s string) bool { return !strings.HasPrefix(s, "posted ok") })); n != 3 {
		t.Errorf("%d calls ended well: %q", n, got)
	}
}
