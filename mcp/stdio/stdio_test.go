//go:build unix

package stdio_test

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
	"github.com/tollgate/tollgate/internal/upstreamtest"
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
			upstreamtest.NoLeaks(t)
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
	upstreamtest.WantFault(t, err, upstream.Gone)
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
	fault := upstreamtest.WantFault(t, err, upstream.Unreachable)
	if !strings.Contains(fault.Text, "command") {
		t.Error(fault.Text)
	}
	upstreamtest.WantFault(t, f.Ping(t.Context()), upstream.Unreachable)
}

func TestChildGetsDeclaredEnvironmentAndCredentials(t *testing.T) {
	t.Setenv("GATEWAY_SECRET", "canary-of-the-gateway")
	f, _ := stdioFixture(t)
	got := string(f.Answer(t, upstreamtest.Tool("env", "{}")).Result)
	if !strings.Contains(got, "CREDENTIAL=canary-credential") || strings.Contains(got, "canary-of-the-gateway") {
		t.Errorf("environment: %s", got)
	}
	if strings.Contains(f.Log.String(), "canary") {
		t.Error("a credential is in the log")
	}
}

func TestChildAnswersPassAsTheyCame(t *testing.T) {
	for _, traits := range [][]string{nil, {"modern"}} {
		f, o := stdioFixture(t, traits...)
		x := upstreamtest.Tool("echo", `{"a": [1, 2.50]}`)
		x.Meta = []byte(`{"vendor/key":1}`)
		got := string(f.Answer(t, x).Result)
		want := `{"content":[],"structuredContent":{"args":{"a": [1, 2.50]},"meta":{"vendor/key":1`
		if o.Era == upstream.Modern {
			want += `,"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{},` +
				`"io.modelcontextprotocol/clientInfo":{"name":"tollgate","version":"1.2.3"}`
		}
		if want += `}},"big":12345678901234567890}`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		a := f.Answer(t, upstreamtest.Tool("unknown", "{}"))
		if a.Error == nil || a.Error.Code != -32602 || string(a.Error.Raw) != `{"code":-32602,"message":"Unknown tool","data":{"n":9007199254740993}}` {
			t.Errorf("%+v", a.Error)
		}
	}
}

// A message is a line: whatever stands between the tokens of what a caller sent, it cannot write another.
func TestLineBreaksOfACallerBeginNoMessage(t *testing.T) {
	f, _ := stdioFixture(t)
	x := upstreamtest.Tool("echo", "{\"a\":\n{\"jsonrpc\":\"2.0\",\"method\":\"notifications/cancelled\"}\r\n,\"b\":[\r1]}")
	a := f.Answer(t, x)
	if want := `"args":{"a":{"jsonrpc":"2.0","method":"notifications/cancelled"},"b":[1]}`; a.Error != nil || !strings.Contains(string(a.Result), want) {
		t.Errorf("%s %v", a.Result, a.Error)
	}
}

