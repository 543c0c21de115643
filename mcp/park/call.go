package park

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/rpc"
	"github.com/tollgate/tollgate/mcp/upstream"
)

// Visit is one request of a caller, from when it begins to listen to a call until it is answered.
type Visit struct {
	Request *Request
	Context *era.Context                       // what this request declares and wants
	Notify  func(method string, params []byte) // nil: it takes no notifications
	// Valid reports whether the credential of the request is still good. It is called while the call is parked, when the
	// request itself has long been answered.
	Valid func() bool
}

// Run makes a call. It returns when ctx has ended and the call with it.
type Run func(ctx context.Context, ask upstream.Ask, notify func(method string, params []byte)) (*era.Result, error)

// Call is one call on its own goroutine.
type Call struct {
	lot  *Lot
	of   *Request
	id   callID // set by Lot.admit
	kept int    // bytes of a result that waits; guarded by the lot

	ctx    context.Context
	cancel context.CancelFunc
	asked  chan struct{} // holds one token: there is a new question
	done   chan struct{} // closed when the call is over
	notes  notes

	mu        sync.Mutex // guards what follows
	over      bool       // result and err are set
	result    *era.Result
	err       error
	abandoned bool   // nobody may come back for it
	parked    *Visit // the visit whose answer the caller has, and which may come back; nil: one is there
	caps      []byte // what the latest visit declared
	turn      uint32 // of the state the caller holds
	asks      int    // questions so far
	open      []*question
	expires   time.Time // of the state
	timer     *time.Timer
}

// question is one that the server waits for the answer of.
type question struct {
	key    string
	method string
	params []byte
	answer chan *upstream.Answer // takes one
}

// Run makes a call that may ask its caller while v listens, and returns what v is answered with: the call's result or
// error, or that input is required. When ctx ends, so does the call, unless it has been parked before.
func (l *Lot) Run(ctx context.Context, v *Visit, run Run) (*era.Result, error) {
	c := &Call{lot: l, of: v.Request, caps: v.Context.Capabilities, asked: make(chan struct{}, 1), done: make(chan struct{})}
	c.ctx, c.cancel = context.WithCancel(context.WithoutCancel(ctx))
	var notify func(string, []byte)
	if v.Notify != nil {
		c.notes.attach(v)
		notify = c.notes.take
	}
	go func() {
		defer c.cancel()
		result, err := run(c.ctx, c.ask, notify)
		c.end(result, err)
	}()
	return c.listen(ctx, v)
}

// Resume lets v listen to the call that waits and hands it the caller's answers, the raw inputResponses of v's request. On
// an error nothing has changed. Afterwards v must Listen.
func (t *Ticket) Resume(v *Visit, responses []byte) *rpc.Error {
	return t.call.resume(t.state.turn, v, responses)
}

// Listen goes on with a resumed call as Run does. What was asked and has not been answered is asked again.
func (t *Ticket) Listen(ctx context.Context, v *Visit) (*era.Result, error) {
	return t.call.listen(ctx, v)
}

// listen waits until there is something to answer v with.
func (c *Call) listen(ctx context.Context, v *Visit) (*era.Result, error) {
	for {
		select {
		case <-c.done:
			return c.claim()
		case <-ctx.Done():
			c.cancel()
			<-c.done
			return c.claim()
		case <-c.asked:
			c.collect(ctx)
		}
		if ctx.Err() != nil {
			continue // it is gone, and would never know of the question
		}
		result, err := c.park(v)
		if err != nil {
			c.cancel()
			<-c.done
			c.lot.leave(c)
			return nil, err
		}
		if result != nil {
			return result, nil
		}
	}
}

// collect waits for what else is asked in this moment.
func (c *Call) collect(ctx context.Context) {
	quiet, most := time.NewTimer(collectQuiet), time.NewTimer(collectMost)
	defer quiet.Stop()
	defer most.Stop()
	for {
		select {
		case <-c.asked:
			quiet.Reset(collectQuiet)
		case <-quiet.C:
			return
		case <-most.C:
			return
		case <-c.done:
			return
		case <-ctx.Done():
			return
		}
	}
}

// claim takes the end of the call.
func (c *Call) claim() (*era.Result, error) {
	c.lot.leave(c)
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.result, c.err
}

// end is the end of the call. When nobody listens, what it came to waits as long as an answer would have.
func (c *Call) end(result *era.Result, err error) {
	c.mu.Lock()
	c.over, c.result, c.err = true, result, err
	if c.parked != nil && !c.abandoned && result != nil && !c.lot.keep(c, len(result.Raw)) {
		c.result, c.err = nil, lost()
	}
	c.mu.Unlock()
	close(c.done)
}

