package gate

import (
	"errors"
	"fmt"
	"strings"

	"github.com/tollgate/tollgate/internal/dial"
	"github.com/tollgate/tollgate/ledger"
)

// DeniedError is a refusal by policy. Hidden means: answer exactly as for an unknown name.
type DeniedError struct {
	Rules   []string
	Message string
	Hidden  bool
	Approve bool // an approve rule matched and nobody approved
}

func (e *DeniedError) Error() string {
	switch {
	case e.Message != "":
		return "denied: " + e.Message
	case len(e.Rules) > 0:
		return fmt.Sprintf("denied by %s", strings.Join(e.Rules, ", "))
	}
	return "denied: no rule allows it"
}

var (
	// ErrNoPermit means a credential, connection or transport was asked for without a live permit for that upstream.
	ErrNoPermit = errors.New("gate: no live permit for this upstream")
	// ErrSpent means the call has used up what its limits leave: cut it now.
	ErrSpent = errors.New("gate: limits are used up")
	// ErrUnknownUpstream means the config names no such upstream.
	ErrUnknownUpstream = errors.New("gate: unknown upstream")
	// ErrUnreachable means no connection to the upstream could be made, so nothing was sent.
	ErrUnreachable = errors.New("gate: the upstream cannot be reached")
)

// unreachable wraps a failed dial so that both ErrUnreachable and the dial error are found in it. Its text names no address.
type unreachable struct{ cause *dial.Error }

func (e *unreachable) Error() string        { return "the upstream cannot be reached: " + e.cause.Error() }
func (e *unreachable) Is(target error) bool { return target == ErrUnreachable }
func (e *unreachable) Unwrap() error        { return e.cause }

// reasonOf is the label a failed reservation is counted under.
func reasonOf(err error) string {
	var limit *ledger.LimitError
	if errors.As(err, &limit) {
		return "limit"
	}
	if errors.Is(err, ledger.ErrOffline) {
		return "offline"
	}
	return "ledger"
}
