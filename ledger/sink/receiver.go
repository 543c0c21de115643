package sink

import (
	"context"
	"errors"
	"time"

	"github.com/tollgate/tollgate/ledger"
)

// Line is one entry on its way.
type Line struct {
	Entry ledger.Entry
	Text  []byte // in the sink's shape, without a line end; valid until Send returns
}

// Receiver is the open connection to where a sink's entries go. It is used by one goroutine.
type Receiver interface {
	// Send hands over a batch, in order, and returns nil once the receiver has acknowledged all of it. After an error it may
	// have taken all, some or none. A *RefusedError says that what is in the batch will never be taken.
	Send(ctx context.Context, batch []Line) error
	// Close releases the connection.
	Close() error
}

// Whole is a Receiver that turns each batch into one object with a name of its own. A batch that was begun is repeated to
// the last entry, and holds only entries of one part.
type Whole interface {
	Receiver
	// Part names what an entry must share with the others of its batch.
	Part(e *ledger.Entry) string
}

// Opener is the configuration of a Receiver: a value that reflect.DeepEqual can compare, so that a reload leaves alone what
// did not change.
type Opener interface {
	// Open makes the Receiver. It need not reach it: Send may do that.
	Open(ctx context.Context) (Receiver, error)
	// Append appends an entry as one line of what the receiver is sent.
	Append(b []byte, e *ledger.Entry) ([]byte, error)
}

// RefusedError is a refusal for what is in a batch: repeating it is of no use.
type RefusedError struct{ Err error }

func (e *RefusedError) Error() string { return "refused: " + e.Err.Error() }

// Unwrap returns why.
func (e *RefusedError) Unwrap() error { return e.Err }

// BusyError is a failure after which the receiver wants to be left alone for a while.
type BusyError struct {
	After time.Duration
	Err   error
}

func (e *BusyError) Error() string { return e.Err.Error() }

// Unwrap returns what failed.
func (e *BusyError) Unwrap() error { return e.Err }

// errNothingTaken is a receiver that refuses every entry.
var errNothingTaken = errors.New("the receiver refuses every entry, so none is put aside: check how the sink is set up")
