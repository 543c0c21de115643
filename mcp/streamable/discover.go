package streamable

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/mcp/wire"
	"github.com/tollgate/tollgate/policy"
)

// Discover implements Server.
func (s *Server) Discover(ctx context.Context) (*upstream.Offer, error) {
	ctx, cancel := context.WithTimeout(ctx, discoverTimeout)
	defer cancel()
	release, err := hold(ctx, s.discover)
	if err != nil {
		return nil, s.cfg.AsFault(err)
	}
	defer release()
	var offer *upstream.Offer
	err = s.cfg.Gate.Do(ctx, s.cfg.Own(policy.ServerDiscover), ledger.Hold{}, func(ctx context.Context, permit *gate.Permit) error {
		var err error
		offer, err = s.offer(ctx, permit)
		if err == nil {
			permit.Done(ledger.OK, 0, "")
		}
		return err
	})
	if err != nil {
		return nil, s.cfg.AsFault(err)
	}
	return offer, nil
}

// offer lists in the session that is open, if one is, and else settles the era first.
func (s *Server) offer(ctx context.Context, permit *gate.Permit) (*upstream.Offer, error) {
	if p := s.peer.Load(); p != nil && p.Era == upstream.Legacy {
		if o, err := s.offerLegacy(ctx, permit); err == nil || ctx.Err() != nil {
			return o, err
		}
	}
	p, err := s.settle(ctx, permit)
	switch {
	case err != nil:
		return nil, err
	case p.Era == upstream.Legacy:
		o, err := s.offerLegacy(ctx, permit)
		if errors.Is(err, errSessionLost) {
			return nil, s.cfg.Fault(upstream.Gone, err, "forgets its sessions as soon as they are open")
		}
		return o, err
	}
	o, err := p.Offer(ctx, s.asker(permit, p, nil))
	if err != nil {
		return nil, err
	}
	tools, headers, dropped := wire.SortTools(o.Tools)
	if len(dropped) > 0 {
		s.cfg.Log.Warn("tools with invalid x-mcp-header annotations are left out", "server", s.cfg.Name, "tools", dropped)
	}
	o.Tools = tools
	s.headers.Store(&headers)
	return o, nil
}

// offerLegacy lists in the gateway's own session, opened if need be.
func (s *Server) offerLegacy(ctx context.Context, permit *gate.Permit) (*upstream.Offer, error) {
	in, err := s.sessions.take(ctx, sessionKey{}, "", nil)
	if err != nil {
		return nil, err
	}
	o, err := in.peer.Offer(ctx, s.asker(permit, in.peer, in))
	s.sessions.release(in)
	if errors.Is(err, errSessionLost) {
		s.sessions.drop(in)
		s.reconnects.Add(1)
	}
	return o, err
}

// settle finds out the era of the server and opens what the gateway keeps with one of it: the own session of a legacy
// one, the subscription of a modern one. The discover token is held.
func (s *Server) settle(ctx context.Context, permit *gate.Permit) (*wire.Peer, error) {
	p, err := wire.Probe(ctx, &s.cfg, s.asker(permit, &wire.Peer{Era: upstream.Modern, Version: wire.ModernVersion}, nil))
	if err != nil {
		return nil, err
	}
	if p != nil {
		s.sessions.leaveAll()
		s.peer.Store(p)
		s.watch.start(s, p)
		return p, nil
	}
	s.watch.stop()
	in, err := s.sessions.take(ctx, sessionKey{}, "", nil)
	if err != nil {
		return nil, err
	}
	s.sessions.release(in)
	s.peer.Store(in.peer)
	return in.peer, nil
}

// resettleApart is the least time between two calls that have the era settled anew, in vain.
const resettleApart = time.Second

// resettle settles the era anew for a call whose server does not seem to speak as known any more. It returns what is
// known then; nil: it cannot be settled now.
func (s *Server) resettle(ctx context.Context, known *wire.Peer) *wire.Peer {
	release, err := hold(ctx, s.discover)
	if err != nil {
		return nil
	}
	defer release()
	if now := s.peer.Load(); now.Era != known.Era || time.Since(s.vain) < resettleApart {
		return now // as another call found it
	}
	var p *wire.Peer
	// Why it could not be settled is found again, and told, by the next Discover.
	_ = s.cfg.Gate.Do(ctx, s.cfg.Own(policy.ServerDiscover), ledger.Hold{}, func(ctx context.Context, permit *gate.Permit) error {
		if p, err = s.settle(ctx, permit); err == nil {
			permit.Done(ledger.OK, 0, "")
		}
		return err
	})
	if p == nil || p.Era == known.Era {
		s.vain = time.Now()
		return p
	}
	s.cfg.Heard(upstream.Lost) // its lists are others, too
	return p
}

// leftModern reports whether an answer shows that the server does not speak the modern era any more, and has not acted on
// the request: it names other versions, misses a session, or has no such endpoint.
func leftModern(a *upstream.Answer, err error) bool {
	if err != nil || a.Error == nil {
		return turnedAway(err)
	}
	switch e := a.Error; e.HTTP {
	case http.StatusBadRequest:
		return e.Code == wire.CodeNoSession || e.Code == wire.CodeVersion && !slices.Contains(wire.Supported(e), wire.ModernVersion)
	case http.StatusNotFound:
		return e.Code == wire.CodeSessionNotFound
	}
	return false
}

// leftLegacy reports whether an answer shows that the server speaks the modern era now, and has not acted on the request:
// it demands what that has.
func leftLegacy(a *upstream.Answer, err error) bool {
	if err != nil || a.Error == nil {
		return turnedAway(err)
	}
	e := a.Error
	return e.HTTP == http.StatusBadRequest && (e.Code == wire.CodeVersion || e.Code == wire.CodeHeaderMismatch)
}

// turnedAway reports whether err is an HTTP status that says that there is no such endpoint.
func turnedAway(err error) bool {
	f, ok := errors.AsType[*upstream.Fault](err)
	if !ok || f.Kind != upstream.Unreachable {
		return false
	}
	return f.HTTP == http.StatusBadRequest || f.HTTP == http.StatusNotFound || f.HTTP == http.StatusMethodNotAllowed
}
