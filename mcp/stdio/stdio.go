package stdio

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/mcp/wire"
	"github.com/tollgate/tollgate/policy"
	"github.com/tollgate/tollgate/sandbox"
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

	mu      sync.Mutex // guards what follows
	current *launch    // the newest start; nil: none yet
	starts  int64      // of children
	deaths  int        // young ones in a row
	died    time.Time  // when the last one did
	closed  bool
	skip    bool // server/discover killed a child: the next is not asked
}

// launch is one start of the child: it becomes a pipe, or an error.
type launch struct {
	ready chan struct{}
	leave context.CancelFunc
	pipe  *pipe // set before ready is closed
	err   error
}

// New makes a Server of cfg, which has a Command. It starts nothing yet.
func New(cfg upstream.Config) (*Server, error) {
	if err := cfg.Prepare(); err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, self: cfg.ClientInfo()}
	s.base, s.stop = context.WithCancel(context.Background())
	return s, nil
}

// Call implements Server.
func (s *Server) Call(ctx context.Context, x *upstream.Exchange) (*upstream.Answer, error) {
	if _, ok := ctx.Deadline(); !ok && x.Ask == nil { // who can be asked has a clock that stands still meanwhile
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, wire.CallTimeout)
		defer cancel()
	}
	for again := false; ; again = true {
		p, err := s.connect(ctx)
		if err != nil {
			return nil, err
		}
		a, err := s.exchange(ctx, x, p)
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

func (s *Server) exchange(ctx context.Context, x *upstream.Exchange, p *pipe) (*upstream.Answer, error) {
	id := s.ids.Add(1)
	return p.send(ctx, x, &wire.Request{ID: id, Method: x.Method, Params: x.Params, Meta: p.peer.Meta(ctx, x, id, s.self)})
}

// connect returns the running child, started if need be. A child that keeps dying is not started again before its
// backoff is over.
func (s *Server) connect(ctx context.Context) (*pipe, error) {
	s.mu.Lock()
	l := s.current
	if l == nil || l.over() {
		if wait := s.backoff(); wait > 0 || s.closed {
			s.mu.Unlock()
			if wait > 0 {
				return nil, s.cfg.Fault(upstream.Unreachable, nil, "keeps exiting and is started again in %s", wait.Round(time.Second))
			}
			return nil, s.cfg.Fault(upstream.Unreachable, nil, "is being stopped")
		}
		l = s.launch()
	}
	s.mu.Unlock()
	select {
	case <-l.ready:
		return l.pipe, l.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// over reports whether l has failed or its child is dead.
func (l *launch) over() bool {
	select {
	case <-l.ready:
		return l.err != nil || !l.pipe.alive()
	default:
		return false
	}
}

// backoff is how long the next start has to wait. s.mu is held.
func (s *Server) backoff() time.Duration {
	if s.deaths <= 1 { // the first death may be an accident: the next call works
		return 0
	}
	wait := backoffMin << min(s.deaths-2, 16)
	return min(wait, backoffMax) - time.Since(s.died)
}

// launch begins a start. s.mu is held.
func (s *Server) launch() *launch {
	leaving, leave := context.WithCancel(context.Background())
	l := &launch{ready: make(chan struct{}), leave: leave}
	s.current = l
	s.starts++
	s.wg.Go(func() {
		defer leave()
		s.live(leaving, l)
	})
	return l
}

// live is the life of one child: a gate.Do of its own.
func (s *Server) live(leaving context.Context, l *launch) {
	began := time.Now()
	served := false
	err := s.cfg.Gate.Do(s.base, s.cfg.Own(policy.SessionOpen), ledger.Hold{}, func(ctx context.Context, permit *gate.Permit) error {
		starting, cancel := context.WithTimeout(ctx, startTimeout)
		stop := context.AfterFunc(leaving, cancel)
		p, err := s.start(ctx, starting, permit)
		stop()
		cancel()
		if err != nil {
			return err
		}
		permit.Done(ledger.OK, 0, "")
		l.pipe, served = p, true
		close(l.ready)
		select {
		case <-p.dead:
		case <-leaving.Done():
			p.process.Stop(ctx)
		}
		p.process.Kill()
		<-p.process.Done()
		return nil
	})
	if !served && err == nil {
		err = errors.New("the gate did not start it")
	}
	s.mu.Lock()
	s.died = time.Now()
	if time.Since(began) > steady {
		s.deaths = 0
	}
	s.deaths++
	closed := s.closed
	s.mu.Unlock()
	if !served {
		l.err = s.cfg.AsFault(err)
		close(l.ready)
	}
	if served && !closed {
		s.cfg.Log.Warn("a tool server exited", "server", s.cfg.Name, "err", l.pipe.process.Err())
		s.cfg.Heard(upstream.Lost)
	}
}

// start starts the child, which lives as long as ctx, and shakes hands with it while starting lasts.
func (s *Server) start(ctx, starting context.Context, permit *gate.Permit) (*pipe, error) {
	spec, err := s.spec(permit)
	if err != nil {
		return nil, err
	}
	process, err := sandbox.Start(ctx, spec)
	if err != nil {
		return nil, s.cfg.Fault(upstream.Unreachable, err, "could not be started: check its command in the config")
	}
	permit.Sent()
	p := newPipe(&s.cfg, process, permit)
	go p.run()
	if err = s.handshake(starting, p); err == nil {
		return p, nil
	}
	process.Kill()
	<-process.Done()
	<-p.dead
	return nil, err
}

// spec says how the child is run: with what the config and the vault declare for it, and nothing else.
func (s *Server) spec(permit *gate.Permit) (sandbox.Spec, error) {
	spec := sandbox.Spec{
		Argv: s.cfg.Command, Dir: s.cfg.Dir, Limits: sandbox.Limits{OpenFiles: openFilesMax},
		Log: s.cfg.Log.With("server", s.cfg.Name),
	}
	for name, value := range s.cfg.Env {
		spec.Env = append(spec.Env, name+"="+value.Reveal())
	}
	if s.cfg.Vault != nil {
		env, err := s.cfg.Vault.Env(permit)
		if err != nil {
			return spec, err
		}
		spec.Env = append(spec.Env, env...)
	}
	for _, v := range spec.Env {
		if _, value, _ := strings.Cut(v, "="); len(value) >= secretBytesMin {
			spec.Secrets = append(spec.Secrets, value)
		}
	}
	return spec, nil
}

// handshake settles the era, and opens the session of a legacy server.
func (s *Server) handshake(ctx context.Context, p *pipe) error {
	s.mu.Lock()
	skip := s.skip && s.cfg.Era != upstream.Modern
	s.mu.Unlock()
	p.peer = &wire.Peer{Era: upstream.Modern, Version: wire.ModernVersion}
	do := s.asker(p, p.permit)
	if !skip {
		found, err := wire.Probe(ctx, &s.cfg, do)
		if err != nil && p.alive() {
			return err
		}
		if err != nil || found == nil && !p.alive() {
			s.mu.Lock()
			s.skip = true // some servers exit when they are asked anything before initialize
			s.mu.Unlock()
			return p.fault
		}
		if found != nil {
			p.peer = found
			return nil
		}
	}
	p.peer = &wire.Peer{Era: upstream.Legacy}
	a, err := do(ctx, "initialize", wire.Initialize(s.self, wire.OwnAbilities(), ""))
	if err != nil {
		return err
	}
	found, err := wire.Hello(&s.cfg, a)
	if err != nil {
		return s.modernAfterAll(ctx, p, do, err)
	}
	p.peer = found
	return p.conn.Send(p.permit, wire.Notification("notifications/initialized", ""))
}

// modernAfterAll asks once more for server/discover where initialize is refused: a modern server that took longer to
// start than the probe waited.
func (s *Server) modernAfterAll(ctx context.Context, p *pipe, do wire.Asker, refused error) error {
	if s.cfg.Era == upstream.Legacy {
		return refused
	}
	p.peer = &wire.Peer{Era: upstream.Modern, Version: wire.ModernVersion}
	found, err := wire.Probe(ctx, &s.cfg, do)
	if err != nil || found == nil {
		return refused
	}
	p.peer = found
	return nil
}

func (s *Server) asker(p *pipe, permit *gate.Permit) wire.Asker {
	return func(ctx context.Context, method string, params []byte) (*upstream.Answer, error) {
		return s.exchange(ctx, &upstream.Exchange{Permit: permit, Method: method, Params: params}, p)
	}
}

// Discover implements Server.
func (s *Server) Discover(ctx context.Context) (*upstream.Offer, error) {
	var offer *upstream.Offer
	err := s.cfg.Gate.Do(ctx, s.cfg.Own(policy.ServerDiscover), ledger.Hold{}, func(ctx context.Context, permit *gate.Permit) error {
		p, err := s.connect(ctx)
		if err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, listTimeout)
		defer cancel()
		if offer, err = p.peer.Offer(ctx, s.asker(p, permit)); err != nil {
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
	s.mu.Lock()
	l := s.current
	s.mu.Unlock()
	if l == nil || l.over() {
		return s.cfg.Fault(upstream.Unreachable, nil, "does not run")
	}
	err := s.cfg.Gate.Do(ctx, s.cfg.Own(policy.ServerPing), ledger.Hold{}, func(ctx context.Context, permit *gate.Permit) error {
		p, err := s.connect(ctx)
		if err != nil {
			return err
		}
		method := "server/discover"
		if p.peer.Era == upstream.Legacy {
			method = "ping"
		}
		a, err := s.asker(p, permit)(ctx, method, nil)
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
	if s.current != nil {
		s.current.leave()
	}
	s.mu.Unlock()
	stop := context.AfterFunc(ctx, s.stop) // kills the child
	defer stop()
	s.wg.Wait()
	s.stop()
	return nil
}

// Counts implements upstream.Server.
func (s *Server) Counts() upstream.Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	var c upstream.Counts
	if s.current != nil && !s.current.over() {
		c.Sessions = 1
	}
	c.Reconnects = max(0, s.starts-1)
	return c
}

// Subscribe implements upstream.Server.
func (s *Server) Subscribe(context.Context, *upstream.Exchange, func(params []byte)) (stop func(), a *upstream.Answer, err error) {
	return nil, upstream.NoSubscriptions(), nil
}

// Tell implements upstream.Server.
func (s *Server) Tell(client, method string, params []byte) {}

// Leave implements upstream.Server.
func (s *Server) Leave(client string) {}
