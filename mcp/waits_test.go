package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate/tollgate/internal/gatetest"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/front"
	"github.com/tollgate/tollgate/mcp/rpc"
	"github.com/tollgate/tollgate/mcp/seal"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/policy"
)

// legacyTool is a legacy server with one tool.
func legacyTool() map[string]script {
	s := oneTool("do")
	s.Era = upstream.Legacy
	return map[string]script{"srv": s}
}

// call sends a modern tools/call of srv__do by who; more are further members of params.
func (w *timed) call(t *testing.T, ctx context.Context, who, more string) (int, string) {
	t.Helper()
	body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"srv__do","arguments":{}` + more + `,"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28",
		"io.modelcontextprotocol/clientCapabilities":{"elicitation":{"form":{},"url":{}},"sampling":{},"roots":{}}}}}`
	req, err := http.NewRequestWithContext(ctx, "POST", "http://gateway.test/mcp", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"Authorization": "Bearer " + who, "Accept": "application/json, text/event-stream", "Content-Type": "application/json",
		"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "srv__do",
	} {
		req.Header.Set(name, value)
	}
	resp, err := w.client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b)
}

var stateIn = regexp.MustCompile(`"requestState":"([^"]+)"`)

// parked makes a call that asks, and returns the params that answer it.
func (w *timed) parked(t *testing.T) string {
	t.Helper()
	_, got := w.call(t, t.Context(), "alice", "")
	state := stateIn.FindStringSubmatch(got)
	if state == nil {
		t.Fatalf("not asked: %s", got)
	}
	return `,"requestState":"` + state[1] + `","inputResponses":{"elicitation-1":{"action":"accept"}}`
}

// asks is a server that asks once, then does what is left of its work. The channel is closed when the call has ended.
func (f *fake) asks(work time.Duration) <-chan struct{} {
	ended := make(chan struct{})
	f.mu.Lock()
	defer f.mu.Unlock()
	f.play = func(ctx context.Context, x *upstream.Exchange) (*upstream.Answer, error) {
		defer close(ended)
		f.heard("elicitation/create", x.Ask(ctx, "elicitation/create", []byte(`{"message":"?"}`)))
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(work):
		}
		return &upstream.Answer{Result: []byte(`{"content":[]}`)}, nil
	}
	return ended
}

func isClosed(c <-chan struct{}) bool {
	synctest.Wait()
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func wantText(t *testing.T, got string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(got, w) {
			t.Errorf("got %s, want it to hold %s", got, w)
		}
	}
}

// TestRulesChangeWhileParked ends the call with what the rules say now.
func TestRulesChangeWhileParked(t *testing.T) {
	for rules, want := range map[string][]string{
		`{version: 1, rules: [{id: all, effect: allow, tools: ["*"]}, {id: no, effect: deny, tools: ["*"], if: '!("sure" in args)', message: not today}]}`: {`"isError":true`, "not today", `"rule":["no"]`},
		`{version: 1, rules: [{id: none, effect: deny, tools: ["*"]}]}`:                                                                                    {`"code":-32602,"message":"unknown tool: srv__do"`},
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newTimed(t, gatetest.Options{Rules: allowAll}, legacyTool(), nil)
			ended := w.fakes["srv"].asks(time.Minute)
			retry := w.parked(t)
			if err := w.gate.Gate.Reload(gatetest.Rules(t, rules), w.upstreams); err != nil {
				t.Fatal(err)
			}
			_, got := w.call(t, t.Context(), "alice", retry)
			wantText(t, got, want...)
			if !isClosed(ended) {
				t.Error("the call goes on")
			}
			if err := w.gate.Gate.Reload(gatetest.Rules(t, allowAll), w.upstreams); err != nil {
				t.Fatal(err)
			}
			_, got = w.call(t, t.Context(), "alice", retry)
			wantText(t, got, `"code":-32602`, "expired or was lost; call again")
			_ = w.Close(t.Context())
			w.gate.WantEntry(t, "posted cut cost 0 estimated")
		})
	}
}

