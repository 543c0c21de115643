package poll

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// eventsMax is how many ready sockets one Wait returns at most; the others are ready at the next one.
const eventsMax = 256

// Event says that a file descriptor is ready.
type Event struct {
	FD       int
	Readable bool // or ended, or broken: read it to learn which
	Writable bool
}

// Poller waits for file descriptors. It belongs to one goroutine.
type Poller struct {
	fd    int
	raw   [eventsMax]unix.EpollEvent
	ready []Event
}

// New makes a poller. Close it when done.
func New() (*Poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("poll: creating an epoll instance: %w", err)
	}
	return &Poller{fd: fd}, nil
}

// Close frees the poller; descriptors added to it stay open.
func (p *Poller) Close() error { return unix.Close(p.fd) }

// Add starts waiting for fd to become readable.
func (p *Poller) Add(fd int) error {
	return unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

// wantWrite adds or drops the wish to hear when fd can be written to.
func (p *Poller) wantWrite(fd int, wanted bool) error {
	events := uint32(unix.EPOLLIN)
	if wanted {
		events |= unix.EPOLLOUT
	}
	return unix.EpollCtl(p.fd, unix.EPOLL_CTL_MOD, fd, &unix.EpollEvent{Events: events, Fd: int32(fd)})
}

// Wait returns what is ready, after at most d (negative: no limit). It may return nothing earlier, when a signal came.
// The slice is valid until the next Wait.
func (p *Poller) Wait(d time.Duration) ([]Event, error) {
	ms := -1
	if d >= 0 {
		ms = int((d + time.Millisecond - 1) / time.Millisecond)
	}
	n, err := unix.EpollWait(p.fd, p.raw[:], ms)
	if err != nil && !errors.Is(err, unix.EINTR) {
		return nil, os.NewSyscallError("epoll_wait", err)
	}
	p.ready = p.ready[:0]
	for i := range max(n, 0) {
		e := p.raw[i]
		p.ready = append(p.ready, Event{FD: int(e.Fd), Readable: e.Events&^unix.EPOLLOUT != 0, Writable: e.Events&unix.EPOLLOUT != 0})
	}
	return p.ready, nil
}

// Conn is a nonblocking TCP connection that belongs to its poller's goroutine.
type Conn struct {
	FD      int
	poller  *Poller
	pending []byte // what the kernel did not take yet
}

// Dial connects to a loopback address, "127.0.0.1:80", and adds the connection to p.
func Dial(p *Poller, addr string) (*Conn, error) {
	to, err := loopback(addr)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := unix.Connect(fd, to); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	return adopt(p, fd)
}

func adopt(p *Poller, fd int) (*Conn, error) {
	err := errors.Join(unix.SetNonblock(fd, true), unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1), p.Add(fd))
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("poll: setting up a connection: %w", err)
	}
	return &Conn{FD: fd, poller: p}, nil
}

// Write sends b, or keeps what the kernel does not take until Flush. b may be reused at once.
func (c *Conn) Write(b []byte) error {
	if len(c.pending) > 0 {
		c.pending = append(c.pending, b...)
		return nil
	}
	n, err := c.send(b)
	if err != nil || n == len(b) {
		return err
	}
	c.pending = slices.Clone(b[n:])
	return c.poller.wantWrite(c.FD, true)
}

// Flush sends what is pending; call it when the connection is writable.
func (c *Conn) Flush() error {
	n, err := c.send(c.pending)
	if err != nil {
		return err
	}
	if c.pending = c.pending[n:]; len(c.pending) > 0 {
		return nil
	}
	c.pending = nil
	return c.poller.wantWrite(c.FD, false)
}

func (c *Conn) send(b []byte) (int, error) {
	sent := 0
	for sent < len(b) {
		n, err := unix.SendmsgN(c.FD, b[sent:], nil, nil, unix.MSG_NOSIGNAL)
		switch {
		case errors.Is(err, unix.EAGAIN):
			return sent, nil
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return sent, os.NewSyscallError("send", err)
		}
		sent += n
	}
	return sent, nil
}

// Read reads what is there: 0 and no error when there is nothing, io.EOF at the end.
func (c *Conn) Read(b []byte) (int, error) {
	n, err := unix.Read(c.FD, b)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
		return 0, nil
	case err != nil:
		return 0, os.NewSyscallError("read", err)
	case n == 0 && len(b) > 0:
		return 0, io.EOF
	}
	return n, nil
}

// Close closes the connection, which also takes it out of its poller.
func (c *Conn) Close() error { return unix.Close(c.FD) }

// Listener accepts connections on loopback.
type Listener struct {
	FD     int
	Addr   string
	poller *Poller
}

// backlog is enough for every connection of a run to arrive at once.
const backlog = 4096

// Listen listens on addr, "127.0.0.1:0" for a free port, and adds the listener to p.
func Listen(p *Poller, addr string) (*Listener, error) {
	at, err := loopback(addr)
	if err != nil {
		return nil, err
	}
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := errors.Join(unix.Bind(fd, at), unix.Listen(fd, backlog), p.Add(fd)); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("poll: listening on %s: %w", addr, err)
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("getsockname", err)
	}
	port := bound.(*unix.SockaddrInet4).Port
	return &Listener{FD: fd, Addr: fmt.Sprintf("127.0.0.1:%d", port), poller: p}, nil
}

// Accept takes one waiting connection, or returns nil when there is none.
func (l *Listener) Accept() (*Conn, error) {
	fd, _, err := unix.Accept4(l.FD, unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
	switch {
	case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR), errors.Is(err, unix.ECONNABORTED):
		return nil, nil
	case err != nil:
		return nil, os.NewSyscallError("accept", err)
	}
	return adopt(l.poller, fd)
}

// Close stops listening.
func (l *Listener) Close() error { return unix.Close(l.FD) }
