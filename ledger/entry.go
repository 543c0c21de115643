package ledger

import (
	"errors"
	"fmt"
	"time"

	"github.com/tollgate/tollgate/ledger/limits"
)

// Hold is what a call reserves before it leaves.
type Hold struct {
	Cost        Nano  // expected cost
	Worst       Nano  // worst case, for hard limits; Unbounded when there is none (a hard money limit then refuses)
	Tokens      int64 // expected tokens
	WorstTokens int64 // worst case; Unbounded when there is none
	PriceList   string
	Prices      map[string]Nano // unit prices per million units (calls: per call) by quantity name, for the entry; shared, not copied
}

// Unbounded marks a worst case that cannot be stated.
const Unbounded = -1

// Usage is what a call is known to have used so far. Each report replaces the one before it.
type Usage struct {
	Cost       Nano
	Quantities Quantities
	Estimated  bool // not the upstream's own figure
}

// Outcome ends a reservation.
type Outcome struct {
	Status  Status
	Code    int // HTTP status or JSON-RPC error code of the upstream; 0: none
	Usage   Usage
	Latency time.Duration
	Detail  string // short, no payload, no secret
	Result  Digest // of the answer; zero: not taken
	Payload string // what is kept of the payload; empty: nothing was captured
}

// Limit is one parsed limit: an amount of a unit in a window.
type Limit = limits.Limit

// Unit is what a limit counts.
type Unit = limits.Unit

// The units of limits.
const (
	UnitUSD        = limits.UnitUSD
	UnitTokens     = limits.UnitTokens
	UnitCalls      = limits.UnitCalls
	UnitConcurrent = limits.UnitConcurrent
)

// ParseLimit parses "50 USD / 1M", "60 requests / 1m", "8 concurrent", with an optional suffix "hard". The error says
// what is expected instead.
func ParseLimit(text string) (Limit, error) { return limits.Parse(text) }

// LimitError is a refusal by a limit. It tells the caller which limit, how much is left and when it frees.
type LimitError struct {
	Limit      string // as written
	Scope      string // "key ci-bot", "team platform", "rule search-rate"
	Unit       Unit
	Left       string // human: "0.0042 USD", "0 requests"
	Needed     string
	RetryAfter time.Duration // when enough is expected to be free; 0: unknown (concurrency)
	Never      bool          // the call can never fit this limit
}

func (e *LimitError) Error() string {
	s := fmt.Sprintf("limit %q of %s: %s left, this call needs %s", e.Limit, e.Scope, e.Left, e.Needed)
	switch {
	case e.Never:
		return s + "; it can never fit: raise the limit or ask for less"
	case e.RetryAfter > 0:
		// Rounded up: whoever obeys it must not be refused again.
		return s + "; retry after " + (e.RetryAfter + time.Second - 1).Truncate(time.Second).String()
	}
	return s + "; retry when a running call ends"
}

// ErrUnwritable means the entry could not be written, so the call must not be made.
var ErrUnwritable = errors.New("ledger cannot write")
