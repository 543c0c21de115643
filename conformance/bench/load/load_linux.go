package load

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/tollgate/tollgate/conformance/bench/mock"
	"github.com/tollgate/tollgate/conformance/bench/poll"
	"github.com/tollgate/tollgate/conformance/bench/wire"
)

const (
	// latencyMax is the longest latency that is told apart from longer ones.
	latencyMax = time.Minute
	// significantDigits is the precision of the histograms: 0.1 %.
	significantDigits = 3
	// drainMax is how long a run waits for the answers still due at its end; what is missing then has hung.
	drainMax = 5 * time.Second
)

// Plan says what to send where.
type Plan struct {
	Addr        string   // of the target, on loopback
	Requests    [][]byte // whole HTTP/1.1 requests: each connection sends one of them again and again
	Connections int      // how many at most wait for an answer at once
	Stream      bool     // the answers are streams of the mock: read the times in their chunks, miss an early end
}

// Result is what one run saw.
type Result struct {
	Latency   *hdrhistogram.Histogram // ns, from when a request was due to its last byte
	Transit   *hdrhistogram.Histogram // ns, from the sending of a chunk by the mock to its arrival here
	Sent      int
	Done      int
	Failed    int // answered with another status than 200, or not in HTTP
	Truncated int // a stream that ended without its end
	Hung      int // no whole answer drainMax after the end of the run
	Queued    int // the longest queue of requests that were due and found no connection
	Elapsed   time.Duration
	FirstBad  string // the first answer that failed, to show
}

// PerSecond is the rate of whole answers.
func (r *Result) PerSecond() float64 { return float64(r.Done) / r.Elapsed.Seconds() }

// Bad is how many requests did not get the answer they should have.
func (r *Result) Bad() int { return r.Failed + r.Truncated + r.Hung }

// Session is a set of connections to one target, warmed by a request each. It belongs to one goroutine.
type Session struct {
	plan   Plan
	poller *poll.Poller
	conns  map[int]*conn
	opened int
	idle   []*conn
	queue  []time.Duration // when each waiting request was due, since start
	chunk  []byte
	start  time.Time
	result *Result
	closed bool // the closed form: send again at once
	until  time.Duration
	drain  time.Duration // drainMax, but for tests
	left   int           // closed form: how many may still be sent; negative: no limit
}

// conn is a connection and the answer it is waiting for.
type conn struct {
	*poll.Conn
	request []byte
	buf     []byte
	head    bool // the answer's head has been read
	status  int
	body    wire.Body
	due     time.Duration
	busy    bool
	line    []byte // of the stream, so far
	ended   bool   // the stream's last event was seen
	text    []byte // the beginning of an answer that failed
}

// Open connects to the target and sends one request over each connection, so that the target's own connections exist.
func Open(plan Plan) (*Session, error) {
	p, err := poll.New()
	if err != nil {
		return nil, err
	}
	s := &Session{plan: plan, poller: p, conns: map[int]*conn{}, drain: drainMax, chunk: make([]byte, 256<<10)}
	for range plan.Connections {
		if err := s.connect(); err != nil {
			s.Close()
			return nil, fmt.Errorf("load: connecting to the target: %w", err)
		}
	}
	warm, err := s.Count(plan.Connections)
	if err == nil && warm.Bad() > 0 {
		err = fmt.Errorf("load: the target does not answer as it should: %s", warm.FirstBad)
	}
	if err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Session) connect() error {
	c, err := poll.Dial(s.poller, s.plan.Addr)
	if err != nil {
		return err
	}
	add := &conn{Conn: c, request: s.plan.Requests[s.opened%len(s.plan.Requests)]}
	s.opened++
	s.conns[c.FD] = add
	s.idle = append(s.idle, add)
	return nil
}

// Close closes all connections.
func (s *Session) Close() {
	for _, c := range s.conns {
		c.Close()
	}
	s.poller.Close()
}

