package stdio

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/mcp/wire"
	"github.com/tollgate/tollgate/policy"
)

const (
	// startTimeout bounds the start of a child until its handshake is done: the first start of an npx or uvx server
	// downloads it.
	startTimeout = 2 * time.Minute
	// listTimeout bounds the lists of a child that runs.
	listTimeout = 30 * time.Second
	// backoffMin and backoffMax are the waits after a child that died young; they double in between.
	backoffMin = time.Second
	backoffMax = time.Minute
	// steady is the age at which a child's death is no longer held against the next.
	steady = time.Minute
	// openFilesMax is what a tool server may open at once.
	openFilesMax = 4096
	// secretBytesMin is the shortest value of a declared variable that is kept out of logs: 'true' and port numbers are no
	// secrets.
	secretBytesMin = 8
)

// Server is an MCP server behind the pipe of a supervised child. It is an upstream.Server; [New] makes it.
type Server struct {
	cfg  upstream.Config
	self []byte
	ids  atomic.Int64
	base context.Context // of every child; ends at the end of Close
	stop context.CancelFunc
	wg   sync.WaitGroup

	shared    *child
	peer      atomic.Pointer[wire.Peer] // as the last child said; nil: none has started yet
	questions atomic.Int64              // carried to callers
	restarts  atomic.Int64              // of children

	subscriptions atomic.Int64 // to what a modern child tells of

	mu      sync.Mutex // guards what follows; taken before a child's
	own     map[key]*child
	gone    map[string]bool // clients that have left
	leavers []string        // likewise, the oldest first
	closed  bool
}

// New makes a Server of cfg, which has a Command. It starts nothing yet.
func New(cfg upstream.Config) (*Server, error) {
	if err := cfg.Prepare(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, self: cfg.ClientInfo(), own: map[key]*child{}, gone: map[string]bool{}}
	s.base, s.stop = context.WithCancel(context.Background())
	s.shared = s.newChild(key{})
	return s, nil
}

// Call implements Server.
func (s *Server) Call(ctx context.Context, x *upstream.Exchange) (*upstream.Answer, error) {
	if _, ok := ctx.Deadline(); !ok && !x.Timed && x.Ask == nil { // who can be asked has a clock that stands still meanwhile
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, wire.CallTimeout)
		defer cancel()
	}
	c, release, err := s.childOf(ctx, x, false)
	if err != nil {
		return nil, err
	}
	defer release()
	for again := false; ; again = true {
		p, err := c.connect(ctx)
		if err != nil {
			return nil, err
		}
		a, err := c.exchange(ctx, x, p)
		if again || !errors.Is(err, errUnsent) {
			return a, err
		}
		select { // the child died before the request was in its pipe: the next one gets it
		case <-p.dead:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Discover implements Server.
func (s *Server) Discover(ctx context.Context) (*upstream.Offer, error) {
	var offer *upstream.Offer
	err := s.cfg.Gate.Do(ctx, s.cfg.Own(policy.ServerDiscover), ledger.Hold{}, func(ctx context.Context, permit *gate.Permit) error {
		p, err := s.shared.connect(ctx)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, listTimeout)
		defer cancel()
		if offer, err = p.peer.Offer(ctx, s.shared.asker(p, permit)); err != nil {
			return err
		}
		permit.Done(ledger.OK, 0, "")
		return nil
	})
	if err != nil {
		return nil, s.cfg.AsFault(err)
	}
	return offer, nil
}

// Ping implements Server.
func (s *Server) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, wire.ProbeTimeout)
	defer cancel()
	if !s.shared.runs() {
		return s.cfg.Fault(upstream.Unreachable, nil, "does not run")
	}
	err := s.cfg.Gate.Do(ctx, s.cfg.Own(policy.ServerPing), ledger.Hold{}, func(ctx context.Context, permit *gate.Permit) error {
		p, err := s.shared.connect(ctx)
		if err != nil {
			return err
		}
		method := "server/discover"
		if p.peer.Era == upstream.Legacy {
			method = "ping"
		}
		a, err := s.shared.asker(p, permit)(ctx, method, nil)
		if err == nil {
			upstream.Done(permit, a)
		}
		return err
	})
	return s.cfg.AsFault(err)
}

// Close implements Server.
func (s *Server) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	all := slices.Collect(maps.Values(s.own))
	clear(s.own)
	s.mu.Unlock()
	for _, c := range append(all, s.shared) {
		c.stop()
	}
	stop := context.AfterFunc(ctx, s.stop) // kills the children
	defer stop()
	s.wg.Wait()
	s.stop()
	return nil
}

// Counts implements upstream.Server.
func (s *Server) Counts() upstream.Counts {
	c := upstream.Counts{Questions: s.questions.Load(), Reconnects: s.restarts.Load()}
	s.mu.Lock()
	all := append(slices.Collect(maps.Values(s.own)), s.shared)
	s.mu.Unlock()
	for _, child := range all {
		if child.runs() {
			c.Sessions++
		}
	}
	return c
}
