package mcp

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate/tollgate/mcp/catalog"
	"github.com/tollgate/tollgate/mcp/front"
	"github.com/tollgate/tollgate/mcp/seal"
	"github.com/tollgate/tollgate/mcp/upstream"
)

const (
	drainWithin  = 30 * time.Second // the grace of calls in flight on a server that is removed or changed
	settleWithin = 5 * time.Second  // for calls that were cut to be written down: they have nothing else to do
)

// Gateway serves MCP to agents and calls the servers behind it. All methods are safe for concurrent use.
type Gateway struct {
	cfg   Config
	dial  func(upstream.Config) (upstream.Server, error)
	front *front.Front

	unmeter func() error // ends what Config.Meter tells of the servers

	// served, catalog and changed are replaced together under mu and read without it.
	mu       sync.Mutex
	profiles map[string][]string
	served   atomic.Pointer[map[string]*served]
	catalog  atomic.Pointer[catalog.Catalog]
	changed  atomic.Pointer[chan struct{}]

	inFlight sync.WaitGroup // calls
	drains   sync.WaitGroup // servers on their way out
	closeMu  sync.RWMutex   // guards closed against calls that begin
	closed   bool
}

// New makes a Gateway and begins to connect its servers in the background; it does not wait for them. It refuses a
// Config without gate or authenticator, and servers or profiles whose names collide or break the rules.
func New(cfg Config) (*Gateway, error) { return newGateway(cfg, dial) }

func newGateway(cfg Config, dial func(upstream.Config) (upstream.Server, error)) (*Gateway, error) {
	if cfg.Gate == nil || cfg.Auth == nil {
		return nil, errors.New("mcp: Config needs Gate and Auth")
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.CallTimeout == 0 {
		cfg.CallTimeout = callTimeout
	}
	if cfg.SealKey == nil {
		cfg.SealKey = make([]byte, seal.KeyBytes)
		_, _ = rand.Read(cfg.SealKey)
	}
	sealer, err := seal.New(cfg.SealKey)
	if err != nil {
		return nil, fmt.Errorf("mcp: %w", err)
	}
	g := &Gateway{cfg: cfg, dial: dial}
	g.served.Store(&map[string]*served{})
	g.changed.Store(new(make(chan struct{})))
	g.front = front.New(front.Config{Auth: cfg.Auth, Backend: (*backend)(g), Guard: cfg.Guard, Log: cfg.Log, Version: cfg.Version, Sealer: sealer, Peers: cfg.Peers})
	if g.unmeter, err = g.watchServers(cfg.Meter); err != nil {
		return nil, err
	}
	if err := g.Reload(cfg.Servers, cfg.Profiles); err != nil {
		return nil, errors.Join(err, g.unmeter())
	}
	return g, nil
}

// Handler serves /mcp and /mcp/{name}, and /sse and /sse/{name} for clients of 2024-11-05.
func (g *Gateway) Handler() http.Handler { return g.front }

// Stdio serves /stdio and /stdio/{name}: a POST is one client, its body what the client writes to its standard output and
// the response what it reads, a message per line, of both eras. It belongs on a socket that only the owner can open.
func (g *Gateway) Stdio() http.Handler { return g.front.Stdio() }

// Drain ends the streams that only wait for something to tell, so that a listener can be shut down before Close. Calls in
// flight go on.
func (g *Gateway) Drain() { g.front.Drain() }

// Reload replaces servers and profiles, all or nothing. Servers whose definition is unchanged keep their connections;
// calls in flight on removed ones are finished within their grace.
func (g *Gateway) Reload(servers []Server, profiles []Profile) error {
	if err := validate(servers, profiles); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.isClosed() {
		return errors.New("mcp: the gateway is closed")
	}
	old := *g.served.Load()
	next := make(map[string]*served, len(servers))
	var fresh []*served
	for _, def := range servers {
		if s := old[def.Name]; s != nil && reflect.DeepEqual(s.def, def) {
			next[def.Name] = s
			continue
		}
		s, err := g.newServed(def)
		if err != nil {
			return err // nothing of the new ones has been started
		}
		next[def.Name] = s
		fresh = append(fresh, s)
	}
	g.profiles = map[string][]string{}
	for _, p := range profiles {
		g.profiles[p.Name] = p.Servers
	}
	g.served.Store(&next)
	for _, s := range fresh {
		s.start()
	}
	for name, s := range old {
		if next[name] != s {
			g.retire(s)
		}
	}
	g.publish()
	return nil
}

// retire stops a server once its calls have ended or their grace has.
func (g *Gateway) retire(s *served) {
	g.drains.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), drainWithin)
		defer cancel()
		s.stop(ctx)
	})
}

// rebuild makes the catalog anew after a server's offer has changed.
func (g *Gateway) rebuild() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.publish()
}

// publish makes the catalog of what is known now and tells those who watch. Holding mu.
func (g *Gateway) publish() {
	all := *g.served.Load()
	shelves := map[string]*catalog.Shelf{}
	for name, s := range all {
		if shelf := s.shelf(); shelf != nil {
			shelves[name] = shelf
		}
	}
	g.catalog.Store(catalog.New(slices.Sorted(maps.Keys(all)), shelves, g.profiles))
	close(*g.changed.Swap(new(make(chan struct{}))))
}

func (g *Gateway) isClosed() bool {
	g.closeMu.RLock()
	defer g.closeMu.RUnlock()
	return g.closed
}

// enter counts a call in; false: the gateway is closing. A call that has entered must leave by inFlight.Done.
func (g *Gateway) enter() bool {
	g.closeMu.RLock()
	defer g.closeMu.RUnlock()
	if g.closed {
		return false
	}
	g.inFlight.Add(1)
	return true
}

// Close refuses new calls, waits for those in flight until ctx ends, then cuts them, closes sessions and stops every child.
// What was cut is settled when it returns, so that the ledger can be closed.
func (g *Gateway) Close(ctx context.Context) error {
	g.closeMu.Lock()
	already := g.closed
	g.closed = true
	g.closeMu.Unlock()
	if already {
		return nil
	}
	g.front.Drain()
	drained := make(chan struct{})
	go func() {
		g.inFlight.Wait()
		close(drained)
	}()
	var err error
	select {
	case <-drained:
	case <-ctx.Done():
		err = errors.New("mcp: calls in flight were cut")
	}
	g.front.Close()
	g.mu.Lock()
	all := *g.served.Swap(&map[string]*served{})
	g.mu.Unlock()
	for _, s := range all {
		g.drains.Go(func() { s.stop(ctx) })
	}
	g.drains.Wait()
	select {
	case <-drained:
	case <-time.After(settleWithin):
	}
	return errors.Join(err, g.unmeter())
}