// TestKeyRevokedWhileParked ends the call without anybody coming back for it.
func TestKeyRevokedWhileParked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTimed(t, gatetest.Options{Rules: allowAll}, legacyTool(), nil)
		ended := w.fakes["srv"].asks(0)
		retry := w.parked(t)
		time.Sleep(time.Minute)
		if isClosed(ended) {
			t.Fatal("it has not waited")
		}
		w.people.revoke("alice")
		if status, _ := w.call(t, t.Context(), "alice", retry); status != http.StatusUnauthorized {
			t.Errorf("status %d", status)
		}
		time.Sleep(6 * time.Second)
		if !isClosed(ended) {
			t.Error("the call goes on")
		}
	})
}

// TestOneEntryForAParkedCall: a call keeps its place and its hold until its end, and is paid once.
func TestOneEntryForAParkedCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := gatetest.Options{Rules: allowAll, Limits: map[ledger.Scope][]string{{Level: ledger.KeyLevel, Name: "id-alice"}: {"1 concurrent"}}}
		w := newTimed(t, o, legacyTool(), func(c *Config) { c.Servers[0].PricePerCall = 5 })
		w.fakes["srv"].asks(0)
		retry := w.parked(t)
		time.Sleep(time.Minute)
		_, got := w.call(t, t.Context(), "alice", "")
		wantText(t, got, `"isError":true`, `"limit":"1 concurrent"`)
		_, got = w.call(t, t.Context(), "bob", retry)
		wantText(t, got, `"code":-32602`, "not one that was given for this request")
		_, got = w.call(t, t.Context(), "alice", retry)
		wantText(t, got, `"resultType":"complete"`)
		_ = w.Close(t.Context())
		w.gate.WantEntries(t, "reserved tool.call srv do all", "denied tool.call srv do", "denied tool.call srv__do", "posted ok cost 5")
	})
}

// TestTimeOfACallThatAsks stands still while its caller is asked, and only then.
func TestTimeOfACallThatAsks(t *testing.T) {
	for work, want := range map[time.Duration]string{
		50 * time.Second: `"resultType":"complete"`,
		70 * time.Second: "the server did not answer within 1m0s",
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newTimed(t, gatetest.Options{Rules: allowAll}, legacyTool(), func(c *Config) { c.CallTimeout = time.Minute })
			w.fakes["srv"].asks(work)
			retry := w.parked(t)
			time.Sleep(9 * time.Minute)
			began := time.Now()
			_, got := w.call(t, t.Context(), "alice", retry)
			wantText(t, got, want)
			if d := time.Since(began); d > time.Minute {
				t.Errorf("it took %s", d)
			}
		})
	}
}

// TestClock in every order of questions.
func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, c := newClock(t.Context(), 10*time.Second)
		time.Sleep(4 * time.Second)
		c.pause()
		time.Sleep(time.Hour)
		c.pause()
		c.resume()
		time.Sleep(time.Hour)
		c.resume()
		time.Sleep(5 * time.Second)
		if ctx.Err() != nil {
			t.Fatal("over too early")
		}
		time.Sleep(2 * time.Second)
		if context.Cause(ctx) != context.DeadlineExceeded {
			t.Errorf("%v", context.Cause(ctx))
		}
		c.pause()
		c.resume() // changes nothing any more
		c.end()

		ctx, c = newClock(t.Context(), time.Second)
		c.pause()
		c.end()
		c.resume()
		time.Sleep(time.Minute)
		if context.Cause(ctx) != context.Canceled {
			t.Errorf("%v", context.Cause(ctx))
		}
	})
}

// TestTheClientLeavesWhileItListens, first and in its retry: the call ends, as every call of its era.
func TestTheClientLeavesWhileItListens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTimed(t, gatetest.Options{Rules: allowAll}, legacyTool(), nil)
		ended := w.fakes["srv"].asks(time.Hour)
		retry := w.parked(t)
		ctx, leave := context.WithTimeout(t.Context(), time.Minute)
		defer leave()
		w.call(t, ctx, "alice", retry)
		time.Sleep(time.Second)
		if !isClosed(ended) {
			t.Error("the call goes on")
		}
		_, got := w.call(t, t.Context(), "alice", retry)
		wantText(t, got, "expired or was lost; call again")
	})
}

