package stdio

import (
	"bufio"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/mcp/rpc"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/mcp/wire"
	"github.com/tollgate/tollgate/sandbox"
)

const (
	// lineBytesMax bounds one line of a child: the bound of one answer.
	lineBytesMax = wire.AnswerBytesMax
	// junkMax is how many lines that are no messages a child may print in its life: a banner and some forgotten prints,
	// not a program that prints instead of answering.
	junkMax = 1000
	// queueBytesMax and queueMax bound the notifications that wait for a slow caller; more are dropped.
	queueBytesMax = 8 << 20
	queueMax      = 1000
	// writeTimeout is how long a child may leave its input unread.
	writeTimeout = 10 * time.Second
	// besideMax bounds what is to be written beside calls, such as refusals of the child's own requests; more is left out.
	besideMax = 64
	// notesMax bounds what a client is to be told outside of its calls; more is left out.
	notesMax = 64
)

// errUnsent means that a child got nothing it could act on.
var errUnsent = errors.New("the request was not written")

// pipe is one running child and the requests that wait for it. Several callers share it.
type pipe struct {
	child   *child
	client  *upstream.Client // whose child it is; nil: nobody's
	cfg     *upstream.Config
	process *sandbox.Process
	conn    *gate.Conn
	permit  *gate.Permit // of the session.open that the pipe lives under
	peer    *wire.Peer   // set before the pipe is shared

	out   chan []byte        // to be written beside calls
	notes chan *wire.Message // for the client
	dead  chan struct{}      // closed when nothing more will be read
	fault error              // why; set before dead is closed

	life   context.Context // of questions to the client; ends when dead is closed
	end    context.CancelFunc
	asking sync.WaitGroup

	mu        sync.Mutex // guards what follows, and the queue of each that waits
	waiting   map[int64]*waiter
	questions map[*question]bool
	level     string // of its log, as it was asked for; empty: it was not
}

// waiter is one request that waits.
type waiter struct {
	exchange  *upstream.Exchange
	ctx       context.Context
	questions sync.WaitGroup

	queue    []*wire.Message // notifications of its own, then the answer
	answered bool            // nothing more is for it
	bytes    int
	dropped  int
	signal   chan struct{} // holds one token when queue is not empty
}

func newPipe(c *child, process *sandbox.Process, permit *gate.Permit) *pipe {
	p := &pipe{
		child: c, client: c.client, cfg: &c.server.cfg, process: process, permit: permit, out: make(chan []byte, besideMax),
		notes: make(chan *wire.Message, notesMax), dead: make(chan struct{}), waiting: map[int64]*waiter{}, questions: map[*question]bool{},
	}
	p.life, p.end = context.WithCancel(context.Background())
	p.conn = p.cfg.Gate.Conn(permit, p.write)
	return p
}

// write writes one message as one line: what stands between the tokens of a caller's JSON must not begin another, which the
// child would take for a message that nobody has decided on. A child that does not read is given up.
func (p *pipe) write(msg []byte) error {
	_ = p.process.Stdin.SetWriteDeadline(time.Now().Add(writeTimeout))
	_, err := p.process.Stdin.Write(rpc.AppendLine(make([]byte, 0, len(msg)+1), msg))
	if err != nil {
		p.process.Kill() // it is deaf or dying, and perhaps half a line has gone in: nothing sensible can follow
	}
	return err
}

// send sends o under permit and waits for the answer, handing x its notifications meanwhile.
func (p *pipe) send(ctx context.Context, x *upstream.Exchange, o *wire.Request) (*upstream.Answer, error) {
	p.setLevel(x)
	w := p.register(ctx, x, o.ID)
	defer p.forget(o.ID)
	if err := p.conn.Send(x.Permit, o.Body()); err != nil {
		err = p.cfg.Broken(ctx, err)
		var f *upstream.Fault
		if errors.As(err, &f) {
			f.Err = errors.Join(errUnsent, f.Err)
		}
		return nil, err
	}
	synced := false
	for {
		gone := false
		select {
		case <-w.signal:
		case <-p.dead:
			gone = true // what was read before is still handed out
		case <-ctx.Done():
			if x.Method != "initialize" {
				_ = p.conn.Send(x.Permit, wire.Cancelled(o.ID))
			}
			return nil, ctx.Err()
		}
		for _, m := range p.collect(w) {
			if !synced {
				if err := x.Permit.Synced(ctx); err != nil {
					return nil, p.cfg.Broken(ctx, err)
				}
				synced = true
			}
			if m.Method == "" {
				return m.Answer(0), nil
			}
			wire.Deliver(x, m, o.ID)
		}
		if gone {
			return nil, p.fault
		}
	}
}

