package streamable

import (
	"context"
	"errors"

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
	select {
	case s.discover <- struct{}{}:
		defer func() { <-s.discover }()
	case <-ctx.Done():
		return nil, s.cfg.AsFault(ctx.Err())
	}
	var offer *upstream.Offer
	err := s.cfg.Gate.Do(ctx, s.cfg.Own(policy.ServerDiscover), ledger.Hold{}, func(ctx context.Context, permit *gate.Permit) error {
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
	p, err := wire.Probe(ctx, &s.cfg, s.asker(permit, &wire.Peer{Era: upstream.Modern, Version: wire.ModernVersion}, nil))
	if err != nil {
		return nil, err
	}
	if p == nil {
		s.watch.stop()
		return s.offerLegacy(ctx, permit)
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
	s.peer.Store(p)
	s.watch.start(s, p)
	return o, nil
}

// offerLegacy lists in the gateway's own session, opened if need be, once more if the server has forgotten it.
func (s *Server) offerLegacy(ctx context.Context, permit *gate.Permit) (*upstream.Offer, error) {
	for again := false; ; again = true {
		in, err := s.sessions.take(ctx, "", "")
		if err != nil {
			return nil, err
		}
		o, err := in.peer.Offer(ctx, s.asker(permit, in.peer, in))
		s.sessions.release(in)
		if err == nil {
			s.peer.Store(in.peer)
			return o, nil
		}
		if !errors.Is(err, errSessionLost) {
			return nil, err
		}
		s.sessions.drop(in)
		if again {
			return nil, s.cfg.Fault(upstream.Gone, err, "forgets its sessions as soon as they are open")
		}
	}
}
