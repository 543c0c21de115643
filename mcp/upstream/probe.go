package upstream

import (
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/policy"
)

// verdict is what the answer to server/discover says about a server's era.
type verdict int

const (
	isModern verdict = iota
	isLegacy
	askAgain // modern, but it did not mean this request's version
	noServer // nothing answers, or it wants other credentials: no era can help
)

// judge reads the answer to server/discover, over HTTP or a pipe. hello is what a modern server said of itself.
//
// Only the codes that the modern revision mints, and a 404 that says the method is unknown, keep a server modern. A result
// is no proof: some servers answer it and then speak legacy versions only.
func judge(a *Answer, err error) (v verdict, hello *peer) {
	if err != nil {
		var f *Fault
		if errors.As(err, &f) && f.Kind == Unreachable && (f.HTTP == 0 || f.HTTP == http.StatusUnauthorized || f.HTTP == http.StatusForbidden) {
			return noServer, nil
		}
		return isLegacy, nil
	}
	if e := a.Error; e != nil {
		switch {
		case e.Code == codeVersion && slices.Contains(supported(e), modernVersion):
			return askAgain, nil
		case e.Code == codeVersion:
			return isLegacy, nil
		case e.Code == codeHeaderMismatch, e.Code == codeCapability, e.Code == codeMethod && e.HTTP == http.StatusNotFound:
			return isModern, nil
		}
		return isLegacy, nil
	}
	hello, err = readDiscover(a.Result)
	if err != nil || !slices.Contains(hello.versions, modernVersion) {
		return isLegacy, nil
	}
	return isModern, hello
}

// modernUnknown is a modern server that does not say what it has: each list is tried.
func modernUnknown() *peer {
	return &peer{era: Modern, version: modernVersion, capabilities: []byte("{}"), tools: true, resources: true, prompts: true}
}

// probe asks for server/discover, by do, and returns a modern server's peer, or nil for a legacy one.
func (c *Config) probe(ctx context.Context, do ask) (*peer, error) {
	if c.Era == Legacy {
		return nil, nil
	}
	for range 2 {
		a, err := c.probeOnce(ctx, do)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		v, hello := judge(a, err)
		switch {
		case v == askAgain:
			continue
		case v == noServer:
			return nil, err
		case v == isModern && hello == nil:
			return modernUnknown(), nil
		case v == isModern:
			return hello, nil
		}
		break
	}
	if c.Era == Modern {
		return nil, c.fault(Garbage, nil, "does not speak protocol version %s, which its era in the config demands", modernVersion)
	}
	return nil, nil
}

func (c *Config) probeOnce(ctx context.Context, do ask) (*Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	return do(ctx, "server/discover", nil)
}

// Discover implements Server.
func (s *httpServer) Discover(ctx context.Context) (*Offer, error) {
	ctx, cancel := context.WithTimeout(ctx, discoverTimeout)
	defer cancel()
	select {
	case s.discover <- struct{}{}:
		defer func() { <-s.discover }()
	case <-ctx.Done():
		return nil, s.cfg.asFault(ctx.Err())
	}
	var offer *Offer
	err := s.cfg.Gate.Do(ctx, s.cfg.own(policy.ServerDiscover), ledger.Hold{}, func(ctx context.Context, permit *gate.Permit) error {
		var err error
		offer, err = s.offer(ctx, permit)
		if err == nil {
			permit.Done(ledger.OK, 0, "")
		}
		return err
	})
	if err != nil {
		return nil, s.cfg.asFault(err)
	}
	return offer, nil
}

// offer lists in the session that is open, if one is, and else settles the era first.
func (s *httpServer) offer(ctx context.Context, permit *gate.Permit) (*Offer, error) {
	if p := s.peer.Load(); p != nil && p.era == Legacy {
		if o, err := s.offerLegacy(ctx, permit); err == nil || ctx.Err() != nil {
			return o, err
		}
	}
	p, err := s.cfg.probe(ctx, s.asker(permit, &peer{era: Modern, version: modernVersion}, nil))
	if err != nil {
		return nil, err
	}
	if p == nil {
		s.watch.stop()
		return s.offerLegacy(ctx, permit)
	}
	o, err := p.offer(ctx, s.asker(permit, p, nil))
	if err != nil {
		return nil, err
	}
	tools, headers, dropped := sortTools(o.Tools)
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
func (s *httpServer) offerLegacy(ctx context.Context, permit *gate.Permit) (*Offer, error) {
	for again := false; ; again = true {
		in, err := s.sessions.take(ctx, "", "")
		if err != nil {
			return nil, err
		}
		o, err := in.peer.offer(ctx, s.asker(permit, in.peer, in))
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
			return nil, s.cfg.fault(Gone, err, "forgets its sessions as soon as they are open")
		}
	}
}
