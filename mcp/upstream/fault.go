package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/sse"
	"github.com/tollgate/tollgate/ledger"
)

// fault makes a Fault that names the server first.
func (c *Config) fault(kind FaultKind, cause error, format string, args ...any) *Fault {
	return &Fault{Kind: kind, Text: "server " + c.Name + " " + fmt.Sprintf(format, args...), Err: cause}
}

// broken says what an error of the transport means for the exchange under ctx: ctx's own error, the gate's own, or a
// fault.
func (c *Config) broken(ctx context.Context, err error) error {
	var netErr net.Error
	var known *Fault
	switch {
	case errors.As(err, &known):
		return known
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, gate.ErrUnreachable):
		return c.fault(Unreachable, err, "cannot be reached")
	case errors.Is(err, errSessionLost), errors.Is(err, gate.ErrNoPermit), errors.Is(err, gate.ErrSpent), errors.Is(err, gate.ErrUnknownUpstream), errors.Is(err, ledger.ErrUnwritable):
		return err
	case errors.Is(err, errTooLarge), errors.Is(err, sse.ErrTooLong):
		return c.fault(TooLarge, err, "sent more than the gateway takes in one answer")
	case errors.As(err, &netErr) && netErr.Timeout():
		return c.fault(Late, err, "did not answer in time")
	}
	return c.fault(Gone, err, "broke the connection before its answer was whole")
}

// asFault makes a *Fault of any error that ends a Discover or Ping.
func (c *Config) asFault(err error) error {
	var f *Fault
	switch {
	case err == nil:
		return nil
	case errors.As(err, &f):
		return f
	case errors.Is(err, context.DeadlineExceeded):
		return c.fault(Late, err, "did not answer in time")
	case errors.Is(err, context.Canceled):
		return c.fault(Gone, err, "was given up")
	}
	return c.fault(Unreachable, err, "could not be asked: the gate refused")
}

// errTooLarge means a body or line went beyond its bound.
var errTooLarge = errors.New("beyond the bound of one answer")
