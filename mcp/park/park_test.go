package park

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/rpc"
	"github.com/tollgate/tollgate/mcp/seal"
	"github.com/tollgate/tollgate/mcp/upstream"
)

const everything = `{"elicitation":{"form":{},"url":{}},"sampling":{},"roots":{}}`

func newLot(t testing.TB) *Lot {
	t.Helper()
	s, err := seal.New(bytes.Repeat([]byte{1}, seal.KeyBytes))
	if err != nil {
		t.Fatal(err)
	}
	return New(s, Place{})
}

func request() *Request {
	return &Request{
		KeyID: "k1", Key: "alice", User: "u", Space: "", Method: "tools/call", Name: "files__delete",
		Server: "files", Target: "delete", Args: []byte(`{"path":"/a","n":1}`),
	}
}

// visitor is a caller with an answer to everything.
type visitor struct {
	t     testing.TB
	lot   *Lot
	valid atomic.Bool
	heard []string
}

func (v *visitor) visit(declares string) *Visit {
	return &Visit{
		Request: request(), Context: &era.Context{Era: upstream.Modern, Version: era.V2026, Capabilities: []byte(declares)},
		Notify: func(method string, params []byte) { v.heard = append(v.heard, method+" "+string(params)) },
		Valid:  func() bool { return v.valid.Load() },
	}
}

func newVisitor(t testing.TB, l *Lot) *visitor {
	v := &visitor{t: t, lot: l}
	v.valid.Store(true)
	return v
}

// waiting is how many calls have asked and are not over.
func (l *Lot) waiting() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.calls)
}

// asked is what a visit was answered with: the keys and methods of what is asked, and the state; or the text of the result.
type asked struct {
	questions map[string]string
	state     string
	text      string
	err       error
}

func read(t testing.TB, r *era.Result, err error) asked {
	t.Helper()
	if err != nil {
		return asked{err: err}
	}
	if r.Type == era.Complete {
		return asked{text: string(r.Raw)}
	}
	var in struct {
		InputRequests map[string]struct {
			Method string
			Params json.RawMessage
		}
		RequestState string
	}
	if err := json.Unmarshal(r.Raw, &in); err != nil {
		t.Fatalf("%s: %v", r.Raw, err)
	}
	a := asked{questions: map[string]string{}, state: in.RequestState}
	for key, q := range in.InputRequests {
		a.questions[key] = q.Method + " " + string(q.Params)
	}
	return a
}

// keys are those of what is asked.
func (a asked) keys() string { return strings.Join(slices.Sorted(maps.Keys(a.questions)), " ") }

func (v *visitor) run(run Run) asked {
	r, err := v.lot.Run(v.t.Context(), v.visit(everything), run)
	return read(v.t, r, err)
}

// retry answers; the error of a refusal is in asked.err.
func (v *visitor) retry(state, responses string) asked {
	visit := v.visit(everything)
	ticket, refused := v.lot.Open(state, visit.Request)
	if refused != nil {
		return asked{err: refused}
	}
	if refused := ticket.Resume(visit, []byte(responses)); refused != nil {
		return asked{err: refused}
	}
	r, err := ticket.Listen(v.t.Context(), visit)
	return read(v.t, r, err)
}

func result(text string) (*era.Result, error) {
	return era.ReadResult(fmt.Appendf(nil, `{"content":[],"text":%q}`, text))
}

// answers is what the answers of a server's questions come to.
func answers(all ...*upstream.Answer) (*era.Result, error) {
	var b strings.Builder
	for _, a := range all {
		if a.Error != nil {
			fmt.Fprintf(&b, "[error %d]", a.Error.Code)
			continue
		}
		fmt.Fprintf(&b, "[%s]", a.Result)
	}
	return result(b.String())
}

const yes = `{"action":"accept"}`

func wantErr(t testing.TB, a asked, text string) {
	t.Helper()
	var e *rpc.Error
	if !errors.As(a.err, &e) || !strings.Contains(e.Message, text) {
		t.Errorf("%+v, want an error with %q", a, text)
	}
}

