package gate

import (
	"fmt"
	"sync"
)

// Conn is a connection that outlives a call: its own Do (session.open) lasts as long as it does, and each message on it
// takes a live permit of its own call. Safe for concurrent use: messages are written one after the other.
type Conn struct {
	opened *Permit
	mu     sync.Mutex // held while send writes, so that messages do not mix
	send   func([]byte) error
}

// Conn wraps send, the writer of a pipe or socket opened under p. send writes the whole message or fails.
func (g *Gate) Conn(p *Permit, send func([]byte) error) *Conn { return &Conn{opened: p, send: send} }

// Send writes msg under a live permit for the same upstream and marks that permit sent. After an error nothing that the
// other side could act on has been sent.
func (c *Conn) Send(p *Permit, msg []byte) error {
	if !p.Live() || !c.opened.Live() || p.gate != c.opened.gate {
		return ErrNoPermit
	}
	if p.pool == nil || p.pool.upstream.Name != c.opened.call.Upstream || p.call.Action.Side() != c.opened.call.Action.Side() {
		return fmt.Errorf("%w: the connection is to another one", ErrNoPermit)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.send(msg); err != nil {
		return err
	}
	p.Sent()
	return nil
}