// TestTheServerIsTakenAwayWhileParked: its removal ends the call, and the retry is told so.
func TestTheServerIsTakenAwayWhileParked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTimed(t, gatetest.Options{Rules: allowAll}, legacyTool(), nil)
		ended := w.fakes["srv"].asks(0)
		retry := w.parked(t)
		if err := w.Reload(nil, nil); err != nil {
			t.Fatal(err)
		}
		time.Sleep(drainWithin + time.Second)
		if !isClosed(ended) {
			t.Error("the call goes on")
		}
		_, got := w.call(t, t.Context(), "alice", retry)
		wantText(t, got, `"error"`, "unknown tool")
	})
}

// TestRestartWhileParked: the state is known as one of this installation, and what it stood for is gone.
func TestRestartWhileParked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := bytes.Repeat([]byte{7}, seal.KeyBytes)
		same := func(c *Config) { c.SealKey = key }
		before := newTimed(t, gatetest.Options{Rules: allowAll}, legacyTool(), same)
		ended := before.fakes["srv"].asks(0)
		retry := before.parked(t)
		began := time.Now()
		if err := before.Close(t.Context()); err != nil {
			t.Error(err)
		}
		if d := time.Since(began); d > time.Second || !isClosed(ended) {
			t.Errorf("closing took %s", d)
		}
		after := newTimed(t, gatetest.Options{Rules: allowAll}, legacyTool(), same)
		_, got := after.call(t, t.Context(), "alice", retry)
		wantText(t, got, `"code":-32602,"message":"the input request has expired or was lost; call again"`)
		if got := after.fakes["srv"].took(); len(got) != 0 {
			t.Errorf("the call was run again: %q", got)
		}
	})
}

// TestServerBecomesModernWhileParked: a state of ours is not for its eyes.
func TestServerBecomesModernWhileParked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTimed(t, gatetest.Options{Rules: allowAll}, legacyTool(), nil)
		w.fakes["srv"].asks(0)
		retry := w.parked(t)
		w.front.Drain()
		synctest.Wait()
		w.fakes["srv"].took()
		w.fakes["srv"].set(oneTool("do"))
		time.Sleep(2 * time.Second)
		_, got := w.call(t, t.Context(), "alice", retry)
		wantText(t, got, "expired or was lost; call again")
		if got := w.fakes["srv"].took(); len(got) != 0 {
			t.Errorf("it reached the server: %q", got)
		}
	})
}

// TestPanicInACallThatMayWait is answered, and the process goes on.
func TestPanicInACallThatMayWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTimed(t, gatetest.Options{Rules: allowAll}, legacyTool(), nil)
		w.fakes["srv"].play = func(context.Context, *upstream.Exchange) (*upstream.Answer, error) { panic("oops") }
		_, got := w.call(t, t.Context(), "alice", "")
		wantText(t, got, `"code":-32603,"message":"the gateway could not answer"`)
	})
}

// asking is a call as package front makes it for a legacy client that answers all it is asked.
type asking struct {
	*world
	asked []string
	told  []string
}

// frontCall is a call of srv/do as package front makes it.
func (a *asking) frontCall(version, capabilities string) *front.Call {
	return &front.Call{
		Principal: a.people.all["alice"], Action: policy.ToolCall, Entry: (*backend)(a.Gateway).Catalog().Space("").Tool("srv__do"),
		Method: "tools/call", Params: []byte(`{"name":"do"}`),
		Context: &era.Context{Era: upstream.Legacy, Version: version, Capabilities: []byte(capabilities)},
	}
}

// legacyCall makes a call of srv/do for a client of version with these capabilities; answer answers it.
func (a *asking) legacyCall(t *testing.T, version, capabilities string, answer func(n int, method string, params []byte) *upstream.Answer) string {
	t.Helper()
	b := (*backend)(a.Gateway)
	b.Settle(t.Context(), []string{"srv"})
	c := a.frontCall(version, capabilities)
	if answer != nil {
		c.Ask = func(_ context.Context, method string, params []byte) *upstream.Answer {
			a.asked = append(a.asked, method+" "+string(params))
			return answer(len(a.asked), method, params)
		}
	}
	c.Client = &upstream.Client{ID: "c", Notify: func(method string, params []byte) { a.told = append(a.told, method+" "+string(params)) }}
	result, err := b.Call(t.Context(), c)
	if err != nil {
		return err.Error()
	}
	return string(result.For(c.Context, []byte(`{}`), false))
}

