package mcp

import (
	"context"
	"errors"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/front"
	"github.com/tollgate/tollgate/policy"
)

// Subscribe implements front.Backend: a gate.Do around what the server has to be asked for it.
func (b *backend) Subscribe(ctx context.Context, c *front.Call, updated func(params []byte)) (stop func(), err error) {
	g := (*Gateway)(b)
	s, refused := b.enter(c.Entry.Server)
	if refused != nil {
		return nil, refused
	}
	defer s.leave()
	timed, cancel := context.WithTimeout(ctx, s.limit()) // the subscription itself outlives ctx
	defer cancel()
	defer context.AfterFunc(s.life, cancel)()
	call := policy.Call{
		Principal: c.Principal, Action: c.Action, Upstream: c.Entry.Server, Target: c.Entry.Name, Tool: &c.Entry.Tool,
	}
	err = g.cfg.Gate.Do(timed, call, ledger.Hold{}, func(ctx context.Context, p *gate.Permit) error {
		x := exchangeOf(c, p)
		x.Tasks = c.Task != ""
		cancel, a, err := s.up.Subscribe(ctx, x, updated)
		switch {
		case err != nil:
			s.failed(p, err)
			return err
		case a != nil && a.Error != nil:
			p.Done(ledger.Failed, a.Error.Code, "")
			return era.ErrorFor(c.Context, a.Error, c.Entry.Name)
		}
		stop = cancel
		p.Done(ledger.OK, 0, "")
		return nil
	})
	if err == nil {
		return stop, nil
	}
	if stop != nil {
		stop() // the server has it, the ledger has not: nobody may rely on it
	}
	if errors.Is(timed.Err(), context.DeadlineExceeded) && ctx.Err() == nil {
		return nil, s.late()
	}
	_, err = g.answer(c, err)
	return nil, err
}

// Tell implements front.Backend.
func (b *backend) Tell(server, client, method string, params []byte) {
	for name, s := range *b.served.Load() {
		if server == "" || name == server {
			s.up.Tell(client, method, params)
		}
	}
}

// Leave implements front.Backend.
func (b *backend) Leave(client string) {
	for _, s := range *b.served.Load() {
		s.up.Leave(client)
	}
}