func TestCallersShareOnePipe(t *testing.T) {
	f, _ := stdioFixture(t)
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			var n upstreamtest.Notified
			x := upstreamtest.Tool("progress", "{}")
			x.ProgressToken, x.Notify = strconv.AppendInt(nil, int64(i), 10), n.Take
			a, err := f.As(t.Context(), upstreamtest.Alice, x)
			if err != nil || !strings.Contains(string(a.Result), "done") {
				t.Errorf("caller %d: %v", i, err)
				return
			}
			for j, got := range n.Got {
				want := fmt.Sprintf(`notifications/progress {"progressToken":%d,"progress":%d,"x":12345678901234567890}`, i, j+1)
				if got != want {
					t.Errorf("caller %d: %s, want %s", i, got, want)
				}
			}
			if len(n.Got) != 100 {
				t.Errorf("caller %d got %d notifications", i, len(n.Got))
			}
			arg := fmt.Sprintf(`{"caller":%d}`, i)
			if a, err := f.As(t.Context(), upstreamtest.Alice, upstreamtest.Tool("echo", arg)); err != nil || !strings.Contains(string(a.Result), arg) {
				t.Errorf("caller %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}

func TestLogLinesOfNobodyReachNobody(t *testing.T) {
	f, _ := stdioFixture(t)
	var n upstreamtest.Notified
	x := upstreamtest.Tool("log", "{}")
	x.LogLevel, x.Notify = "debug", n.Take
	f.Answer(t, x)
	if len(n.Got) != 0 {
		t.Errorf("got %q", n.Got)
	}
}

func TestFloodOfNotificationsIsBounded(t *testing.T) {
	f, _ := stdioFixture(t)
	var n upstreamtest.Notified
	x := upstreamtest.Tool("flood", "{}")
	x.ProgressToken, x.Notify = []byte("1"), n.Take
	if a := f.Answer(t, x); !strings.Contains(string(a.Result), "flooded") {
		t.Errorf("%+v", a)
	}
	if len(n.Got) == 0 {
		t.Error("all were dropped")
	}
}

func TestChildsOwnRequestsAreRefused(t *testing.T) {
	f, _ := stdioFixture(t)
	if a := f.Answer(t, upstreamtest.Tool("ask", "{}")); !strings.Contains(string(a.Result), "asked") {
		t.Errorf("%+v", a)
	}
	f.Answer(t, upstreamtest.Tool("change", "{}"))
	if c := <-f.Changed; c != upstream.ToolsChanged {
		t.Errorf("heard %q", c)
	}
}

func TestKilledChildIsStartedAgain(t *testing.T) {
	f, _ := stdioFixture(t)
	pid := func() int {
		raw := string(f.Answer(t, upstreamtest.Tool("pid", "{}")).Result)
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
		x := upstreamtest.Tool("slow", "{}")
		x.ProgressToken, x.Notify = []byte("1"), func(string, []byte) { close(going) }
		_, err := f.As(context.Background(), upstreamtest.Alice, x)
		slow <- err
	}()
	<-going
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	fault := upstreamtest.WantFault(t, <-slow, upstream.Gone)
	if !strings.Contains(fault.Text, "exited before it answered") {
		t.Error(fault.Text)
	}
	if second := pid(); second == first {
		t.Error("the dead child answers")
	}
	for c := range f.Changed {
		if c == upstream.Lost {
			break
		}
	}
}

func TestChildThatKeepsDyingIsNotStartedWithoutPause(t *testing.T) {
	f, _ := stdioFixture(t)
	for range 2 {
		f.WantFault(t, upstreamtest.Tool("exit", "{}"), upstream.Gone)
		for c := range f.Changed { // the death has been counted
			if c == upstream.Lost {
				break
			}
		}
	}
	fault := f.WantFault(t, upstreamtest.Tool("echo", "{}"), upstream.Unreachable)
	if !strings.Contains(fault.Text, "started again in") {
		t.Error(fault.Text)
	}
}

func TestLineThatNeverEnds(t *testing.T) {
	f, _ := stdioFixture(t)
	f.WantFault(t, upstreamtest.Tool("huge", "{}"), upstream.TooLarge)
	if a := f.Answer(t, upstreamtest.Tool("echo", "{}")); a.Result == nil {
		t.Errorf("the next call: %+v", a)
	}
}

func TestCallerWhoLeavesIsToldToTheChild(t *testing.T) {
	f, _ := stdioFixture(t)
	ctx, cancel := context.WithCancel(t.Context())
	x := upstreamtest.Tool("slow", "{}")
	x.ProgressToken, x.Notify = []byte("1"), func(string, []byte) { cancel() }
	if _, err := f.As(ctx, upstreamtest.Alice, x); !errors.Is(err, context.Canceled) {
		t.Errorf("the call ended with %v", err)
	}
	f.Answer(t, upstreamtest.Tool("echo", "{}")) // the pipe is in order
	if err := f.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"cancelled on request", "the input has ended"} {
		if !strings.Contains(f.Log.String(), want) {
			t.Errorf("the child did not see that %s:\n%s", want, f.Log.String())
		}
	}
	f.WantFault(t, upstreamtest.Tool("echo", "{}"), upstream.Unreachable)
}

func TestManyServersLeaveNothing(t *testing.T) {
	upstreamtest.NoLeaks(t)
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
			f.Answer(t, upstreamtest.Tool("echo", "{}"))
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
	f.Answer(t, upstreamtest.Tool("echo", "{}"))
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

func BenchmarkCallStdio(b *testing.B) {
	f, _ := stdioFixture(b)
	upstreamtest.Benchmark(b, f)
}