// required is a modern server that requires input: one result after the other, the last of them for ever.
func (f *fake) required(results ...string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	f.play = func(context.Context, *upstream.Exchange) (*upstream.Answer, error) {
		n++
		return &upstream.Answer{Result: []byte(results[min(n, len(results))-1])}, nil
	}
}

const (
	complete = `{"resultType":"complete","content":[]}`
	allCaps  = `{"elicitation":{"form":{},"url":{}},"sampling":{},"roots":{}}`
)

func accepts(int, string, []byte) *upstream.Answer {
	return &upstream.Answer{Result: []byte(`{"action":"accept"}`)}
}

func inputs(requests, state string) string {
	return `{"resultType":"input_required","inputRequests":` + requests + `,"requestState":` + state + `}`
}

// TestRounds puts what a modern server requires to a legacy client, in one entry of the ledger.
func TestRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &asking{world: newWorld(t, gatetest.Options{Rules: allowAll}, map[string]script{"srv": oneTool("do")}, nil)}
		f := a.fakes["srv"]
		f.required(
			inputs(`{"who":{"method":"elicitation/create","params":{"message":"?","big":12345678901234567890}}}`, `"s\u0031"`),
			`{"resultType":"input_required","inputRequests":{"r":{"method":"roots/list"}}}`,
			`{"resultType":"input_required","requestState":""}`,
			complete,
		)
		got := a.legacyCall(t, era.V2025Jun, `{"elicitation":{},"roots":{}}`, func(n int, method string, _ []byte) *upstream.Answer {
			return &upstream.Answer{Result: fmt.Appendf(nil, `{"n":%d,"action":"accept"}`, n)}
		})
		if got != `{"content":[]}` {
			t.Error(got)
		}
		wantSame(t, a.asked, `elicitation/create {"message":"?","big":12345678901234567890}`, `roots/list `)
		wantSame(t, params(f.took()),
			`{"name":"do"}`,
			`{"name":"do","inputResponses":{"who":{"n":1,"action":"accept"}},"requestState":"s\u0031"}`,
			`{"name":"do","inputResponses":{"r":{"n":2,"action":"accept"}}}`,
			`{"name":"do","requestState":""}`)
		_ = a.Close(t.Context())
		a.gate.WantEntries(t, "reserved tool.call srv do all", "posted ok cost 0")
	})
}

var paramsIn = regexp.MustCompile(`tools/call (\{.*\}) meta=`)

func params(got []string) (out []string) {
	for _, line := range got {
		out = append(out, paramsIn.FindStringSubmatch(line)[1])
	}
	return out
}

func wantSame(t *testing.T, got []string, want ...string) {
	t.Helper()
	if g, w := strings.Join(got, "\n"), strings.Join(want, "\n"); g != w {
		t.Errorf("got\n%s\nwant\n%s", g, w)
	}
}