// ask is the upstream.Ask of the call.
func (c *Call) ask(ctx context.Context, method string, params []byte) *upstream.Answer {
	q, refused := c.enter(method, params)
	if refused != nil {
		return failed(refused)
	}
	select {
	case a := <-q.answer:
		return a
	case <-ctx.Done():
	case <-c.ctx.Done():
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open = slices.DeleteFunc(c.open, func(o *question) bool { return o == q })
	return failed(&rpc.Error{Code: rpc.CodeInternal, Message: "nobody waits for the answer any more"})
}

func failed(e *rpc.Error) *upstream.Answer {
	return &upstream.Answer{Error: &upstream.RPCError{Code: e.Code, Raw: e.Object()}}
}

// enter takes a question in; the error is for the server.
func (c *Call) enter(method string, params []byte) (*question, *rpc.Error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	params, refused := questionFor(c.caps, method, params)
	switch {
	case refused != nil:
		return nil, refused
	case c.asks >= questionsMax, len(c.open) >= openMax:
		return nil, &rpc.Error{Code: rpc.CodeInternal, Message: "more was asked in one call than the gateway carries"}
	}
	c.asks++
	q := &question{
		key: keyOf(method) + "-" + strconv.Itoa(c.asks), method: method, params: params,
		answer: make(chan *upstream.Answer, 1),
	}
	c.open = append(c.open, q)
	c.wake()
	return q, nil
}

// wake says that there is something to ask.
func (c *Call) wake() {
	select {
	case c.asked <- struct{}{}:
	default:
	}
}

// park ends v with what is asked; nil and nil: nothing is, any more.
func (c *Call) park(v *Visit) (*era.Result, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.over || len(c.open) == 0:
		return nil, nil
	case c.turn >= roundsMax:
		return nil, &rpc.Error{Code: rpc.CodeInternal, Message: "the server asked for input again and again, so the call was ended"}
	}
	if err := c.lot.admit(c); err != nil {
		return nil, err
	}
	c.notes.detach()
	c.turn++
	c.parked = v
	c.expires = time.Now().Add(parkedFor)
	c.timer = time.AfterFunc(checkEvery, c.check)
	s := &State{kind: parked, place: c.lot.self, id: c.id, turn: c.turn, expires: c.expires.Unix(), sum: c.of.sum()}
	return inputRequired(c.open, s.seal(c.lot.sealer))
}

// check looks after a parked call: it ends with its time and with the credential it was made with.
func (c *Call) check() {
	c.mu.Lock()
	v, left := c.parked, time.Until(c.expires)
	c.mu.Unlock()
	if v == nil {
		return
	}
	if left <= 0 || !v.Valid() {
		c.leaveAt(v)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.parked == v {
		c.timer.Reset(min(checkEvery, left))
	}
}

// leaveAt abandons the call if it is still parked by v, and reports whether it was.
func (c *Call) leaveAt(v *Visit) bool {
	c.mu.Lock()
	stands := c.parked == v && !c.abandoned
	if stands {
		c.abandoned = true
		c.timer.Stop()
	}
	c.mu.Unlock()
	if stands {
		c.lot.leave(c)
		c.cancel()
	}
	return stands
}

// abandon ends the call if it is parked, and reports whether it was.
func (c *Call) abandon() bool {
	c.mu.Lock()
	v := c.parked
	c.mu.Unlock()
	return v != nil && c.leaveAt(v)
}

// resume is Ticket.Resume for the state of that turn.
func (c *Call) resume(turn uint32, v *Visit, responses []byte) *rpc.Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.abandoned || !time.Now().Before(c.expires):
		return lost()
	case c.parked == nil || c.turn != turn:
		return used()
	}
	answers, err := readResponses(responses, c.open)
	if err != nil {
		return err
	}
	c.timer.Stop()
	c.parked, c.caps = nil, v.Context.Capabilities
	c.notes.attach(v)
	still := c.open[:0]
	for i, q := range c.open {
		if answers[i] == nil {
			still = append(still, q)
			continue
		}
		q.answer <- &upstream.Answer{Result: answers[i]}
	}
	clear(c.open[len(still):])
	if c.open = still; len(still) > 0 {
		c.wake()
	}
	return nil
}

// inputRequired is the result that asks.
func inputRequired(open []*question, state string) (*era.Result, error) {
	b := []byte(`{"resultType":"` + era.InputRequired + `","inputRequests":{`)
	for i, q := range open {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(strictjson.Quote(b, q.key), `:{"method":`...)
		b = append(strictjson.Quote(b, q.method), `,"params":`...)
		if q.params == nil {
			b = append(b, "{}"...)
		}
		b = append(append(b, q.params...), '}')
	}
	b = strictjson.Quote(append(b, `},"requestState":`...), state)
	return era.ReadResult(append(b, '}'))
}