// Rate is the open form: it sends at a constant rate for d.
func (s *Session) Rate(perSecond float64, d time.Duration) (*Result, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	interval := time.Duration(float64(time.Second) / perSecond)
	s.begin(d, false, -1)
	ticker, err := poll.NewTicker(s.poller, interval)
	if err != nil {
		return nil, err
	}
	defer ticker.Close()
	due := time.Duration(0)
	for due+interval <= d {
		events, err := s.poller.Wait(-1)
		if err != nil {
			return nil, err
		}
		for _, e := range events {
			if e.FD != ticker.FD {
				s.handle(e)
				continue
			}
			for range ticker.Ticks() {
				if due += interval; due <= d {
					s.want(due)
				}
			}
		}
	}
	return s.finishRun()
}

// Most is the closed form: it sends as fast as answers come, for d.
func (s *Session) Most(d time.Duration) (*Result, error) { return s.closedLoop(d, -1) }

// Count is the closed form with a number of requests.
func (s *Session) Count(n int) (*Result, error) { return s.closedLoop(time.Hour, n) }

func (s *Session) closedLoop(d time.Duration, n int) (*Result, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	s.begin(d, true, n)
	for range len(s.idle) {
		s.next()
	}
	for heard := time.Now(); s.busy() > 0 && time.Since(s.start) < d && time.Since(heard) < s.drain; {
		events, err := s.poller.Wait(s.drain)
		if err != nil {
			return nil, err
		}
		for _, e := range events {
			heard = time.Now()
			s.handle(e)
		}
	}
	return s.finishRun()
}

func (s *Session) begin(d time.Duration, closed bool, n int) {
	s.result = &Result{
		Latency: hdrhistogram.New(1, int64(latencyMax), significantDigits),
		Transit: hdrhistogram.New(1, int64(latencyMax), significantDigits),
	}
	s.queue, s.until, s.closed, s.left = s.queue[:0], d, closed, n
	s.start = time.Now()
}

func (s *Session) busy() int { return len(s.conns) - len(s.idle) }

// finishRun waits for the answers that are still due.
func (s *Session) finishRun() (*Result, error) {
	s.closed = false
	for end := time.Now().Add(s.drain); s.busy() > 0 || len(s.queue) > 0; {
		left := time.Until(end)
		if left <= 0 {
			break
		}
		events, err := s.poller.Wait(left)
		if err != nil {
			return nil, err
		}
		for _, e := range events {
			s.handle(e)
		}
	}
	s.result.Elapsed = time.Since(s.start)
	s.result.Hung = s.busy() + len(s.queue)
	if s.result.Hung > 0 {
		return s.result, s.replaceBusy()
	}
	return s.result, nil
}

// replaceBusy puts new connections in the place of those that hang.
func (s *Session) replaceBusy() error {
	for fd, c := range s.conns {
		if !c.busy {
			continue
		}
		c.Close()
		delete(s.conns, fd)
	}
	for len(s.conns) < s.plan.Connections {
		if err := s.connect(); err != nil {
			return err
		}
	}
	return nil
}

// want sends a request that is due, or queues it.
func (s *Session) want(due time.Duration) {
	if len(s.idle) == 0 {
		s.queue = append(s.queue, due)
		s.result.Queued = max(s.result.Queued, len(s.queue))
		return
	}
	s.send(due)
}

// next is what a free connection does: the first of the queue, or the next request of the closed form.
func (s *Session) next() {
	switch {
	case len(s.queue) > 0:
		due := s.queue[0]
		s.queue = s.queue[1:]
		s.send(due)
	case s.closed && s.left != 0:
		if now := time.Since(s.start); now < s.until {
			s.left--
			s.send(now)
		}
	}
}

// send sends over the connection that was used last, which is warm.
func (s *Session) send(due time.Duration) {
	c := s.idle[len(s.idle)-1]
	s.idle = s.idle[:len(s.idle)-1]
	c.due, c.busy, c.head, c.ended = due, true, false, false
	c.line, c.text = c.line[:0], c.text[:0]
	s.result.Sent++
	if err := c.Write(c.request); err != nil {
		s.broken(c, err)
	}
}

