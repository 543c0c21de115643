package ledger

import (
	"context"

	"github.com/tollgate/tollgate/policy"
)

// Act is something that an operator did to what the gateway keeps, such as reading a payload.
type Act struct {
	Action policy.Action // what was done, such as "payload.read"
	By     string        // who did it, as far as is known: the door he came through
	Source string        // his address; empty: this machine
	About  ID            // the call it is about, if it is about one
	User   string        // the pseudonym of the subject it is about, if it is about one
	Target string        // what it is about else
	Status Status        // how it went: OK, or Failed
	Detail string        // why it was done, or what went wrong; no name of a subject
}

// Record appends an act as an entry of kind admin and waits until it is on disk: what may not happen unseen is recorded
// before it happens.
func (l *Ledger) Record(ctx context.Context, a Act) (ID, error) {
	now := l.cfg.Now()
	d := l.draft()
	defer l.discard(d)
	d.entry = Entry{
		ID: NewID(now), Time: now, Kind: Admin, Parent: a.About, Who: Who{Key: clip(a.By), User: a.User}, Source: clip(a.Source),
		Action: a.Action, Target: clip(a.Target), Status: a.Status, Detail: clip(a.Detail),
	}
	id := d.entry.ID
	if err := l.append(d); err != nil {
		return id, err
	}
	return id, l.Sync(ctx)
}
