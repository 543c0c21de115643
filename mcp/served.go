package mcp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate/tollgate/mcp/catalog"
	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/upstream"
)

// The rhythm of looking after a server.
const (
	discoverWithin = 30 * time.Second // connect, probe and fetch all lists
	firstWithin    = 10 * time.Second // lists wait so long for a server that has not answered yet, once
	pingEvery      = time.Minute      // a connected server is asked for a sign of life
	pingWithin     = 10 * time.Second
	relistEvery    = 10 * time.Minute // lists are fetched anew even if nothing was said to have changed
	retryFirst     = time.Second      // after the first failure; doubled after each further one
	retryMost      = time.Minute
	changeWithin   = 50 * time.Millisecond // changes that come together cost one fetch
	lookApart      = time.Second / 2       // between two fetches, however often a server says that something changed: callers hear of it within 1 s
)

// served is one server and what is known of it.
type served struct {
	g    *Gateway
	def  Server
	up   upstream.Server
	ctx  context.Context // of the background work
	halt context.CancelFunc
	life context.Context // of calls: ends when the grace of a stopped server does
	cut  context.CancelFunc
	done chan struct{} // closed when the background work has ended

	kick  chan struct{} // something changed: look again
	first chan struct{} // closed when the first look has ended or firstWithin has passed
	calls sync.WaitGroup

	answered atomic.Int64 // when it last answered a call, Unix nanoseconds
	tasks    atomic.Bool  // it may answer tool calls with tasks

	mu       sync.Mutex // guards what follows
	leaving  bool
	state    State
	reason   string
	since    time.Time
	offer    *upstream.Offer
	onShelf  *catalog.Shelf
	failures int
}

func (g *Gateway) newServed(def Server) (*served, error) {
	s := &served{
		g: g, def: def, kick: make(chan struct{}, 1), first: make(chan struct{}), done: make(chan struct{}),
		state: Connecting, since: time.Now(),
	}
	era := upstream.Era(def.Era)
	if def.Era == "auto" {
		era = ""
	}
	var err error
	s.up, err = g.dial(upstream.Config{
		Gate: g.cfg.Gate, Vault: g.cfg.Vault, Name: def.Name, URL: def.URL, Command: def.Command, Dir: def.Dir, Env: def.Env,
		Era: era, Version: g.cfg.Version, Log: g.cfg.Log, Changed: s.hear, Shared: def.Shared,
	})
	if err != nil {
		return nil, fmt.Errorf("mcp: server %q: %w", def.Name, err)
	}
	s.ctx, s.halt = context.WithCancel(context.Background())
	s.life, s.cut = context.WithCancel(context.Background())
	return s, nil
}

func (s *served) start() {
	go func() {
		defer close(s.done)
		s.look()
	}()
}

// hear is told by the server that something changed.
func (s *served) hear(upstream.Change) {
	select {
	case s.kick <- struct{}{}:
	default: // it is going to look already
	}
}

// look connects and lists, and does so again whenever there is reason to, until the server is stopped.
func (s *served) look() {
	chance := time.AfterFunc(firstWithin, s.heard)
	defer chance.Stop()
	var looked time.Time
	for s.ctx.Err() == nil {
		wait := pingEvery
		if s.kicked() || s.State() != Ready || time.Since(looked) >= relistEvery {
			if !s.discover() {
				wait = s.backoff()
			}
			looked = time.Now()
			s.heard()
		} else if !s.alive() {
			continue // connect anew
		}
		select {
		case <-s.ctx.Done():
		case <-time.After(wait):
		case <-s.kick:
			s.hear("") // kept for kicked, after what comes together has come
			select {
			case <-s.ctx.Done():
			case <-time.After(max(changeWithin, lookApart-time.Since(looked))):
			}
		}
	}
}

// kicked reports whether there was a reason to look, and forgets it.
func (s *served) kicked() bool {
	select {
	case <-s.kick:
		return true
	default:
		return false
	}
}

// heard lets lists go on without waiting for this server.
func (s *served) heard() {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.first:
	default:
		close(s.first)
	}
}

// backoff is how long to wait after a failure, with jitter so that many servers do not come back at once.
func (s *served) backoff() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	d := min(retryFirst<<min(max(s.failures-1, 0), 10), retryMost)
	return d/2 + rand.N(d)
}

