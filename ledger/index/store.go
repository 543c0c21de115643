package index

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tollgate/tollgate/ledger/journal"
)

// errMoved means that another feed of the same journal has stored entries since: what is known of the database is out of
// date and is to be loaded again.
var errMoved = errors.New("another process feeds this journal to the index")

// UnreachableError says that the index's database does not answer. Calls go on without it; entries wait in the journal.
type UnreachableError struct{ Err error }

func (e *UnreachableError) Error() string {
	return fmt.Sprintf("the index's database does not answer: %v", e.Err)
}

func (e *UnreachableError) Unwrap() error { return e.Err }

// progress is how far a feed has come.
type progress struct {
	position journal.Position
	number   int64 // rows made
	turn     int64 // batches stored: whoever knows another than the database has is out of date
}

// store is the database an index lies in. Reads are safe for concurrent use; load, stored and save are for whoever holds
// Index.feeding.
type store interface {
	dialect() *dialect

	// load reads how far the feed has come.
	load(ctx context.Context) (progress, error)

	// stored is the last sequence of a writer that the database has, from whatever feed; 0: none.
	stored(ctx context.Context, writer string) (uint64, error)

	// save stores a batch and moves the feed from one place to the next in one transaction: whole or not at all. The error
	// errMoved, wrapped, says that the feed or a writer of the batch is not where the batch begins: nothing was stored.
	save(ctx context.Context, b *batch, from, to progress) error

	// beat tells others that all up to a time is stored, where there are others.
	beat(ctx context.Context, through time.Time) error

	// query runs a query whose text has ? for each argument.
	query(ctx context.Context, text string, args ...any) (rows, error)

	// trim removes what is older, a small part at a time: calls before at, and use by hour before hour, but none by day
	// unless before day. It reports whether there is more to remove.
	trim(ctx context.Context, c cut) (more bool, err error)

	// feeds lists the feeds of the database other than this one.
	feeds(ctx context.Context) ([]Feed, error)

	close() error
}

// cut is where trim cuts. Zero fields cut nothing.
type cut struct {
	at   int64 // of calls
	hour int64 // of use by hour
	day  int64 // of use by day, in hours
}

// rows is the answer of a query.
type rows interface {
	Next() bool
	Scan(into ...any) error
	Err() error
	Close()
}

// dialect is where the SQL of the engines differs.
type dialect struct {
	prefix string // of the tables' names
	feed   string // the column that tells apart what two feeds made in one moment; "0" where there is one feed

	// month is an hour's month as a number: 12 for each year, and 0 to 11.
	month string

	// glob is the condition that a text fits a pattern, in which * stands for any text, and the pattern as it takes it.
	glob func(expression, pattern string) (condition, argument string)

	// text is a text as the engine can store it.
	text func(string) string

	// id is an id as the engine takes it.
	id func([16]byte) any

	// ofTrace is the condition that a call is of a trace, and its arguments.
	ofTrace func(trace [16]byte) (condition string, args []any)

	// ofLanes lists the places of calls of several lanes, at most some of each: conditions, order and limit are filled in.
	// lanesAtOnce is how many it takes, as the argument that laneArgument makes of them.
	ofLanes      string
	lanesAtOnce  int
	laneArgument func([]int64) any

	// ofPlaces reads calls by their places, whose arguments placeArguments makes.
	ofPlaces       func(n int) string
	placeArguments func([]place) []any
}

// order sorts by time, or the latest first.
func (d *dialect) order(oldestFirst bool) string {
	way := " DESC"
	if oldestFirst {
		way = " ASC"
	}
	if d.feed == "0" {
		return "at" + way
	}
	return "at" + way + ", " + d.feed + way
}

// beyond is the condition that a call comes after a place in that order.
func (d *dialect) beyond(p place, oldestFirst bool) (string, []any) {
	sign := "<"
	if oldestFirst {
		sign = ">"
	}
	if d.feed == "0" {
		return "at " + sign + " ?", []any{p.at}
	}
	// The first part is for the choice of partitions.
	return fmt.Sprintf("at %s= ? AND (at, %s) %s (?, ?)", sign, d.feed, sign), []any{p.at, p.at, p.feed}
}

// place is where a call stands: all calls are in the order of their places.
type place struct{ at, feed int64 }

func (p place) compare(q place) int {
	switch {
	case p.at < q.at || p.at == q.at && p.feed < q.feed:
		return -1
	case p == q:
		return 0
	}
	return 1
}

// where is a condition under construction.
type where struct {
	dialect *dialect
	text    []string
	args    []any
}

func (w *where) and(condition string, args ...any) {
	w.text = append(w.text, condition)
	w.args = append(w.args, args...)
}

func (w *where) String() string {
	if len(w.text) == 0 {
		return ""
	}
	return " WHERE " + strings.Join(w.text, " AND ")
}

// match restricts an expression of text, when there is something to restrict it to.
func (w *where) match(expression, text string) {
	if text == "" {
		return
	}
	condition, argument := w.dialect.matches(expression, text)
	w.and(condition, argument)
}

// matches is the condition that an expression is text, or fits it when it has a *.
func (d *dialect) matches(expression, text string) (condition, argument string) {
	text = d.text(text)
	if strings.Contains(text, "*") {
		return d.glob(expression, text)
	}
	return expression + " = ?", text
}