// TestQuestionsThatComeTogether are told together, and those answered in part are asked again.
func TestQuestionsThatComeTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVisitor(t, newLot(t))
		run := func(ctx context.Context, ask upstream.Ask, _ func(string, []byte)) (*era.Result, error) {
			var got [3]*upstream.Answer
			var wg sync.WaitGroup
			for i, method := range []string{era.Elicit, era.Sample, era.ListRoots} {
				time.Sleep(time.Millisecond) // in this order
				wg.Go(func() { got[i] = ask(ctx, method, []byte(`{"message":"?"}`)) })
			}
			wg.Wait()
			return answers(got[:]...)
		}
		first := v.run(run)
		if first.keys() != "elicitation-1 roots-3 sampling-2" {
			t.Fatalf("asked %v", first.questions)
		}
		second := v.retry(first.state, `{"roots-3":{"roots":[]}}`)
		if second.keys() != "elicitation-1 sampling-2" || second.state == first.state {
			t.Fatalf("asked again %v", second.questions)
		}
		last := v.retry(second.state, `{"elicitation-1":`+yes+`,"sampling-2":{"role":"assistant","content":{}}}`)
		if want := `[{\"action\":\"accept\"}][{\"role\":\"assistant\",\"content\":{}}][{\"roots\":[]}]`; !strings.Contains(last.text, want) {
			t.Errorf("the server heard %s, want %s", last.text, want)
		}
		if v.lot.waiting() != 0 {
			t.Error("something is left")
		}
	})
}

func askOnce(ctx context.Context, ask upstream.Ask, _ func(string, []byte)) (*era.Result, error) {
	return answers(ask(ctx, era.Elicit, []byte(`{"message":"?"}`)))
}

// TestStatesAreGoodForOneThing holds that a state opens nothing for anybody else, on any other request or a second time, and
// that trying harms nobody.
func TestStatesAreGoodForOneThing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVisitor(t, newLot(t))
		first := v.run(askOnce)
		for name, change := range map[string]func(*Request){
			"another key id":    func(r *Request) { r.KeyID = "k2" },
			"another key":       func(r *Request) { r.Key = "bob" },
			"another user":      func(r *Request) { r.User = "" },
			"another endpoint":  func(r *Request) { r.Space = "files" },
			"another method":    func(r *Request) { r.Method = "prompts/get" },
			"another name":      func(r *Request) { r.Name = "files__list" },
			"another server":    func(r *Request) { r.Server = "disk" },
			"another tool":      func(r *Request) { r.Target = "list" },
			"other arguments":   func(r *Request) { r.Args = []byte(`{"path":"/b","n":1}`) },
			"no arguments":      func(r *Request) { r.Args = nil },
			"texts moved apart": func(r *Request) { r.KeyID, r.Key = "k1a", "lice" },
		} {
			r := request()
			change(r)
			if _, err := v.lot.Open(first.state, r); err == nil || err.Code != rpc.CodeParams {
				t.Errorf("%s: %v", name, err)
			}
		}
		for name, state := range map[string]string{
			"another installation's": func() string {
				other, _ := seal.New(bytes.Repeat([]byte{2}, seal.KeyBytes))
				return (&State{kind: parked, expires: time.Now().Add(time.Hour).Unix(), sum: request().sum()}).seal(other)
			}(),
			"changed":     first.state[:len(first.state)-1] + "_",
			"cut":         first.state[:len(first.state)-4],
			"bare":        strings.TrimPrefix(first.state, statePrefix),
			"a server's":  "xyz",
			"empty":       "",
			"of a future": strings.Replace(first.state, "input.2.", "input.3.", 1),
		} {
			if _, err := v.lot.Open(state, request()); err == nil || err.Code != rpc.CodeParams || v.lot.Ours(state) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if !v.lot.Ours(first.state) {
			t.Error("its own state is none")
		}
		same := request()
		same.Args = []byte("{ \"n\": 1.0, \"p\\u0061th\": \"\\/a\" }")
		if _, err := v.lot.Open(first.state, same); err != nil {
			t.Errorf("the same arguments in other words: %v", err)
		}
		if got := v.retry(first.state, `{"elicitation-1":`+yes+`}`); !strings.Contains(got.text, "accept") {
			t.Fatalf("%+v", got)
		}
		wantErr(t, v.retry(first.state, `{"elicitation-1":`+yes+`}`), "expired or was lost")
	})
}

