package stdio

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/mcp/wire"
	"github.com/tollgate/tollgate/policy"
	"github.com/tollgate/tollgate/sandbox"
)

// key says whose a child is. The zero key is that of the shared child: it lists, and serves everybody who needs none of
// their own.
type key struct {
	keyID, key, user string // of the principal
	able             wire.Abilities
	client           string // Client.ID of a legacy caller
}

// child is one child of a server, started when it is needed and again after it has died.
type child struct {
	server *Server
	key    key
	behalf string           // the principal's key, for the ledger
	client *upstream.Client // nil: it is no client's

	halted context.Context // ends when it is not to run any more
	halt   context.CancelFunc
	token  chan struct{} // holds one: one at a time changes what a legacy child is to tell of, in the order it was wanted

	busy int         // calls and watchers that need it; guarded by the server's mu
	used time.Time   // likewise
	idle *time.Timer // likewise; stops it when nobody has needed it for long. Nil: it stays

	mu       sync.Mutex // guards what follows
	current  *launch    // the newest start; nil: none yet
	starts   int64
	deaths   int                          // young ones in a row
	died     time.Time                    // when the last one did
	left     bool                         // it is not to run any more
	skip     bool                         // server/discover killed a child: the next is not asked
	watchers map[string]map[*watcher]bool // of resources, by URI
}

func (s *Server) newChild(k key) *child {
	c := &child{server: s, key: k, token: make(chan struct{}, 1)}
	c.halted, c.halt = context.WithCancel(s.base)
	return c
}

// stop ends the child in order; it is not started again.
func (c *child) stop() {
	c.halt()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.left = true
	if c.current != nil {
		c.current.leave()
	}
}

// declares is what the child is told that it may ask.
func (c *child) declares() wire.Abilities {
	if c.key == (key{}) {
		return wire.OwnAbilities()
	}
	return c.key.able
}

// version is the one that the server spoke when it was started before; empty: it was not.
func (c *child) version() string {
	if p := c.server.peer.Load(); p != nil && p.Era == upstream.Legacy {
		return p.Version
	}
	return ""
}

// launch is one start of the child: it becomes a pipe, or an error.
type launch struct {
	ready chan struct{}
	leave context.CancelFunc
	pipe  *pipe // set before ready is closed
	err   error
}

func (c *child) exchange(ctx context.Context, x *upstream.Exchange, p *pipe) (*upstream.Answer, error) {
	id := c.server.ids.Add(1)
	return p.send(ctx, x, &wire.Request{ID: id, Method: x.Method, Params: x.Params, Meta: p.peer.Meta(ctx, x, id, c.server.self)})
}

