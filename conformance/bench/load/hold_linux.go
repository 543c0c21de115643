package load

import (
	"fmt"
	"time"

	"github.com/tollgate/tollgate/conformance/bench/poll"
	"github.com/tollgate/tollgate/conformance/bench/wire"
)

// openMax is how long held streams may take to begin.
const openMax = 30 * time.Second

// Held are streams that have begun and that nobody reads further.
type Held struct {
	poller *poll.Poller
	conns  map[int]*conn
}

// Hold opens n connections, sends request on each and waits until the body of each answer has begun.
func Hold(addr string, request []byte, n int) (*Held, error) {
	p, err := poll.New()
	if err != nil {
		return nil, err
	}
	h := &Held{poller: p, conns: map[int]*conn{}}
	for range n {
		c, err := poll.Dial(p, addr)
		if err == nil {
			h.conns[c.FD] = &conn{Conn: c}
			err = c.Write(request)
		}
		if err != nil {
			h.Close()
			return nil, fmt.Errorf("load: opening a stream to hold: %w", err)
		}
	}
	if err := h.begun(); err != nil {
		h.Close()
		return nil, err
	}
	return h, nil
}

// Close hangs up.
func (h *Held) Close() {
	for _, c := range h.conns {
		c.Close()
	}
	h.poller.Close()
}

func (h *Held) begun() error {
	chunk := make([]byte, 64<<10)
	waiting := len(h.conns)
	for end := time.Now().Add(openMax); waiting > 0; {
		left := time.Until(end)
		if left <= 0 {
			return fmt.Errorf("load: %d of %d streams have not begun after %s", waiting, len(h.conns), openMax)
		}
		events, err := h.poller.Wait(left)
		if err != nil {
			return err
		}
		for _, e := range events {
			c := h.conns[e.FD]
			if c == nil || c.ended {
				continue
			}
			n, err := c.Read(chunk)
			if err != nil {
				return fmt.Errorf("load: a stream to hold broke: %w", err)
			}
			c.buf = append(c.buf, chunk[:n]...)
			if c.ended, err = begins(c.buf); err != nil {
				return err
			}
			if c.ended {
				waiting--
			}
		}
	}
	return nil
}

// begins reports whether b holds a head with status 200 and something after it.
func begins(b []byte) (bool, error) {
	head, n, err := wire.ParseHead(b)
	if err != nil || n == 0 {
		return false, err
	}
	if head.Status() != 200 {
		return false, fmt.Errorf("load: a stream to hold was refused: %s", b[:min(len(b), shownBytes)])
	}
	return len(b) > n, nil
}