// TestOneRetryOfTwo gets the call when both come at once.
func TestOneRetryOfTwo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVisitor(t, newLot(t))
		first := v.run(func(ctx context.Context, ask upstream.Ask, _ func(string, []byte)) (*era.Result, error) {
			a := ask(ctx, era.Elicit, nil)
			time.Sleep(time.Second)
			return answers(a)
		})
		got := make([]asked, 8)
		var wg sync.WaitGroup
		for i := range got {
			wg.Go(func() { got[i] = v.retry(first.state, `{"elicitation-1":`+yes+`}`) })
		}
		wg.Wait()
		through := 0
		for _, a := range got {
			if a.err == nil {
				through++
				continue
			}
			wantErr(t, a, "answered already")
		}
		if through != 1 {
			t.Errorf("%d retries went through", through)
		}
	})
}

// TestWhatDoesNotFit is refused, and the call goes on waiting.
func TestWhatDoesNotFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVisitor(t, newLot(t))
		first := v.run(func(ctx context.Context, ask upstream.Ask, _ func(string, []byte)) (*era.Result, error) {
			var got [3]*upstream.Answer
			var wg sync.WaitGroup
			for i, method := range []string{era.Elicit, era.Sample, era.ListRoots} {
				time.Sleep(time.Millisecond)
				wg.Go(func() { got[i] = ask(ctx, method, nil) })
			}
			wg.Wait()
			return answers(got[:]...)
		})
		for _, responses := range []string{
			`null`, `[]`, `7`, `"x"`,
			`{"elicitation-1":12345}`, `{"elicitation-1":null}`, `{"elicitation-1":{}}`, `{"elicitation-1":{"action":"maybe"}}`,
			`{"elicitation-1":{"error":{"code":1,"message":"no"}}}`,
			`{"sampling-2":{"role":"assistant"}}`, `{"sampling-2":{"content":[]}}`,
			`{"roots-3":{"roots":{}}}`, `{"roots-3":{}}`,
			`{"elicitation-1":` + yes + `,"roots-3":1}`,
		} {
			if got := v.retry(first.state, responses); got.err == nil {
				t.Errorf("%s was taken: %+v", responses, got)
			}
		}
		again := v.retry(first.state, `{"elicitation-2":7,"x":null}`)
		if again.keys() != "elicitation-1 roots-3 sampling-2" {
			t.Errorf("%+v", again)
		}
		v.lot.Close()
	})
}

// TestWhatIsNotDeclaredIsNotAsked tells the server so, by what the latest request has declared.
func TestWhatIsNotDeclaredIsNotAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVisitor(t, newLot(t))
		visit := v.visit(`{"elicitation":{}}`)
		run := func(ctx context.Context, ask upstream.Ask, _ func(string, []byte)) (*era.Result, error) {
			return answers(
				ask(ctx, era.Elicit, []byte(`{"mode":"url","url":"https://x.example/"}`)), ask(ctx, era.Sample, []byte(`{"messages":[]}`)),
				ask(ctx, era.ListRoots, nil), ask(ctx, "tasks/list", nil), ask(ctx, era.Elicit, []byte(`{"mode":"form"}`)),
				ask(ctx, era.ListRoots, nil), ask(ctx, era.Sample, []byte(`{"messages":[],"tools":[]}`)),
			)
		}
		r, err := v.lot.Run(t.Context(), visit, run)
		first := read(t, r, err)
		if first.keys() != "elicitation-1" {
			t.Fatalf("%+v", first)
		}
		second := v.retry(first.state, `{"elicitation-1":{"action":"decline"}}`)
		if second.keys() != "roots-2" {
			t.Fatalf("%+v", second)
		}
		last := v.retry(second.state, `{"roots-2":{"roots":[]}}`)
		want := `[error -32602][error -32601][error -32601][error -32601][{\"action\":\"decline\"}][{\"roots\":[]}][error -32602]`
		if !strings.Contains(last.text, want) {
			t.Errorf("the server heard %s, want %s", last.text, want)
		}
	})
}