func (s *Session) handle(e poll.Event) {
	c := s.conns[e.FD]
	if c == nil {
		return
	}
	if e.Writable {
		if err := c.Flush(); err != nil {
			s.broken(c, err)
			return
		}
	}
	if !e.Readable {
		return
	}
	n, err := c.Read(s.chunk)
	if err != nil {
		s.broken(c, err)
		return
	}
	in := s.chunk[:n]
	if len(c.buf) > 0 {
		c.buf = append(c.buf, in...)
		in = c.buf
	}
	rest, err := s.feed(c, in)
	if err != nil {
		s.broken(c, err)
		return
	}
	c.buf = append(c.buf[:0], rest...)
}

// feed reads what it can of the answer and returns what it needs to see again together with more.
func (s *Session) feed(c *conn, in []byte) ([]byte, error) {
	if !c.busy {
		if len(in) > 0 {
			return nil, errors.New("bytes that belong to no answer")
		}
		return nil, nil
	}
	if !c.head {
		h, n, err := wire.ParseHead(in)
		if err != nil || n == 0 {
			return in, err
		}
		c.head, c.status, c.body = true, h.Status(), wire.NewBody(&h)
		in = in[n:]
	}
	for !c.body.Done() {
		data, n, err := c.body.Next(in)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return in, nil
		}
		in = in[n:]
		s.piece(c, data)
	}
	s.finish(c)
	return in, nil
}

// shownBytes is how much of a failed answer is kept to show.
const shownBytes = 300

// piece looks at a part of the body.
func (s *Session) piece(c *conn, data []byte) {
	if c.status != 200 {
		c.text = append(c.text, data[:min(len(data), shownBytes)]...)
		return
	}
	if !s.plan.Stream {
		return
	}
	for len(data) > 0 {
		end := bytes.IndexByte(data, '\n')
		if end < 0 {
			c.line = append(c.line, data...)
			return
		}
		c.line = append(c.line, data[:end]...)
		s.line(c)
		c.line, data = c.line[:0], data[end+1:]
	}
}

var (
	stamp    = []byte(mock.Stamp)
	lastLine = []byte("data: [DONE]")
)

// line reads one line of a stream of the mock.
func (s *Session) line(c *conn) {
	if bytes.Equal(bytes.TrimRight(c.line, "\r"), lastLine) {
		c.ended = true
		return
	}
	_, rest, ok := bytes.Cut(c.line, stamp)
	if !ok || len(rest) < mock.StampDigits {
		return
	}
	if sent, err := strconv.ParseInt(string(rest[:mock.StampDigits]), 10, 64); err == nil {
		record(s.result.Transit, time.Duration(time.Now().UnixNano()-sent))
	}
}

func record(h *hdrhistogram.Histogram, d time.Duration) {
	_ = h.RecordValue(int64(min(max(d, 1), latencyMax))) // in range by construction
}

// finish counts a whole answer and gives its connection more to do.
func (s *Session) finish(c *conn) {
	switch {
	case c.status != 200:
		s.result.Failed++
		s.bad(fmt.Sprintf("%d %s", c.status, c.text))
	case s.plan.Stream && !c.ended:
		s.result.Truncated++
		s.bad("a stream without its end")
	default:
		s.result.Done++
		record(s.result.Latency, time.Since(s.start)-c.due)
	}
	c.busy = false
	s.idle = append(s.idle, c)
	s.next()
}

func (s *Session) bad(text string) {
	if s.result.FirstBad == "" {
		s.result.FirstBad = text
	}
}

// broken counts the answer that can no longer come, and replaces the connection.
func (s *Session) broken(c *conn, err error) {
	wasIdle := !c.busy
	delete(s.conns, c.FD)
	c.Close()
	if wasIdle {
		s.forget(c)
	} else {
		s.result.Failed++
		s.bad(err.Error())
	}
	if s.connect() == nil && !wasIdle {
		s.next()
	}
}

// forget takes an idle connection out of the list.
func (s *Session) forget(c *conn) {
	for i, other := range s.idle {
		if other == c {
			s.idle = append(s.idle[:i], s.idle[i+1:]...)
			return
		}
	}
}