// connect returns the running child, started if need be. A child that keeps dying is not started again before its
// backoff is over.
func (c *child) connect(ctx context.Context) (*pipe, error) {
	c.mu.Lock()
	l := c.current
	if l == nil || l.over() {
		if wait := c.backoff(); wait > 0 || c.left {
			c.mu.Unlock()
			if wait > 0 {
				return nil, c.server.cfg.Fault(upstream.Unreachable, nil, "keeps exiting and is started again in %s", wait.Round(time.Second))
			}
			return nil, c.server.cfg.Fault(upstream.Unreachable, nil, "is being stopped")
		}
		l = c.launch()
	}
	c.mu.Unlock()
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

// backoff is how long the next start has to wait. c.mu is held.
func (c *child) backoff() time.Duration {
	if c.deaths <= 1 { // the first death may be an accident: the next call works
		return 0
	}
	wait := backoffMin << min(c.deaths-2, 16)
	return min(wait, backoffMax) - time.Since(c.died)
}

// launch begins a start. c.mu is held.
func (c *child) launch() *launch {
	leaving, leave := context.WithCancel(context.Background())
	l := &launch{ready: make(chan struct{}), leave: leave}
	c.current = l
	c.starts++
	if c.starts > 1 {
		c.server.restarts.Add(1)
	}
	c.server.wg.Go(func() {
		defer leave()
		c.live(leaving, l)
	})
	return l
}

// live is the life of one child: a gate.Do of its own.
func (c *child) live(leaving context.Context, l *launch) {
	began := time.Now()
	served := false
	call := c.server.cfg.Own(policy.SessionOpen)
	call.OnBehalf = c.behalf
	err := c.server.cfg.Gate.Do(c.server.base, call, ledger.Hold{}, func(ctx context.Context, permit *gate.Permit) error {
		starting, cancel := context.WithTimeout(ctx, startTimeout)
		stop := context.AfterFunc(leaving, cancel)
		p, err := c.start(ctx, starting, permit)
		stop()
		cancel()
		if err != nil {
			return err
		}
		permit.Done(ledger.OK, 0, "")
		c.server.peer.Store(p.peer)
		l.pipe, served = p, true
		c.settled(p)
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
	c.mu.Lock()
	c.died = time.Now()
	if time.Since(began) > steady {
		c.deaths = 0
	}
	c.deaths++
	left := c.left
	c.mu.Unlock()
	if !served {
		l.err = c.server.cfg.AsFault(err)
		close(l.ready)
	}
	if served && !left {
		c.server.cfg.Log.Warn("a tool server exited", "server", c.server.cfg.Name, "err", l.pipe.process.Err())
		if c.key == (key{}) {
			c.server.cfg.Heard(upstream.Lost)
		}
	}
	if !left {
		c.again()
	}
}

// start starts the child, which lives as long as ctx, and shakes hands with it while starting lasts.
func (c *child) start(ctx, starting context.Context, permit *gate.Permit) (*pipe, error) {
	spec, err := c.spec(permit)
	if err != nil {
		return nil, err
	}
	process, err := sandbox.Start(ctx, spec)
	if err != nil {
		return nil, c.server.cfg.Fault(upstream.Unreachable, err, "could not be started: check its command in the config")
	}
	permit.Sent()
	p := newPipe(c, process, permit)
	go p.run()
	if err = c.handshake(starting, p); err == nil {
		return p, nil
	}
	process.Kill()
	<-process.Done()
	<-p.dead
	return nil, err
}

// spec says how the child is run: with what the config and the vault declare for it, and nothing else.
func (c *child) spec(permit *gate.Permit) (sandbox.Spec, error) {
	spec := sandbox.Spec{
		Argv: c.server.cfg.Command, Dir: c.server.cfg.Dir, Limits: sandbox.Limits{OpenFiles: openFilesMax},
		Log: c.server.cfg.Log.With("server", c.server.cfg.Name),
	}
	for name, value := range c.server.cfg.Env {
		spec.Env = append(spec.Env, name+"="+value.Reveal())
	}
	if c.server.cfg.Vault != nil {
		env, err := c.server.cfg.Vault.Env(permit)
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
func (c *child) handshake(ctx context.Context, p *pipe) error {
	c.mu.Lock()
	// What the server speaks is known from the shared child.
	skip := (c.skip || c.key != (key{}) && c.version() != "") && c.server.cfg.Era != upstream.Modern
	c.mu.Unlock()
	p.peer = &wire.Peer{Era: upstream.Modern, Version: wire.ModernVersion}
	do := c.asker(p, p.permit)
	if !skip {
		found, err := wire.Probe(ctx, &c.server.cfg, do)
		if err != nil && p.alive() {
			return err
		}
		if err != nil || found == nil && !p.alive() {
			c.mu.Lock()
			c.skip = true // some servers exit when they are asked anything before initialize
			c.mu.Unlock()
			return p.fault
		}
		if found != nil {
			p.peer = found
			return nil
		}
	}
	p.peer = &wire.Peer{Era: upstream.Legacy}
	a, err := do(ctx, "initialize", wire.Initialize(c.server.self, c.declares(), c.version()))
	if err != nil {
		return err
	}
	found, err := wire.Hello(&c.server.cfg, a)
	if err != nil {
		return c.modernAfterAll(ctx, p, do, err)
	}
	p.peer = found
	return p.conn.Send(p.permit, wire.Notification("notifications/initialized", ""))
}

// modernAfterAll asks once more for server/discover where initialize is refused: a modern server that took longer to
// start than the probe waited.
func (c *child) modernAfterAll(ctx context.Context, p *pipe, do wire.Asker, refused error) error {
	if c.server.cfg.Era == upstream.Legacy {
		return refused
	}
	p.peer = &wire.Peer{Era: upstream.Modern, Version: wire.ModernVersion}
	found, err := wire.Probe(ctx, &c.server.cfg, do)
	if err != nil || found == nil {
		return refused
	}
	p.peer = found
	return nil
}

func (c *child) asker(p *pipe, permit *gate.Permit) wire.Asker {
	return func(ctx context.Context, method string, params []byte) (*upstream.Answer, error) {
		return c.exchange(ctx, &upstream.Exchange{Permit: permit, Method: method, Params: params}, p)
	}
}