// TestWhatEndsAParkedCall: nobody coming back, a credential that is good no more, the gateway. The call's context ends, and
// a retry is told that it is lost.
func TestWhatEndsAParkedCall(t *testing.T) {
	for name, end := range map[string]func(*visitor){
		"nobody comes back": func(*visitor) { time.Sleep(parkedFor + time.Second) },
		"a revoked key":     func(v *visitor) { v.valid.Store(false); time.Sleep(checkEvery + time.Second) },
		"the gateway":       func(v *visitor) { v.lot.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newVisitor(t, newLot(t))
				ended := make(chan struct{})
				first := v.run(func(ctx context.Context, ask upstream.Ask, _ func(string, []byte)) (*era.Result, error) {
					a := ask(ctx, era.Elicit, nil)
					if a.Error == nil || ctx.Err() == nil {
						t.Errorf("the server heard %s, and the call goes on", a.Result)
					}
					close(ended)
					return nil, ctx.Err()
				})
				time.Sleep(parkedFor - 2*checkEvery) // it waits as long as it may
				if v.lot.waiting() != 1 {
					t.Fatal("it has not waited")
				}
				end(v)
				synctest.Wait()
				<-ended
				wantErr(t, v.retry(first.state, `{"elicitation-1":`+yes+`}`), "expired or was lost; call again")
				if n := v.lot.waiting(); n != 0 {
					t.Errorf("%d calls wait", n)
				}
			})
		})
	}
}

// TestClosedWhileOneListens lets that one go on to its end, but not wait again.
func TestClosedWhileOneListens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVisitor(t, newLot(t))
		ended := false
		first := v.run(func(ctx context.Context, ask upstream.Ask, _ func(string, []byte)) (*era.Result, error) {
			ask(ctx, era.Elicit, nil)
			v.lot.Close()
			ask(ctx, era.Elicit, nil)
			ended = ctx.Err() != nil
			return nil, ctx.Err()
		})
		wantErr(t, v.retry(first.state, `{"elicitation-1":`+yes+`}`), "shutting down")
		if !ended || v.lot.waiting() != 0 {
			t.Error("the call goes on")
		}
		wantErr(t, v.run(askOnce), "shutting down")
	})
}

// TestTheCallerLeaves ends a call only while it listens.
func TestTheCallerLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVisitor(t, newLot(t))
		ctx, leave := context.WithCancel(t.Context())
		run := func(ctx context.Context, ask upstream.Ask, _ func(string, []byte)) (*era.Result, error) {
			a := ask(ctx, era.Elicit, nil)
			if a.Error != nil {
				return nil, ctx.Err()
			}
			<-ctx.Done()
			return nil, ctx.Err()
		}
		r, err := v.lot.Run(ctx, v.visit(everything), run)
		first := read(t, r, err)
		leave() // as the request's context does when it has been answered
		synctest.Wait()
		if v.lot.waiting() != 1 {
			t.Fatal("the call ended with its answered request")
		}
		visit := v.visit(everything)
		ticket, _ := v.lot.Open(first.state, visit.Request)
		if err := ticket.Resume(visit, []byte(`{"elicitation-1":`+yes+`}`)); err != nil {
			t.Fatal(err)
		}
		again, leaveAgain := context.WithCancel(t.Context())
		time.AfterFunc(time.Minute, leaveAgain)
		if _, err := ticket.Listen(again, visit); !errors.Is(err, context.Canceled) {
			t.Errorf("%v", err)
		}

		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if r, err := v.lot.Run(gone, v.visit(everything), run); r != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("a caller that is gone is asked: %v %v", r, err)
		}
		if n := v.lot.waiting(); n != 0 {
			t.Errorf("%d calls wait", n)
		}
	})
}

