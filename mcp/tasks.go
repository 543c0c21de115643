package mcp

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/front"
	"github.com/tollgate/tollgate/mcp/rpc"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/policy"
)

// How a task is followed for a caller that cannot do it itself.
const (
	pollFirst       = 500 * time.Millisecond // where the server names no interval; doubled after each poll that brings nothing new
	pollOften       = 100 * time.Millisecond // no server is polled more often, whatever it says
	pollSeldom      = 30 * time.Second       // nor less often: a caller waits for the result
	pollFailuresMax = 5                      // polls in a row that come to nothing before the task is given up
	cancelWithin    = 2 * time.Second        // to tell the server that nobody waits for the task any more
	taskAsksMax     = 100                    // questions of one task: all that a person can be expected to answer for one call
)

// taskLost is the kind of fault of a call whose task ended without a result.
const taskLost upstream.FaultKind = "task_lost"

// mayBecomeTask reports whether the server of c may answer it with a task: when the caller declared with it that it
// follows tasks, and when it is one that cannot, so that the gateway does.
func (s *served) mayBecomeTask(c *front.Call) bool {
	if c.Task != "" {
		return true
	}
	return c.Action == policy.ToolCall && s.tasks.Load() && (toBeFollowed(c) || c.Context.Declares(era.Tasks))
}

// toBeFollowed reports whether the gateway has to follow the task that c may become: its caller cannot.
func toBeFollowed(c *front.Call) bool { return c.Whole || c.Context.Era == upstream.Legacy }

// follower follows the task that a call has become whose caller cannot, under the permit of that call, to its end.
type follower struct {
	s *served
	x upstream.Exchange // the call

	rounds   rounds     // for the questions of the task
	mu       sync.Mutex // guards progress: the server may speak while a call is made
	progress float64    // the highest told to the caller

	id    string
	said  string // status and message told last
	asked map[string]bool
	ends  time.Time // of the task, by what the server said; zero: never
}

// finish carries x and, when it becomes a task, waits for that to end. What the server answers in the end is its answer.
func (s *served) finish(ctx context.Context, c *front.Call, x *upstream.Exchange) (*upstream.Answer, error) {
	f := &follower{s: s, x: *x, rounds: rounds{c: c, pages: map[string]string{}}, asked: map[string]bool{}}
	if x.Notify != nil && x.ProgressToken != nil {
		f.x.Notify = func(method string, params []byte) {
			if method == "notifications/progress" {
				f.heard(params)
			}
			x.Notify(method, params)
		}
	}
	a, err := s.up.Call(ctx, &f.x)
	if err != nil || a.Error != nil {
		return a, err
	}
	r, err := era.ReadResult(a.Result)
	if err != nil || r.Type != era.Task {
		return a, nil // whoever settles the call reads it
	}
	t, err := era.ReadTask(a.Result)
	if err != nil {
		return nil, s.garbage(err)
	}
	f.id = t.ID
	if a, err = f.follow(ctx, t); err != nil {
		f.cancel(ctx)
	}
	f.rounds.over()
	return a, err
}

func (s *served) garbage(err error) error {
	return &upstream.Fault{Kind: upstream.Garbage, Text: "the server's task cannot be read", Err: err}
}

func lost(text string) error { return &upstream.Fault{Kind: taskLost, Text: text} }

// follow polls until the task has ended.
func (f *follower) follow(ctx context.Context, t *era.TaskState) (*upstream.Answer, error) {
	made := time.Now()
	wait, failures := pollFirst, 0
	for {
		switch t.Status {
		case era.TaskCompleted:
			if t.Result != nil {
				return &upstream.Answer{Result: t.Result}, nil
			}
		case era.TaskFailed:
			if t.Error != nil {
				return failed(t.Error), nil
			}
		case era.TaskCancelled:
			return failed([]byte(`{"code":-32603,"message":"the server cancelled the task that the call had become"}`)), nil
		}
		if f.ends = (time.Time{}); t.TTL > 0 {
			f.ends = made.Add(t.TTL)
		}
		if f.tell(t) {
			wait = pollFirst
		}
		if err := f.answer(ctx, t); err != nil {
			return nil, err
		}
		pause := min(max(t.Poll, pollOften), pollSeldom)
		if t.Poll == 0 {
			pause, wait = wait, min(2*wait, pollSeldom)
		}
		next, err := f.poll(ctx, pause)
		switch {
		case err == nil:
			t, failures = next, 0
		case ctx.Err() != nil:
			return nil, ctx.Err()
		default:
			if failures++; failures >= pollFailuresMax || errors.As(err, new(*upstream.RPCError)) {
				return nil, lost("the server does not know the task any more that the call had become: it may have been done or not")
			}
		}
	}
}