// TestRoundsThatEndBadly say why.
func TestRoundsThatEndBadly(t *testing.T) {
	page := `{"p":{"method":"elicitation/create","params":{"mode":"url","message":"Sign in:","url":"https://a.example/x"}}}`
	form := `{"f":{"method":"elicitation/create","params":{"message":"?"}}}`
	refuses := func(int, string, []byte) *upstream.Answer {
		return &upstream.Answer{Error: upstream.NewError(-1, "the user said no")}
	}
	for _, tt := range []struct {
		name, version, caps string
		answer              func(int, string, []byte) *upstream.Answer
		result, want        string
		calls               int
	}{
		{"nobody to ask", era.V2025Nov, "{}", nil, inputs(form, `"s"`), "something that this protocol version cannot carry", 1},
		{"the client answers an error", era.V2025Nov, allCaps, refuses, inputs(form, `"s"`), "asked for elicitation/create, which the client did not answer: the user said no", 1},
		{"a page before 2025-11-25", era.V2025Jun, allCaps, accepts, inputs(page, `"s"`), "needs a page to be visited first: Sign in: https://a.example/x; then call again", 1},
		{"a page for a client without", era.V2025Nov, `{"elicitation":{"form":{}}}`, accepts, inputs(page, `"s"`), "needs a page to be visited first: Sign in: https://a.example/x; then call again", 1},
		{"again and again", era.V2025Nov, allCaps, accepts, inputs(form, `"s"`), "required input again and again", 1 + roundsMax},
		{"never not busy", era.V2025Nov, allCaps, accepts, `{"resultType":"input_required","requestState":"s"}`, "busy and put the call off again and again", 1 + roundsMax},
		{"nothing at all", era.V2025Nov, allCaps, accepts, `{"resultType":"input_required"}`, "requires input that cannot be read", 1},
		{"requests that are none", era.V2025Nov, allCaps, accepts, inputs(`[]`, `"s"`), "requires input that cannot be read", 1},
		{"a request without method", era.V2025Nov, allCaps, accepts, inputs(`{"x":{}}`, `"s"`), "requires input that cannot be read", 1},
		{"a state that is none", era.V2025Nov, allCaps, accepts, inputs(form, `7`), "requires input that cannot be read", 1},
		{"a page that is never dealt with", era.V2025Nov, allCaps, accepts, inputs(page, `"s"`), "was not, for 10m0s", 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := &asking{world: newWorld(t, gatetest.Options{Rules: allowAll}, map[string]script{"srv": oneTool("do")}, nil)}
				a.fakes["srv"].required(tt.result)
				began := time.Now()
				wantText(t, a.legacyCall(t, tt.version, tt.caps, tt.answer), tt.want)
				if n := len(a.fakes["srv"].took()); tt.calls != 0 && n != tt.calls {
					t.Errorf("the server was called %d times, want %d", n, tt.calls)
				}
				if d := time.Since(began); d > pagesWithin {
					t.Errorf("it took %s", d)
				}
				_ = a.Close(t.Context())
				for _, line := range a.gate.Lines(t)[1:] {
					if !strings.HasPrefix(line, "posted upstream_error cost 0") && !strings.HasPrefix(line, "posted cut cost 0 estimated") {
						t.Errorf("entry %s", line)
					}
				}
			})
		})
	}
}

// TestProgressOverRounds rises, as that of one request must.
func TestProgressOverRounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &asking{world: newWorld(t, gatetest.Options{Rules: allowAll}, map[string]script{"srv": oneTool("do")}, nil)}
		b := (*backend)(a.Gateway)
		b.Settle(t.Context(), []string{"srv"})
		round := 0
		a.fakes["srv"].play = func(_ context.Context, x *upstream.Exchange) (*upstream.Answer, error) {
			round++
			for i := range round + 1 {
				x.Notify("notifications/progress", fmt.Appendf(nil, `{"progressToken":7,"progress":%d.5}`, i))
			}
			x.Notify("notifications/message", []byte(`{"level":"info"}`))
			if round == 3 {
				return &upstream.Answer{Result: []byte(complete)}, nil
			}
			return &upstream.Answer{Result: []byte(inputs(`{"r":{"method":"roots/list"}}`, `"s"`))}, nil
		}
		c := a.frontCall(era.V2025Nov, allCaps)
		c.Context.ProgressToken = []byte("7")
		c.Ask = func(context.Context, string, []byte) *upstream.Answer {
			return &upstream.Answer{Result: []byte(`{"roots":[]}`)}
		}
		var got []string
		c.Notify = func(method string, params []byte) {
			if method == "notifications/progress" {
				got = append(got, string(params))
			}
		}
		if _, err := b.Call(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		wantSame(t, got, `{"progressToken":7,"progress":0.5}`, `{"progressToken":7,"progress":1.5}`, `{"progressToken":7,"progress":2.5}`, `{"progressToken":7,"progress":3.5}`)
	})
}