// TestTheServerGoesOn: what it takes back is not asked, and what it comes to while nobody listens waits.
func TestTheServerGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVisitor(t, newLot(t))
		run := func(after time.Duration, end func() (*era.Result, error)) Run {
			return func(ctx context.Context, ask upstream.Ask, _ func(string, []byte)) (*era.Result, error) {
				question, stop := context.WithTimeout(ctx, after)
				defer stop()
				if a := ask(question, era.Elicit, nil); a.Error == nil {
					t.Error("answered")
				}
				return end()
			}
		}
		if got := v.run(run(collectQuiet/2, func() (*era.Result, error) { return result("early") })); !strings.Contains(got.text, "early") {
			t.Errorf("%+v", got)
		}
		first := v.run(run(time.Minute, func() (*era.Result, error) { return result("later") }))
		time.Sleep(2 * time.Minute)
		if got := v.retry(first.state, `{"elicitation-1":`+yes+`}`); !strings.Contains(got.text, "later") {
			t.Errorf("%+v", got)
		}
		died := errors.New("the server died")
		first = v.run(run(time.Minute, func() (*era.Result, error) { return nil, died }))
		time.Sleep(2 * time.Minute)
		if got := v.retry(first.state, `{}`); !errors.Is(got.err, died) {
			t.Errorf("%+v", got)
		}
		first = v.run(run(time.Minute, func() (*era.Result, error) {
			return era.ReadResult([]byte(`{"text":"` + strings.Repeat("x", resultsMax) + `"}`))
		}))
		time.Sleep(2 * time.Minute)
		wantErr(t, v.retry(first.state, `{}`), "lost")
		first = v.run(run(time.Minute, func() (*era.Result, error) { return result("nobody") }))
		time.Sleep(parkedFor + time.Minute)
		wantErr(t, v.retry(first.state, `{}`), "expired")
		first = v.run(func(ctx context.Context, ask upstream.Ask, _ func(string, []byte)) (*era.Result, error) {
			ask(ctx, era.Elicit, nil)
			return result("it was done already") // although it was given up
		})
		time.Sleep(parkedFor + time.Minute)
		wantErr(t, v.retry(first.state, `{}`), "expired")
		if v.lot.waiting() != 0 || v.lot.results != 0 || len(v.lot.owners) != 0 {
			t.Errorf("left: %d calls, %d bytes, %v", v.lot.waiting(), v.lot.results, v.lot.owners)
		}
	})
}

// TestBounds of what waits, and of what one call may ask.
func TestBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVisitor(t, newLot(t))
		forever := func(ctx context.Context, ask upstream.Ask, _ func(string, []byte)) (*era.Result, error) {
			for ctx.Err() == nil {
				ask(ctx, era.Elicit, nil)
			}
			return nil, ctx.Err()
		}
		var first, last asked
		for i := range ownerMax + 1 {
			last = v.run(forever)
			if i == 0 {
				first = last
			}
			if last.err != nil {
				t.Fatal(last.err)
			}
		}
		wantErr(t, v.retry(first.state, `{}`), "expired or was lost") // taken for forgotten
		if n := v.lot.waiting(); n != ownerMax {
			t.Errorf("%d calls wait, want %d", n, ownerMax)
		}
		visit := v.visit(everything)
		visit.Request.KeyID = "k2"
		if r, err := v.lot.Run(t.Context(), visit, askOnce); err != nil || r.Type != era.InputRequired || v.lot.waiting() != ownerMax+1 {
			t.Errorf("another principal is bounded by it, or bounds it: %v", err)
		}
		for i := 1; i < roundsMax; i++ {
			if last = v.retry(last.state, fmt.Sprintf(`{"elicitation-%d":%s}`, i, yes)); last.err != nil {
				t.Fatalf("round %d: %v", i, last.err)
			}
		}
		wantErr(t, v.retry(last.state, fmt.Sprintf(`{"elicitation-%d":%s}`, roundsMax, yes)), "again and again")
		if n := v.lot.waiting(); n != ownerMax {
			t.Errorf("%d calls wait, want %d: the one that asked too often has ended", n, ownerMax)
		}
		v.lot.Close()

		v = newVisitor(t, newLot(t))
		flood := func(ctx context.Context, ask upstream.Ask, _ func(string, []byte)) (*era.Result, error) {
			got := make([]*upstream.Answer, openMax+1)
			var wg sync.WaitGroup
			for i := range got {
				wg.Go(func() { got[i] = ask(ctx, era.Elicit, nil) })
			}
			wg.Wait()
			return answers(got...)
		}
		if got := v.run(flood); len(got.questions) != openMax {
			t.Errorf("%d questions are open, want %d", len(got.questions), openMax)
		}
		v.lot.Close()
	})
}