// discover fetches what the server offers and puts it on its shelf; the last good one stays when that fails.
func (s *served) discover() bool {
	ctx, cancel := context.WithTimeout(s.ctx, discoverWithin)
	defer cancel()
	offer, err := s.up.Discover(ctx)
	if err != nil {
		if s.ctx.Err() != nil {
			return false
		}
		s.mu.Lock()
		s.failures++
		s.mu.Unlock()
		s.g.cfg.Log.Warn("a tool server cannot be reached", "server", s.def.Name, "err", err)
		s.become(Unavailable, reasonOf(err))
		return false
	}
	shelf := catalog.Digest(catalog.Source{Server: s.def.Name, Trusted: s.def.Trusted, Price: s.def.PricePerCall, Tools: s.def.Tools}, offer)
	s.mu.Lock()
	s.offer, s.onShelf, s.failures = offer, shelf, 0
	s.tasks.Store(shelf.Extensions[era.Tasks] != nil)
	s.mu.Unlock()
	s.become(Ready, faultsOf(offer))
	s.g.rebuild()
	return true
}

// alive asks a server for a sign of life, unless it has given one.
func (s *served) alive() bool {
	if time.Since(time.Unix(0, s.answered.Load())) < pingEvery {
		return true
	}
	ctx, cancel := context.WithTimeout(s.ctx, pingWithin)
	defer cancel()
	err := s.up.Ping(ctx)
	if err != nil && s.ctx.Err() == nil {
		s.become(Unavailable, reasonOf(err))
		return false
	}
	return true
}

func (s *served) become(state State, reason string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != state {
		s.state, s.since = state, time.Now()
	}
	s.reason = reason
}

// reasonOf is what an operator is told; a fault's text names no address and nothing of the server's body.
func reasonOf(err error) string {
	var f *upstream.Fault
	if errors.As(err, &f) {
		return f.Text
	}
	return "the server does not answer"
}

// faultsOf says which lists of a server are not whole.
func faultsOf(o *upstream.Offer) string {
	reason := ""
	for _, list := range [...]string{"tools", "resources", "templates", "prompts"} {
		if why := o.Faults[list]; why != "" {
			if reason != "" {
				reason += "; "
			}
			reason += list + ": " + why
		}
	}
	return reason
}

// State returns what the server is doing.
func (s *served) State() State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.state
}

// legacy reports whether the server spoke a legacy version when it was last asked.
func (s *served) legacy() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.offer != nil && s.offer.Era == upstream.Legacy
}

func (s *served) shelf() *catalog.Shelf {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.onShelf
}

// enter counts a call in; false: the server is being stopped.
func (s *served) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leaving {
		return false
	}
	s.calls.Add(1)
	return true
}

// stop ends the background work, waits for the calls in flight until ctx ends and closes the server.
func (s *served) stop(ctx context.Context) {
	s.mu.Lock()
	s.leaving = true
	s.mu.Unlock()
	s.halt()
	<-s.done
	idle := make(chan struct{})
	go func() {
		s.calls.Wait()
		close(idle)
	}()
	select {
	case <-idle:
	case <-ctx.Done():
	}
	s.cut()
	if err := s.up.Close(ctx); err != nil {
		s.g.cfg.Log.Warn("a tool server did not close in order", "server", s.def.Name, "err", err)
	}
}

func (s *served) health() ServerHealth {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := ServerHealth{Name: s.def.Name, State: s.state, Reason: s.reason, Since: s.since, Counts: s.up.Counts()}
	if s.offer != nil {
		h.Era, h.Version = string(s.offer.Era), s.offer.Version
		h.Stale = s.state != Ready
	}
	if shelf := s.onShelf; shelf != nil {
		h.Tools, h.Prompts = len(shelf.Lists[catalog.Tools]), len(shelf.Lists[catalog.Prompts])
		h.Resources = len(shelf.Lists[catalog.Resources]) + len(shelf.Lists[catalog.Templates])
		h.Withheld = slices.Clone(shelf.Withheld)
	}
	return h
}

// State is what a server is doing.
type State string

// The states of a server.
const (
	Connecting  State = "connecting"
	Ready       State = "ready"
	Unavailable State = "unavailable" // Reason says why; it is retried in the background
)

// ServerHealth is the state of one server, for health pages.
type ServerHealth struct {
	Name      string
	State     State
	Reason    string   // safe to show to an operator; names no address. With Ready: which lists are not whole
	Era       string   // "legacy" or "modern"; empty until known
	Version   string   // protocol version spoken
	Tools     int      // listed tools
	Resources int      // listed resources and templates
	Prompts   int      // listed prompts
	Withheld  []string // definitions that are not served, each with the reason
	Since     time.Time
	Stale     bool // the lists are of an earlier connection

	upstream.Counts
}

// Health returns the state of every server, by name.
func (g *Gateway) Health() []ServerHealth {
	var out []ServerHealth
	for _, s := range *g.served.Load() {
		out = append(out, s.health())
	}
	slices.SortFunc(out, func(a, b ServerHealth) int { return cmp.Compare(a.Name, b.Name) })
	return out
}
