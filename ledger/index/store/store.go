package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tollgate/tollgate/ledger/journal"
)

// ErrMoved means that another feed of the same journal has stored entries since: what is known of the database is out of
// date and is to be loaded again.
var ErrMoved = errors.New("another process feeds this journal to the index")

// UnreachableError says that the index's database does not answer. Calls go on without it; entries wait in the journal.
type UnreachableError struct{ Err error }

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("the index's database does not answer: %v", e.Err)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// Progress is how far a feed has come.
type Progress struct {
	Position journal.Position
	Number   int64 // rows made
	Turn     int64 // batches stored: whoever knows another than the database has is out of date
}

// Feed is how far the entries of one replica are in the index.
type Feed struct {
	Replica string    `json:"replica,omitempty"` // empty: the only one
	Through time.Time `json:"through"`           // its entries up to then are stored, as of Seen
	Seen    time.Time `json:"seen"`              // when it said so
	Lag     float64   `json:"lag_seconds"`       // how long before now Through is
	Failing bool      `json:"failing,omitempty"` // it cannot store now
}

// Engine is the database an index lies in. Query, Trim and Feeds are safe for concurrent use; the other methods are for one
// goroutine at a time.
type Engine interface {
	// Dialect is how the engine's SQL differs.
	Dialect() *Dialect

	// Load reads how far the feed has come.
	Load(ctx context.Context) (Progress, error)

	// Stored is the last sequence of a writer that the database has, from whatever feed; 0: none.
	Stored(ctx context.Context, writer string) (uint64, error)

	// Save stores a batch and moves the feed from one place to the next in one transaction: whole or not at all. The error
	// ErrMoved, wrapped, says that the feed or a writer of the batch is not where the batch begins: nothing was stored.
	// After any other error it may have been stored all the same: Load tells.
	Save(ctx context.Context, b *Batch, from, to Progress) error

	// Beat tells others that all up to a time is stored, where there are others.
	Beat(ctx context.Context, through time.Time) error

	// Query runs a query whose text has ? for each argument.
	Query(ctx context.Context, text string, args ...any) (Rows, error)

	// Trim removes what is older, a small part at a time, and reports whether there is more to remove.
	Trim(ctx context.Context, c Cut) (more bool, err error)

	// Feeds lists the feeds of the database, this one first, without what only their processes know.
	Feeds(ctx context.Context) ([]Feed, error)

	// Close ends what the engine has opened itself.
	Close() error
}

// Cut is where Trim cuts. Zero fields cut nothing.
type Cut struct {
	At   int64 // of calls
	Hour int64 // of use by hour
	Day  int64 // of use by day, in hours
}

// Rows is the answer of a query.
type Rows interface {
	Next() bool
	Scan(into ...any) error
	Err() error
	Close()
}

// Dialect is where the SQL of the engines differs.
type Dialect struct {
	Prefix string // of the tables' names
	Feed   string // the column that tells apart what two feeds made in one moment; "0" where there is one feed

	// Month is an hour's month as a number: 12 for each year, and 0 to 11.
	Month string

	// Glob is the condition that a text fits a pattern, in which * stands for any text, and the pattern as it takes it.
	Glob func(expression, pattern string) (condition, argument string)

	// Text is a text as the engine can store it.
	Text func(string) string

	// ID is an id as the engine takes it.
	ID func([16]byte) any

	// OfTrace is the condition that a call is of a trace, and its arguments.
	OfTrace func(trace [16]byte) (condition string, args []any)

	// Indexes are named behind the table where the engine has to be told which to take.
	Indexes Indexes

	// OfLanes lists the places of calls of several lanes, at most some of each: index, conditions, order and limit are filled in.
	// LanesAtOnce is how many it takes, as the argument that LaneArgument makes of them.
	OfLanes      string
	LanesAtOnce  int
	LaneArgument func([]int64) any

	// OfPlaces reads calls by their places, whose arguments PlaceArguments makes.
	OfPlaces       func(n int) string
	PlaceArguments func([]Place) []any
}

// Indexes name the indexes of calls: by lane, of those that did not simply go well, of both, and of those under way.
type Indexes struct{ Lane, Unlike, UnlikeLane, Open string }

// Open is the condition that a call is under way, as the index of those has it.
const Open = "kind = 2"

// Unlike is the condition that a call did not simply go well, as the index of those calls has it: they are few.
const Unlike = "(kind <> 3 OR outcome <> 'ok')"

// Marks is n places for arguments.
func Marks(n int) string { return strings.TrimSuffix(strings.Repeat("?, ", n), ", ") }

// Order sorts by time, the latest or the oldest first.
func (d *Dialect) Order(oldestFirst bool) string {
	way := " DESC"
	if oldestFirst {
		way = " ASC"
	}
	if d.Feed == "0" {
		return "at" + way
	}
	return "at" + way + ", " + d.Feed + way
}

// Beyond is the condition that a call comes after a place in that order.
func (d *Dialect) Beyond(p Place, oldestFirst bool) (condition string, args []any) {
	sign := "<"
	if oldestFirst {
		sign = ">"
	}
	if d.Feed == "0" {
		return "at " + sign + " ?", []any{p.At}
	}
	// The first part is for the choice of partitions.
	return fmt.Sprintf("at %s= ? AND (at, %s) %s (?, ?)", sign, d.Feed, sign), []any{p.At, p.At, p.Feed}
}

// Matches is the condition that an expression is text, or fits it when it has a *.
func (d *Dialect) Matches(expression, text string) (condition, argument string) {
	text = d.Text(text)
	if strings.Contains(text, "*") {
		return d.Glob(expression, text)
	}
	return expression + " = ?", text
}

// Place is where a call stands: all calls are in the order of their places.
type Place struct{ At, Feed int64 }

// Compare is -1, 0 or 1 as p stands before, at or after q.
func (p Place) Compare(q Place) int {
	switch {
	case p.At < q.At || p.At == q.At && p.Feed < q.Feed:
		return -1
	case p == q:
		return 0
	}
	return 1
}
