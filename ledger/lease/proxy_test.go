package lease

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// proxy stands between a replica and the database and is the network's faults.
type proxy struct {
	listener net.Listener
	to       string

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	mode  mode
	wake  chan struct{} // closed when mode changes
}

// mode is what the network does.
type mode uint8

const (
	whole   mode = iota
	refuses      // nothing connects
	slow         // each piece takes a while
	black        // nothing arrives, and nobody says so
	deaf         // what is sent arrives, answers do not
)

const slowTime = 120 * time.Millisecond

func newProxy(t testing.TB, to string) *proxy {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, to: to, conns: map[net.Conn]struct{}{}, wake: make(chan struct{})}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() { p.carry(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.set(refuses)
		running.Wait()
	})
	return p
}

func (p *proxy) addr() string { return p.listener.Addr().String() }

// set changes what the network does; with refuses, connections that stand are cut.
func (p *proxy) set(m mode) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.mode = m
	close(p.wake)
	p.wake = make(chan struct{})
	if m == refuses {
		p.cut()
	}
}

func (p *proxy) cut() {
	for c := range p.conns {
		c.Close()
	}
}

func (p *proxy) is() (mode, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.mode, p.wake
}

func (p *proxy) carry(c net.Conn) {
	defer c.Close()
	if m, _ := p.is(); m == refuses {
		return
	}
	up, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer up.Close()
	p.mu.Lock()
	p.conns[c], p.conns[up] = struct{}{}, struct{}{}
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.copy(up, c, false) })
	p.copy(c, up, true)
	both.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
	delete(p.conns, up)
}

// copy carries one direction, as the network lets it.
func (p *proxy) copy(to, from net.Conn, answers bool) {
	defer to.Close()
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if n > 0 && !p.pass(answers) {
			return
		}
		if _, werr := to.Write(b[:n]); err != nil || werr != nil {
			if err != io.EOF {
				from.Close()
			}
			return
		}
	}
}

// pass waits until a piece may go on; false when it never will.
func (p *proxy) pass(answer bool) bool {
	for {
		m, changed := p.is()
		switch {
		case m == refuses:
			return false
		case m == slow:
			time.Sleep(slowTime)
			return true
		case m == black || m == deaf && answer:
			<-changed
		default:
			return true
		}
	}
}
