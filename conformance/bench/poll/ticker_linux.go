package poll

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Ticker counts the intervals that have passed, by a kernel timer of nanosecond resolution.
type Ticker struct{ FD int }

// NewTicker starts a ticker whose first tick is one interval from now, and adds it to p.
func NewTicker(p *Poller, interval time.Duration) (*Ticker, error) {
	fd, err := unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("timerfd_create", err)
	}
	every := unix.NsecToTimespec(interval.Nanoseconds())
	err = errors.Join(unix.TimerfdSettime(fd, 0, &unix.ItimerSpec{Interval: every, Value: every}, nil), p.Add(fd))
	if err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("timerfd_settime", err)
	}
	return &Ticker{FD: fd}, nil
}

// Ticks returns how many intervals have passed since it was last asked.
func (t *Ticker) Ticks() int {
	var b [8]byte
	if n, err := unix.Read(t.FD, b[:]); err != nil || n != len(b) {
		return 0
	}
	return int(binary.NativeEndian.Uint64(b[:]))
}

// Close stops the ticker.
func (t *Ticker) Close() error { return unix.Close(t.FD) }

// errNotLoopback keeps the benchmark on one machine.
var errNotLoopback = errors.New("poll: only IPv4 loopback addresses")

func loopback(addr string) (*unix.SockaddrInet4, error) {
	a, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, err
	}
	if !a.Addr().Is4() || !a.Addr().IsLoopback() {
		return nil, errNotLoopback
	}
	return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}, nil
}