func (p *pipe) register(ctx context.Context, x *upstream.Exchange, id int64) *waiter {
	w := &waiter{exchange: x, ctx: ctx, signal: make(chan struct{}, 1)}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting[id] = w
	return w
}

// forget ends what is still going on for a request: its caller is told and asked nothing more.
func (p *pipe) forget(id int64) {
	p.mu.Lock()
	w := p.waiting[id]
	delete(p.waiting, id)
	for q := range p.questions {
		if q.of == w {
			q.cancel()
		}
	}
	p.mu.Unlock()
	w.questions.Wait()
}

// collect takes what waits in w.
func (p *pipe) collect(w *waiter) []*wire.Message {
	p.mu.Lock()
	defer p.mu.Unlock()
	queue := w.queue
	w.queue, w.bytes = nil, 0
	return queue
}

// put adds m to the queue of the request id. Notifications beyond the bounds are dropped, and any further answer, never the
// first.
func (p *pipe) put(id int64, m *wire.Message) {
	p.mu.Lock()
	defer p.mu.Unlock()
	w := p.waiting[id]
	if w == nil {
		return // given up by its caller
	}
	if w.answered || m.Method != "" && (len(w.queue) >= queueMax || w.bytes+len(m.Raw) > queueBytesMax) {
		w.dropped++
		return
	}
	w.answered = m.Method == ""
	w.queue = append(w.queue, m)
	w.bytes += len(m.Raw)
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

// read takes the child's lines until their end, which it explains.
func (p *pipe) read() error {
	in := bufio.NewReaderSize(p.process.Stdout, 64<<10)
	for junk := 0; ; {
		line, err := rpc.ReadLine(in, lineBytesMax)
		if len(line) > 0 {
			m, bad := wire.Parse(line)
			if bad == nil {
				p.route(m)
			} else if junk++; junk == 1 {
				p.cfg.Log.Warn("the server prints something that is no MCP message", "server", p.cfg.Name, "err", bad)
			} else if junk > junkMax {
				return p.cfg.Fault(upstream.Garbage, bad, "prints text where MCP messages belong")
			}
		}
		switch {
		case errors.Is(err, rpc.ErrLineTooLong):
			return p.cfg.Fault(upstream.TooLarge, err, "sent a line of more than %d MiB", lineBytesMax>>20)
		case err != nil:
			return p.cfg.Fault(upstream.Gone, err, "exited before it answered; the next call starts it again")
		}
	}
}

// route hands m to whoever waits for it. What belongs to no request in flight is dropped: a log line of one caller's
// call must not reach another's.
func (p *pipe) route(m *wire.Message) {
	switch {
	case m.Request():
		answer := p.child.declares().Refuses(m)
		if answer == nil {
			answer = p.carry(m)
		}
		if answer != nil {
			p.beside(answer)
		}
	case m.Method == "":
		if id, ok := wire.Integer(m.ID()); ok {
			p.put(id, m)
		}
	case m.Method == "notifications/progress":
		if id, ok := wire.Integer(m.Token()); ok {
			p.put(id, m)
		}
	case m.Method == "notifications/message":
		p.logged(m)
	case m.Method == "notifications/cancelled":
		p.takeBack(m.Param("requestId"))
	case m.Method == "notifications/elicitation/complete":
		p.notify(m)
	case p.subscribed(m):
	case m.Method == "notifications/resources/updated":
		if uri, err := strictjson.Unquote(m.Param("uri")); err == nil {
			p.child.updated(uri, m.Params())
		}
	default:
		if change, ok := wire.ChangeOf(m.Method); ok {
			p.cfg.Heard(change)
		}
	}
}

// beside has a message written that belongs to no call, when there is time. More than wait already are left out.
func (p *pipe) beside(msg []byte) {
	select {
	case p.out <- msg:
	default:
	}
}

// writeBeside writes what belongs to no call, such as refusals of the child's own requests. It is not the reader that
// does, because a child that waits for its output to be read may not read.
func (p *pipe) writeBeside() {
	for {
		select {
		case msg := <-p.out:
			if err := p.conn.Send(p.permit, msg); err != nil {
				return
			}
		case <-p.dead:
			return
		}
	}
}

// run reads until the child's end, then fails what still waits.
func (p *pipe) run() {
	var wg sync.WaitGroup
	wg.Go(p.writeBeside)
	if p.client != nil {
		wg.Go(p.tellClient)
	}
	err := p.read()
	p.fault = err
	close(p.dead)
	p.end()
	p.process.Kill()
	wg.Wait()
	p.asking.Wait()
	_ = p.process.Stdout.Close()
}

// alive reports whether the pipe can still carry a request.
func (p *pipe) alive() bool {
	select {
	case <-p.dead:
		return false
	default:
		return true
	}
}