// TestPlaces of one server and of all are refused to whom none of its own calls can make room.
func TestPlaces(t *testing.T) {
	for name, most := range map[string]int{"of one server": serverMax, "in all": callsMax} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newVisitor(t, newLot(t))
				run := func(i int, run Run) asked {
					visit := v.visit(everything)
					visit.Request.KeyID = fmt.Sprint(i)
					if most == callsMax {
						visit.Request.Server = fmt.Sprint(i)
					}
					r, err := v.lot.Run(t.Context(), visit, run)
					return read(t, r, err)
				}
				for i := range most {
					if got := run(i, askOnce); got.err != nil {
						t.Fatal(got.err)
					}
				}
				wantErr(t, run(-1, askOnce), "too many calls wait for input")
				if got := run(0, askOnce); got.err != nil && most == serverMax {
					t.Errorf("its own oldest call makes no room: %v", got.err)
				}
				if n := v.lot.waiting(); n != most {
					t.Errorf("%d calls wait, want %d", n, most)
				}
				v.lot.Close()
				if len(v.lot.owners) != 0 || len(v.lot.servers) != 0 {
					t.Error("something is left")
				}
			})
		})
	}
}

// TestOwnerWithoutParkedCalls is refused when all of its calls have asked and run on: none of them is forgotten.
func TestOwnerWithoutParkedCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVisitor(t, newLot(t))
		var wg sync.WaitGroup
		for range ownerMax {
			first := v.run(func(ctx context.Context, ask upstream.Ask, _ func(string, []byte)) (*era.Result, error) {
				ask(ctx, era.Elicit, nil)
				time.Sleep(time.Minute)
				return result("done")
			})
			wg.Go(func() { v.retry(first.state, `{"elicitation-1":`+yes+`}`) })
			synctest.Wait()
		}
		wantErr(t, v.run(askOnce), "too many of your calls have asked")
		wg.Wait()
	})
}

// TestNotes go to the request that listens, in its words, and wait for the next one when none does.
func TestNotes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVisitor(t, newLot(t))
		visit := v.visit(everything)
		visit.Context.ProgressToken, visit.Context.LogLevel = []byte("1"), "debug"
		run := func(ctx context.Context, ask upstream.Ask, notify func(string, []byte)) (*era.Result, error) {
			notify("notifications/progress", []byte(`{"progressToken":1,"progress":1}`))
			asks, stop := context.WithCancel(ctx)
			defer stop()
			time.AfterFunc(time.Minute, func() {
				for i := range notesMax + 1 {
					notify("notifications/progress", fmt.Appendf(nil, `{"progressToken":1,"progress":%d}`, i+2))
				}
			})
			ask(asks, era.Elicit, nil)
			notify("notifications/message", []byte(`{"level":"debug","data":1}`))
			notify("notifications/message", []byte(`{"level":"error","data":2}`))
			notify("notifications/progress", []byte(`{"progressToken":1,"progress":100}`))
			return result("done")
		}
		r, err := v.lot.Run(t.Context(), visit, run)
		first := read(t, r, err)
		if got := strings.Join(v.heard, "\n"); got != `notifications/progress {"progressToken":1,"progress":1}` {
			t.Errorf("heard %s", got)
		}
		v.heard = nil
		time.Sleep(2 * time.Minute)
		if len(v.heard) != 0 {
			t.Errorf("an answered request hears %q", v.heard)
		}
		visit = v.visit(everything)
		visit.Context.ProgressToken, visit.Context.LogLevel = []byte(`"two"`), "warning"
		ticket, _ := v.lot.Open(first.state, visit.Request)
		if err := ticket.Resume(visit, []byte(`{"elicitation-1":`+yes+`}`)); err != nil {
			t.Fatal(err)
		}
		if _, err := ticket.Listen(t.Context(), visit); err != nil {
			t.Fatal(err)
		}
		want := []string{
			`notifications/progress {"progressToken":"two","progress":3}`, // the oldest made room
			`notifications/message {"level":"error","data":2}`,
			`notifications/progress {"progressToken":"two","progress":100}`,
		}
		got := v.heard
		if len(got) != notesMax+2 || got[0] != want[0] || got[notesMax] != want[1] || got[notesMax+1] != want[2] {
			t.Errorf("heard %d: %q", len(got), got)
		}
	})
}