// poll waits and then asks for the task. An *upstream.RPCError says that there is no such task.
func (f *follower) poll(ctx context.Context, pause time.Duration) (*era.TaskState, error) {
	if !f.ends.IsZero() {
		left := time.Until(f.ends)
		if left <= 0 {
			return nil, &upstream.RPCError{Code: rpc.CodeParams}
		}
		pause = min(pause, left) // it is asked for a last time when it may still be there
	}
	if err := sleep(ctx, pause); err != nil {
		return nil, err
	}
	a, err := f.send(ctx, "tasks/get", nil)
	switch {
	case err != nil:
		return nil, err
	case a.Error != nil && a.Error.Code == rpc.CodeParams:
		return nil, a.Error
	case a.Error != nil:
		return nil, lost("the server refused to tell of its task")
	}
	return era.ReadTask(a.Result)
}

// send sends a request about the task; more are members behind taskId.
func (f *follower) send(ctx context.Context, method string, more []byte) (*upstream.Answer, error) {
	params := strictjson.Quote([]byte(`{"taskId":`), f.id)
	params = append(append(params, more...), '}')
	x := f.x
	x.Method, x.Name, x.Params, x.Meta = method, f.id, params, nil
	x.ProgressToken, x.LogLevel, x.Notify = nil, "", nil
	return f.s.up.Call(ctx, &x)
}

// cancel tells the server that nobody waits for the task any more, whatever has become of ctx.
func (f *follower) cancel(ctx context.Context) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), cancelWithin)
	defer stop()
	if _, err := f.send(ctx, "tasks/cancel", nil); err != nil {
		f.s.g.cfg.Log.Debug("a task could not be cancelled", "server", f.s.def.Name, "err", err)
	}
}

// failed is the answer that a JSON-RPC error is; it is scanned already.
func failed(raw []byte) *upstream.Answer {
	code := strictjson.Lookup(raw, strictjson.Whole(raw), "code")
	n, err := strconv.Atoi(string(code.In(raw)))
	if err != nil {
		return failed([]byte(`{"code":-32603,"message":"the task failed and its server does not say how"}`))
	}
	return &upstream.Answer{Error: &upstream.RPCError{Code: n, Raw: raw}}
}

// heard notes how far the server has said that the call is, so that what is said next is further.
func (f *follower) heard(params []byte) {
	v := strictjson.Lookup(params, strictjson.Whole(params), "progress")
	if n, err := strconv.ParseFloat(string(v.In(params)), 64); err == nil {
		f.mu.Lock()
		f.progress = max(f.progress, n)
		f.mu.Unlock()
	}
}

// tell lets the caller know what is new of the task, as progress of its call, and reports whether anything is.
func (f *follower) tell(t *era.TaskState) bool {
	message := t.Message
	if message == "" {
		message = t.Status
	}
	if said := t.Status + "\x00" + message; said == f.said {
		return false
	} else {
		f.said = said
	}
	if f.x.Notify == nil || f.x.ProgressToken == nil {
		return true
	}
	f.mu.Lock()
	f.progress++
	n := f.progress
	f.mu.Unlock()
	b := append([]byte(`{"progressToken":`), f.x.ProgressToken...)
	b = strconv.AppendFloat(append(b, `,"progress":`...), n, 'f', -1, 64)
	b = strictjson.Quote(append(b, `,"message":`...), message)
	f.x.Notify("notifications/progress", append(b, '}'))
	return true
}

// answer puts the questions of the task that the caller has not been asked yet to it and hands the answers to the server.
// An error ends the call: the caller does not answer, and so the task cannot go on.
func (f *follower) answer(ctx context.Context, t *era.TaskState) error {
	if t.Status != era.TaskInput || !t.Asks {
		return nil
	}
	in, err := t.Input()
	if err != nil {
		return f.s.garbage(err)
	}
	fresh := in.Requests[:0]
	for _, q := range in.Requests {
		if !f.asked[q.Key] {
			f.asked[q.Key] = true
			fresh = append(fresh, q)
		}
	}
	switch {
	case len(fresh) == 0:
		return nil
	case len(f.asked) > taskAsksMax:
		return lost("the server's task asks more than " + strconv.Itoa(taskAsksMax) + " questions")
	case f.x.Ask == nil:
		return lost("the server's task asks something, and the client cannot be asked")
	}
	if !f.ends.IsZero() {
		var stop context.CancelFunc
		ctx, stop = context.WithDeadline(ctx, f.ends)
		defer stop()
	}
	answers, err := f.rounds.askAll(ctx, fresh)
	if err != nil {
		return err
	}
	// As in rounds: the answers are for a call that may have been forbidden meanwhile.
	if err := f.s.g.cfg.Gate.Again(ctx, callOf(f.rounds.c)); err != nil {
		return err
	}
	b := []byte(`,"inputResponses":{`)
	for i, q := range fresh {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(append(strictjson.Quote(b, q.Key), ':'), answers[i]...)
	}
	a, err := f.send(ctx, "tasks/update", append(b, '}'))
	if err == nil && a.Error != nil {
		err = lost("the server did not take the answers to what its task asked")
	}
	return err
}
