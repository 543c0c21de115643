package stdio

import (
	"context"
	"time"

	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/mcp/wire"
)

const (
	// childrenMax bounds the children of one server beside the shared one; the one unused longest makes room.
	childrenMax = 32
	// childIdle is how long a child of somebody's own may be unused: agents pause for minutes, and a process costs memory.
	childIdle = 10 * time.Minute
	// leftMax is how many clients that have left are remembered, so that a call of theirs that comes late starts no child
	// that nobody stops.
	leftMax = 1024
)

// childOf returns the child that serves x, which needs it until release; watching says that it is to tell of a resource.
func (s *Server) childOf(ctx context.Context, x *upstream.Exchange, watching bool) (c *child, release func(), err error) {
	if s.peer.Load() == nil && !x.Permit.Call().Action.Own() { // what the server can is not known yet
		if _, err := s.shared.connect(ctx); err != nil {
			return nil, nil, err
		}
	}
	k := s.keyOf(x, watching)
	if k == (key{}) {
		return s.shared, func() {}, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c = s.own[k]
	if c == nil {
		if err := s.room(k); err != nil {
			return nil, nil, err
		}
		c = s.newChild(k)
		c.behalf = x.Permit.Call().Principal.Key
		if k.client != "" {
			c.client = x.Client
		}
		s.own[k] = c
	}
	c.busy++
	if c.idle != nil {
		c.idle.Stop()
	}
	return c, func() { s.release(c) }, nil
}

// keyOf says which child x needs. One of its own has a caller whom the server may ask something or tell something beside
// its answers: what a legacy child says by itself names no caller.
func (s *Server) keyOf(x *upstream.Exchange, watching bool) (k key) {
	call := x.Permit.Call()
	p := s.peer.Load()
	if s.cfg.Shared || p == nil || p.Era == upstream.Modern || call.Action.Own() || call.Principal == nil {
		return k
	}
	y := *x
	if y.Ask == nil && y.Client != nil { // what a client declares holds for its whole session
		y.Ask = y.Client.Ask
	}
	able := wire.AbilitiesOf(&y, p.Version)
	logs := p.Logging && x.LogLevel != ""
	if !able.Asks() && !watching && !logs && (x.Client == nil || !p.Subscribes) {
		return k
	}
	k = key{keyID: call.Principal.KeyID, key: call.Principal.Key, user: call.Principal.User, able: able}
	if x.Client != nil {
		k.client = x.Client.ID
	}
	return k
}

// room makes room for a child more. s.mu is held.
func (s *Server) room(k key) error {
	if s.closed || k.client != "" && s.gone[k.client] {
		return s.cfg.Fault(upstream.Unreachable, nil, "is being stopped")
	}
	if len(s.own) < childrenMax {
		return nil
	}
	var oldest *child
	for _, c := range s.own {
		if c.busy == 0 && (oldest == nil || c.used.Before(oldest.used)) {
			oldest = c
		}
	}
	if oldest == nil {
		return s.cfg.Fault(upstream.Unreachable, nil, "has %d processes running for callers and all are busy: try again later", childrenMax)
	}
	s.drop(oldest)
	return nil
}

// drop stops a child of somebody's own. s.mu is held.
func (s *Server) drop(c *child) {
	if s.own[c.key] == c {
		delete(s.own, c.key)
	}
	if c.idle != nil {
		c.idle.Stop()
	}
	c.stop()
}

// release says that one who needed c needs it no more.
func (s *Server) release(c *child) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.busy--
	c.used = time.Now()
	if c.busy > 0 || s.own[c.key] != c {
		return
	}
	if c.idle == nil {
		c.idle = time.AfterFunc(childIdle, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if c.busy == 0 {
				s.drop(c)
			}
		})
		return
	}
	c.idle.Reset(childIdle)
}

// runs reports whether the child runs now.
func (c *child) runs() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current == nil {
		return false
	}
	select {
	case <-c.current.ready:
		return !c.current.over()
	default:
		return false
	}
}

// Tell implements upstream.Server.
func (s *Server) Tell(client, method string, params []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, c := range s.own {
		if client == "" || k.client != client || method == wire.RootsChanged && !k.able.RootsChanged {
			continue
		}
		c.mu.Lock()
		l := c.current
		c.mu.Unlock()
		if l != nil && !l.over() {
			l.tell(wire.Notification(method, string(params)))
		}
	}
}

// tell has a notification written to the child, if it is up.
func (l *launch) tell(msg []byte) {
	select {
	case <-l.ready:
		if l.err == nil {
			l.pipe.beside(msg)
		}
	default: // it will be asked for what there is when it is up
	}
}

// Leave implements upstream.Server.
func (s *Server) Leave(client string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, c := range s.own {
		if k.client == client {
			s.drop(c)
		}
	}
	if s.gone[client] {
		return
	}
	s.gone[client] = true
	if s.leavers = append(s.leavers, client); len(s.leavers) > leftMax {
		delete(s.gone, s.leavers[0])
		s.leavers = s.leavers[1:]
	}
}