// TestPages ask for what a server wants visited before it takes the call, and keep nothing.
func TestPages(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVisitor(t, newLot(t))
		r, err := v.lot.Pages(request(), []byte(`{"code":-32042,"message":"m","data":{"elicitations":[
			{"mode":"url","elicitationId":"e1","url":"https://a.example/","message":"A"},{"mode":"url","elicitationId":"e2","url":"https://b.example/","message":"B"}]}}`))
		got := read(t, r, err)
		if got.keys() != "elicitation-1 elicitation-2" || got.questions["elicitation-2"] != `elicitation/create {"mode":"url","url":"https://b.example/","message":"B"}` {
			t.Fatalf("%+v", got)
		}
		for responses, want := range map[string]string{
			`{"elicitation-1":` + yes + `,"elicitation-2":` + yes + `}`: "false <nil>",
			`{}`: "false <nil>",
			`{"elicitation-1":` + yes + `,"elicitation-2":{"action":"decline"}}`: "true <nil>",
			`{"elicitation-1":{"action":"cancel"}}`:                              "true <nil>",
			`{"elicitation-1":7}`:                                                "false inputResponses.elicitation-1 is no result of elicitation/create",
		} {
			ticket, refused := v.lot.Open(got.state, request())
			if refused != nil || ticket.Parked() {
				t.Fatal(refused, ticket)
			}
			declined, refused := ticket.Declined([]byte(responses))
			text := "<nil>"
			if refused != nil {
				text = refused.Message
			}
			if s := fmt.Sprintf("%v %s", declined, text); s != want {
				t.Errorf("%s: %s, want %s", responses, s, want)
			}
		}
		other := request()
		other.Args = nil
		if _, err := v.lot.Open(got.state, other); err == nil {
			t.Error("it opens another call")
		}
		time.Sleep(parkedFor)
		if _, err := v.lot.Open(got.state, request()); err == nil {
			t.Error("it does not expire")
		}
	})
}

// TestManyAtOnce has calls parked, resumed, taken back, abandoned and ended from all sides.
func TestManyAtOnce(t *testing.T) {
	l := newLot(t)
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			v := newVisitor(t, l)
			visit := v.visit(everything)
			visit.Notify = func(string, []byte) {}
			visit.Request.KeyID = fmt.Sprint(i)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			r, err := l.Run(ctx, visit, func(ctx context.Context, ask upstream.Ask, notify func(string, []byte)) (*era.Result, error) {
				var inner sync.WaitGroup
				for range 3 {
					inner.Go(func() { ask(ctx, era.Elicit, nil) })
					inner.Go(func() { notify("notifications/progress", []byte(`{"progressToken":1}`)) })
				}
				inner.Wait()
				return result("done")
			})
			got := read(t, r, err)
			for got.err == nil && got.text == "" {
				again := v.visit(everything)
				again.Notify, again.Request.KeyID = func(string, []byte) {}, visit.Request.KeyID
				ticket, refused := l.Open(got.state, again.Request)
				if refused != nil {
					t.Error(refused)
					return
				}
				if i%8 == 7 {
					ticket.End()
					return
				}
				one := slices.Sorted(maps.Keys(got.questions))[0]
				if refused := ticket.Resume(again, []byte(`{"`+one+`":`+yes+`}`)); refused != nil {
					t.Error(refused)
					return
				}
				if i%8 == 6 {
					cancelled, stop := context.WithCancel(ctx)
					stop()
					_, _ = ticket.Listen(cancelled, again)
					return
				}
				r, err := ticket.Listen(ctx, again)
				got = read(t, r, err)
			}
			if got.err != nil {
				t.Error(got.err)
			}
		})
	}
	wg.Wait()
	l.Close()
	if n := l.waiting(); n != 0 {
		t.Errorf("%d calls wait", n)
	}
}

// FuzzState holds that no text opens anything that was not sealed, and that what was sealed comes back whole.
func FuzzState(f *testing.F) {
	l := newLot(f)
	sealed := State{kind: parked, id: callID{1, 2, 3}, turn: 7, expires: 1 << 40, sum: request().sum()} // the one this key has sealed
	good := sealed.seal(l.sealer)
	f.Add(good)
	f.Add(statePrefix)
	f.Add(statePrefix + "AAAA")
	f.Add(strings.TrimPrefix(good, statePrefix))
	f.Fuzz(func(t *testing.T, text string) {
		s, ok := unseal(l.sealer, text)
		if ok != (s != nil) || text == good && !ok || ok && *s != sealed {
			t.Fatalf("%q opens %v: %+v", text, ok, s)
		}
		if _, err := l.Open(text, request()); err == nil || err.Code != rpc.CodeParams {
			t.Fatalf("%q opened a call: %v", text, err)
		}
	})
}