// TestModernServerInsistsOnACapability that the legacy client lacks: the client gets the server's own words.
func TestModernServerInsistsOnACapability(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &asking{world: newWorld(t, gatetest.Options{Rules: allowAll}, map[string]script{"srv": oneTool("do")}, nil)}
		a.fakes["srv"].play = func(_ context.Context, x *upstream.Exchange) (*upstream.Answer, error) {
			return &upstream.Answer{Error: &upstream.RPCError{Code: -32021, Raw: []byte(`{"code":-32021,"message":"no","data":{"requiredCapabilities":{"sampling":{}}}}`)}}, nil
		}
		b := (*backend)(a.Gateway)
		b.Settle(t.Context(), []string{"srv"})
		_, err := b.Call(t.Context(), a.frontCall(era.V2025Nov, `{}`))
		var e *rpc.Error
		if !errors.As(err, &e) || !strings.Contains(string(e.Raw), `"requiredCapabilities":{"sampling":{}}`) || e.HTTP != 0 {
			t.Errorf("%+v", err)
		}
	})
}

// TestPagesOfAModernServer are opened by a client of 2025-11-25 once; then the call is made again until the server goes on,
// which the client is told. The time a person takes is not the server's.
func TestPagesOfAModernServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &asking{world: newWorld(t, gatetest.Options{Rules: allowAll}, map[string]script{"srv": oneTool("do")}, func(c *Config) { c.CallTimeout = 10 * time.Second })}
		page := inputs(`{"p":{"method":"elicitation/create","params":{"mode":"url","message":"Sign in","url":"https://a.example/x"}}}`, `"s"`)
		all := make([]string, 20)
		for i := range all {
			all[i] = page
		}
		a.fakes["srv"].required(append(all, complete)...)
		began := time.Now()
		if got := a.legacyCall(t, era.V2025Nov, allCaps, accepts); got != `{"content":[]}` {
			t.Error(got)
		}
		if d := time.Since(began); d < 2*time.Minute {
			t.Errorf("the server was asked 20 times in %s", d)
		}
		var asked struct{ ElicitationID string }
		if len(a.asked) != 1 || json.Unmarshal([]byte(strings.TrimPrefix(a.asked[0], "elicitation/create ")), &asked) != nil || len(asked.ElicitationID) < 20 {
			t.Fatalf("asked %q", a.asked)
		}
		wantSame(t, a.told, `notifications/elicitation/complete {"elicitationId":"`+asked.ElicitationID+`"}`)
		last := params(a.fakes["srv"].took())
		wantText(t, last[len(last)-1], `"inputResponses":{"p":{"action":"accept"}},"requestState":"s"`)
	})
}

// TestLegacyClientOfAModernServer is asked on the stream of its call.
func TestLegacyClientOfAModernServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newTimed(t, gatetest.Options{Rules: allowAll}, map[string]script{"srv": oneTool("do")}, nil)
		w.fakes["srv"].required(inputs(`{"k":{"method":"elicitation/create","params":{"message":"sure?","requestedSchema":{"type":"object","properties":{}}}}}`, `"s"`), complete)
		opened := w.send(t, t.Context(), "POST", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{"elicitation":{}}}}`)
		_, _ = io.Copy(io.Discard, opened.Body)
		_ = opened.Body.Close()
		session := "Mcp-Session-Id: " + opened.Header.Get("Mcp-Session-Id")
		resp := w.send(t, t.Context(), "POST", "/mcp", `{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"srv__do"}}`, session)
		defer resp.Body.Close()
		stream := lines(resp.Body)
		got, _ := within(stream, time.Second)
		var question struct {
			ID     json.RawMessage
			Method string
		}
		for _, line := range got {
			if data, ok := strings.CutPrefix(line, "data: "); ok {
				_ = json.Unmarshal([]byte(data), &question)
			}
		}
		if question.Method != "elicitation/create" {
			t.Fatalf("asked %q", got)
		}
		w.ask(t, "POST", "/mcp", fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"action":"accept","content":{}}}`, question.ID), session)
		got, ended := within(stream, time.Second)
		if !ended || len(got) == 0 {
			t.Fatalf("%q", got)
		}
		wantText(t, got[len(got)-1], `"id":2,"result":{"content":[]}`)
		wantText(t, strings.Join(params(w.fakes["srv"].took()), "\n"), `"inputResponses":{"k":{"action":"accept","content":{}}},"requestState":"s"`)
	})
}
