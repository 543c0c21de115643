package fleet

import (
	"io"
	"net"
	"sync"
	"time"
)

// Line is how a proxy treats what goes through it.
type Line int

// The states of a line.
const (
	Up        Line = iota
	Down           // connections are cut, new ones refused
	BlackHole      // nothing gets through and nobody is told
	Slow           // each piece takes slowBy longer in each direction
	HalfOpen       // what the client sends arrives, what is answered does not
)

func (l Line) String() string {
	return [...]string{"up", "cut", "black hole", "slow", "half open"}[l]
}

const (
	// slowBy is the delay of a slow line, many times that between two data centres.
	slowBy = 300 * time.Millisecond
	// proxyDial is how long the proxy tries to reach what is behind it.
	proxyDial = 2 * time.Second
	// linePoll is how often a held piece looks whether the line is up again.
	linePoll = 20 * time.Millisecond
)

// Proxy is the only way from one replica to the database. Its methods are safe for concurrent use.
type Proxy struct {
	Addr string

	listener net.Listener
	mu       sync.Mutex // guards what follows
	line     Line
	target   string
	conns    map[net.Conn]bool // of both sides
	done     sync.WaitGroup
}

// NewProxy listens on a free loopback port and passes on to target.
func NewProxy(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{Addr: l.Addr().String(), listener: l, target: target, conns: map[net.Conn]bool{}}
	p.done.Go(p.accept)
	return p, nil
}

// Set brings the line into a state. Down cuts what is connected; after a BlackHole or HalfOpen what was held goes on its
// way when the line is up again, as packets do that are sent once more.
func (p *Proxy) Set(line Line) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.line = line
	if line == Down {
		p.cut()
	}
}

// Lead cuts what is connected and passes on to target from now on, as an address does that moves to another machine.
func (p *Proxy) Lead(target string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.target = target
	p.cut()
}

// cut closes all connections. The caller holds mu.
func (p *Proxy) cut() {
	for c := range p.conns {
		_ = c.Close() // its pump ends and forgets it
	}
}

// Close ends the proxy and its connections.
func (p *Proxy) Close() error {
	err := p.listener.Close()
	p.Set(Down)
	p.done.Wait()
	return err
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.done.Go(func() { p.serve(c) })
	}
}

// enter remembers a connection, or closes it when the line is down.
func (p *Proxy) enter(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.line == Down {
		_ = c.Close() // that is all the client is told
		return false
	}
	p.conns[c] = true
	return true
}

func (p *Proxy) leave(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	_ = c.Close() // perhaps the second time
}

func (p *Proxy) state() (Line, string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.line, p.target
}

func (p *Proxy) serve(client net.Conn) {
	if !p.enter(client) {
		return
	}
	defer p.leave(client)
	if !p.passes(false) {
		return
	}
	_, target := p.state()
	server, err := net.DialTimeout("tcp", target, proxyDial)
	if err != nil || !p.enter(server) {
		return
	}
	defer p.leave(server)
	var both sync.WaitGroup
	both.Go(func() { p.pump(server, client, false) })
	both.Go(func() { p.pump(client, server, true) })
	both.Wait()
}

// passes waits as long as the line holds a piece back, and reports whether it goes on at all.
func (p *Proxy) passes(back bool) bool {
	for {
		switch line, _ := p.state(); {
		case line == Down:
			return false
		case line == Slow:
			time.Sleep(slowBy)
			return true
		case line == BlackHole, line == HalfOpen && back:
			time.Sleep(linePoll)
		default:
			return true
		}
	}
}

func (p *Proxy) pump(to, from net.Conn, back bool) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && (!p.passes(back) || write(to, buf[:n]) != nil) {
			err = io.EOF
		}
		if err != nil {
			_, _ = to.Close(), from.Close() // the other pump ends as well
			return
		}
	}
}

func write(to io.Writer, b []byte) error {
	_, err := to.Write(b)
	return err
}
