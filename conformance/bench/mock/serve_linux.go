package mock

import (
	"container/heap"
	"time"

	"github.com/tollgate/tollgate/conformance/bench/poll"
	"github.com/tollgate/tollgate/conformance/bench/wire"
)

// requestBytesMax bounds what a connection buffers: the largest body of the benchmark is 48 KB.
const requestBytesMax = 1 << 20

// Server is the mock. It belongs to the goroutine that runs it.
type Server struct {
	Addr string // where it listens

	poller   *poll.Poller
	listener *poll.Listener
	conns    map[int]*conn
	timers   timers
	chunk    []byte // in read
	out      []byte // a response being put together
	canned   *canned
	models   map[string]behaviour
}

// conn is one client connection and the answer being streamed on it.
type conn struct {
	*poll.Conn
	buf    []byte
	closed bool
	stream *stream // not nil: busy, further requests wait
}

// Listen makes a mock on a loopback address, "127.0.0.1:0" for a free port.
func Listen(addr string) (*Server, error) {
	p, err := poll.New()
	if err != nil {
		return nil, err
	}
	l, err := poll.Listen(p, addr)
	if err != nil {
		p.Close()
		return nil, err
	}
	return &Server{
		Addr: l.Addr, poller: p, listener: l, conns: map[int]*conn{},
		chunk: make([]byte, 64<<10), canned: newCanned(), models: map[string]behaviour{},
	}, nil
}

// Run serves until the process ends, or a system call fails that should not.
func (s *Server) Run() error {
	for {
		if err := s.turn(); err != nil {
			return err
		}
	}
}

// turn waits once and does what is due.
func (s *Server) turn() error {
	events, err := s.poller.Wait(s.timers.next(time.Now()))
	if err != nil {
		return err
	}
	for _, e := range events {
		if e.FD == s.listener.FD {
			if err := s.accept(); err != nil {
				return err
			}
			continue
		}
		c := s.conns[e.FD]
		if c == nil {
			continue
		}
		if e.Writable {
			if c.Flush() != nil {
				s.drop(c)
				continue
			}
		}
		if e.Readable {
			s.readable(c)
		}
	}
	for now := time.Now(); s.timers.due(now); {
		t := heap.Pop(&s.timers).(timer)
		if !t.conn.closed && t.conn.stream != nil {
			s.advance(t.conn)
			s.requests(t.conn)
		}
	}
	return nil
}

func (s *Server) accept() error {
	for {
		c, err := s.listener.Accept()
		if err != nil || c == nil {
			return err
		}
		s.conns[c.FD] = &conn{Conn: c}
	}
}

func (s *Server) drop(c *conn) {
	c.closed = true
	delete(s.conns, c.FD)
	c.Close()
}

// readable takes what has arrived and answers the requests that are whole.
func (s *Server) readable(c *conn) {
	n, err := c.Read(s.chunk)
	if err != nil || len(c.buf)+n > requestBytesMax {
		s.drop(c)
		return
	}
	if n > 0 {
		c.buf = append(c.buf, s.chunk[:n]...)
		s.requests(c)
	}
}

// requests answers the whole requests at the start of c's buffer, up to one that streams.
func (s *Server) requests(c *conn) {
	for c.stream == nil && !c.closed && len(c.buf) > 0 {
		head, n, err := wire.ParseHead(c.buf)
		if err != nil || head.Chunked {
			s.drop(c)
			return
		}
		end := n + int(head.Length)
		if n == 0 || len(c.buf) < end {
			return
		}
		if err := s.answer(c, string(head.Second), c.buf[n:end]); err != nil {
			s.drop(c)
			return
		}
		c.buf = append(c.buf[:0], c.buf[end:]...)
	}
}

// after has c's stream advanced once d has passed.
func (s *Server) after(c *conn, d time.Duration) {
	heap.Push(&s.timers, timer{time.Now().Add(d), c})
}

// timer says when a stream goes on.
type timer struct {
	at   time.Time
	conn *conn
}

// timers is a heap, the earliest first.
type timers []timer

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at.Before(t[j].at) }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }

// Push implements heap.Interface.
func (t *timers) Push(x any) { *t = append(*t, x.(timer)) }

// Pop implements heap.Interface.
func (t *timers) Pop() any {
	old := *t
	last := old[len(old)-1]
	*t = old[:len(old)-1]
	return last
}

func (t timers) due(now time.Time) bool { return len(t) > 0 && !t[0].at.After(now) }

// next is how long to wait for the first timer; negative when there is none.
func (t timers) next(now time.Time) time.Duration {
	if len(t) == 0 {
		return -1
	}
	return max(0, t[0].at.Sub(now))
}
