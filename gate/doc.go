// Package gate is the one door. Every call to an upstream, from whichever front, is one [Gate.Do]: decide, reserve, do,
// settle.
//
//	err := g.Do(ctx, call, hold, func(ctx context.Context, p *gate.Permit) error {
//		resp, err := g.RoundTrip(p, req.WithContext(ctx)) // waits until the reservation may be answered
//		...
//		_ = p.Charge(usage)      // as it becomes known; past the hold more is reserved, or gate.ErrSpent
//		p.Done(ledger.OK, 200, "")
//		return nil
//	})
//
// Inside Do a [Permit] is the only key to a credential and to the network. It is for one upstream and one target, names
// the call itself, so nothing that was decided is passed a second time, and it dies when Do returns. Whoever needs the
// network asks the gate with a permit; no other package holds a transport, and conformance/house holds that.
//
// # How a call is settled
//
//	nothing left the process               voided
//	a whole answer (Done OK, ToolError)    posted with what was charged; if nothing was, with the hold
//	a whole error (Done Failed)            posted, costs nothing
//	anything else, panics included         posted as cut, with what was charged or the hold, marked estimated
//
// Settling happens exactly once and under no context: a client that hangs up does not stop it. If the process dies the
// reservation stays open in the journal and the next start posts it.
//
// # Children, attempts, own actions
//
// A Do made with the context of another one is its child: it takes over the principal and records the parent's id. Each
// retry or fallback is a Do of its own (policy.Call.Attempt). The gateway's own actions (policy.Action.Own) pass no policy
// and no limits, but have entries like all others.
package gate
