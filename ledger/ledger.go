package ledger

import (
	"context"
	"errors"
	"time"

	"github.com/tollgate/tollgate/policy"
)

// Durability says when an entry must be on disk.
type Durability string

// See DESIGN: overlap lets the call leave at once and holds its answer until the group is synced.
const (
	Overlap Durability = "overlap"
	Strict  Durability = "strict"
	Relaxed Durability = "relaxed"
)

// Config opens a ledger.
type Config struct {
	Dir        string
	Durability Durability
	Location   *time.Location // of calendar windows
	DigestKey  []byte         // keys the argument digests
	Now        func() time.Time
}

// Level is where on a principal's path a limit is attached.
type Level string

// The levels, outermost first. RuleLevel is for limits laid by policy.
const (
	CustomerLevel Level = "customer"
	TeamLevel     Level = "team"
	KeyLevel      Level = "key" // Name is the KeyID
	UserLevel     Level = "user"
	RuleLevel     Level = "rule"
)

// Scope names what a limit is attached to.
type Scope struct {
	Level Level
	Name  string
}

// Limit is one parsed limit: amount, unit, window.
type Limit struct {
	Text string // as written
	On   []string
}

// ParseLimit parses "50 USD / 1M", "60 requests / 1m", "8 concurrent", with an optional suffix "hard".
func ParseLimit(text string) (Limit, error) { return Limit{}, errors.New("ledger: not built yet") }

// Ledger is one process's ledger. All methods are safe for concurrent use.
type Ledger struct{}

// Open recovers the journal in cfg.Dir (cuts a torn tail, posts open reservations as Interrupted) and starts a new writer.
func Open(cfg Config) (*Ledger, error) { return nil, errors.New("ledger: not built yet") }

// Close syncs and closes. Reservations still open are left to the next start.
func (l *Ledger) Close() error { return nil }

// SetLimits replaces all attached limits. Balances are untouched: they derive from entries.
func (l *Ledger) SetLimits(limits map[Scope][]Limit) {}

// Reserve checks every limit on the call's path and appends a reserved entry in one step. It returns a *LimitError, or
// an error wrapping ErrUnwritable; then the call must not be made. With Strict it returns once the entry is on disk.
// A refusal by a limit is itself appended as a denied entry.
func (l *Ledger) Reserve(ctx context.Context, c *policy.Call, d *policy.Decision, h Hold) (*Reservation, error) {
	return nil, ErrUnwritable
}

// Deny appends a denied entry. It does not wait for the disk.
func (l *Ledger) Deny(c *policy.Call, d *policy.Decision, reason string) error { return ErrUnwritable }

// Spend reads what the principal's key, team and customer have spent or hold.
func (l *Ledger) Spend(p *policy.Principal, now time.Time) policy.Spend { return policy.Spend{} }

// Reservation is an open hold. Exactly one of Post and Void ends it; a second end is an error and writes nothing.
type Reservation struct{}

// ID is the reserved entry's id, which is the call's.
func (r *Reservation) ID() string { return "" }

// Synced returns when the reserved entry is on disk (at once with Strict and Relaxed).
func (r *Reservation) Synced(ctx context.Context) error { return nil }

// Extend reserves more money and tokens for the same call by a further entry; a *LimitError means the call must be cut.
func (r *Reservation) Extend(cost Nano, tokens int64) error { return nil }

// Post ends the reservation with what the call cost.
func (r *Reservation) Post(o Outcome) error { return nil }

// Void ends the reservation of a call that never left.
func (r *Reservation) Void(o Outcome) error { return nil }
