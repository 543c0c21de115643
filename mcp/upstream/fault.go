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

// Fault makes a Fault that names the server first.
func (c *Config) Fault(kind FaultKind, cause error, format string, args ...any) *Fault {
	return &Fault{Kind: kind, Text: "server " + c.Name + " " + fmt.Sprintf(format, args...), Err: cause}
}

// Broken says what an error of the transport means for the exchange under ctx: ctx's own error, the gate's own, or a
// fault.
func (c *Config) Broken(ctx context.Context, err error) error {
	var netErr net.Error
	var known *Fault
	switch {
	case errors.As(err, &known):
		return known
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, gate.ErrUnreachable):
		return c.Fault(Unreachable, err, "cannot be reached")
	case errors.Is(err, gate.ErrNoPermit), errors.Is(err, gate.ErrSpent), errors.Is(err, gate.ErrUnknownUpstream), errors.Is(err, ledger.ErrUnwritable),
		errors.Is(err, ledger.ErrOffline):
		return err
	case errors.Is(err, ErrTooLarge), errors.Is(err, sse.ErrTooLong):
		return c.Fault(TooLarge, err, "sent more than the gateway takes in one answer")
	case errors.As(err, &netErr) && netErr.Timeout():
		return c.Fault(Late, err, "did not answer in time")
	}
	return c.Fault(Gone, err, "broke the connection before its answer was whole")
}

// AsFault makes a *Fault of any error that ends a Discover or Ping.
func (c *Config) AsFault(err error) error {
	var f *Fault
	switch {
	case err == nil:
		return nil
	case errors.As(err, &f):
		return f
	case errors.Is(err, context.DeadlineExceeded):
		return c.Fault(Late, err, "did not answer in time")
	case errors.Is(err, context.Canceled):
		return c.Fault(Gone, err, "was given up")
	}
	return c.Fault(Unreachable, err, "could not be asked: the gate refused")
}

// ErrTooLarge means a body or line went beyond its bound.
var ErrTooLarge = errors.New("beyond the bound of one answer")
