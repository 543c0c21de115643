package ledger

import "github.com/tollgate/tollgate/policy"

// Deny appends a denied entry. It does not wait for the disk. Calls without a principal add up: the first refusal of a
// source is written at once, those of the minute after it as one further entry with their count.
func (l *Ledger) Deny(c *policy.Call, d *policy.Decision, reason string) error {
	draft := l.draft()
	defer l.discard(draft)
	e := &draft.entry
	if err := l.begin(e, c, d, Denied); err != nil {
		return err
	}
	e.Detail = clip(reason)
	if c.Principal == nil && !l.turned.First(e) {
		return nil
	}
	return l.append(draft)
}
