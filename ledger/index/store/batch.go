package store

import (
	"time"

	"github.com/tollgate/tollgate/ledger"
)

// numberBits are the low bits of at, which tell apart what happened in one millisecond.
const numberBits = 20

func atOf(t time.Time, number int64) int64 {
	return t.UnixMilli()<<numberBits | number&(1<<numberBits-1)
}

// AtFrom is the lowest at of what happened at t or later.
func AtFrom(t time.Time) int64 { return t.UnixMilli() << numberBits }

// BlockBits are the low bits of a call's number within its block.
const BlockBits = 12

// TimeOf is the time that an at is of, to the millisecond.
func TimeOf(at int64) time.Time { return time.UnixMilli(at >> numberBits) }

// Lane is whose a call is and where it went: a row of the table of that name.
type Lane struct {
	customer, team, key, keyID, user, action, upstream, target string
}

// LanesMax bounds the lanes whose numbers an engine remembers: targets such as resource addresses are without number.
const LanesMax = 16384

// LaneOf is the lane of an entry.
func LaneOf(e *ledger.Entry) Lane {
	return Lane{e.Who.Customer, e.Who.Team, e.Who.Key, e.Who.KeyID, e.Who.User, string(e.Action), e.Upstream, e.Target}
}

// Who is the lane with only its principal, what the one with only where it went. Use is summed up by them, too.
func (l *Lane) Who() Lane {
	return Lane{customer: l.customer, team: l.team, key: l.key, keyID: l.keyID, user: l.user}
}

// What is the lane with only where it went. Use is summed up by that, too.
func (l *Lane) What() Lane { return Lane{action: l.action, upstream: l.upstream, target: l.target} }

// Fields are the columns of the table lanes, in their order.
func (l *Lane) Fields() [8]string {
	return [...]string{l.customer, l.team, l.key, l.keyID, l.user, l.action, l.upstream, l.target}
}

// Map is l with each of its texts changed.
func (l *Lane) Map(change func(string) string) Lane {
	return Lane{
		change(l.customer), change(l.team), change(l.key), change(l.keyID), change(l.user),
		change(l.action), change(l.upstream), change(l.target),
	}
}

// Batch is what one transaction stores. Storing does not change it, so a transaction may be tried again.
type Batch struct {
	Number  int64 // rows made by this feed so far, with those of the batch
	Size    int   // entries read, with those that were stored before
	Rows    []Row
	open    map[ledger.ID]int // reservations of this batch that are open, by their place in rows
	Ends    []Following       // of reservations stored before
	later   map[ledger.ID]int // ends by their call
	usage   map[usageKey]*Use
	Writers []Span
	Last    time.Time // of the last entry
}

// Span is the entries of one writer in a batch: after seq from, up to seq to.
type Span struct {
	Writer   string
	From, To uint64
}

// Row is a call, or an entry that is not about one.
type Row struct {
	At       int64
	Block    int64
	ID       ledger.ID
	Lane     Lane
	Trace    ledger.TraceID
	Parent   ledger.ID
	Kind     ledger.Kind   // of the last entry
	Outcome  ledger.Status // of the last
	Payloads []byte
}

// Following is what comes after the reservation of one call: extensions, an end, or both.
type Following struct {
	First    Row           // what it is stored as when its reservation is in the index no more
	End      *ledger.Entry // nil: the call is still under way
	Kind     ledger.Kind   // of the last
	Outcome  ledger.Status // of the last
	Payloads []byte
}

// NewBatch returns an empty batch.
func NewBatch() Batch {
	return Batch{open: map[ledger.ID]int{}, later: map[ledger.ID]int{}, usage: map[usageKey]*Use{}}
}

// Reset empties the batch; rows are numbered on from number.
func (b *Batch) Reset(number int64) {
	clear(b.Rows) // and let go of what they hold
	clear(b.Ends)
	clear(b.open)
	clear(b.later)
	clear(b.usage)
	*b = Batch{
		Number: number, Rows: b.Rows[:0], Ends: b.Ends[:0], open: b.open, later: b.later, usage: b.usage, Writers: b.Writers[:0],
	}
}

// Add takes an entry and its journal payload, of which it keeps nothing. stored is the last sequence of the entry's writer
// that the database has; what it has is left out.
func (b *Batch) Add(e *ledger.Entry, wire []byte, stored uint64) {
	b.Size++
	b.Last = e.Time
	if e.Seq <= stored {
		return
	}
	if n := len(b.Writers); n == 0 || b.Writers[n-1].Writer != e.Writer {
		b.Writers = append(b.Writers, Span{e.Writer, stored, e.Seq})
	}
	b.Writers[len(b.Writers)-1].To = e.Seq
	if e.Ends() || e.Extends() {
		b.follow(e, wire)
		return
	}
	b.Number++
	b.Rows = append(b.Rows, b.rowOf(e, payload(nil, e, wire)))
	switch e.Kind {
	case ledger.Reserved:
		b.open[e.ID] = len(b.Rows) - 1
	case ledger.Denied:
		use(b.usage, HourOf(e.Time), e)
	}
}

func (b *Batch) rowOf(e *ledger.Entry, payloads []byte) Row {
	return Row{
		At: atOf(e.Time, b.Number), Block: b.Number >> BlockBits, ID: e.Call(), Lane: LaneOf(e), Trace: e.Trace, Parent: e.Parent,
		Kind: e.Kind, Outcome: e.Status, Payloads: payloads,
	}
}

// follow takes an end or an extension: into the row of its reservation when the batch has it.
func (b *Batch) follow(e *ledger.Entry, wire []byte) {
	if i, ok := b.open[e.Resolves]; ok {
		r := &b.Rows[i]
		r.Payloads = payload(r.Payloads, e, wire)
		if e.Ends() {
			r.Kind, r.Outcome = e.Kind, e.Status
			delete(b.open, e.Resolves)
			use(b.usage, HourOf(TimeOf(r.At)), e)
		}
		return
	}
	i, ok := b.later[e.Resolves]
	if !ok {
		i = len(b.Ends)
		b.later[e.Resolves] = i
		b.Number++ // taken only when the reservation is missing
		b.Ends = append(b.Ends, Following{First: b.rowOf(e, nil)})
	}
	f := &b.Ends[i]
	f.Payloads = payload(f.Payloads, e, wire)
	f.Kind, f.Outcome = e.Kind, e.Status
	if e.Ends() {
		ended := *e
		f.End = &ended
	}
}

// Orphan is the row of what follows a reservation that the index does not have: it was removed by age.
func (f *Following) Orphan() Row {
	r := f.First
	r.Kind, r.Outcome, r.Payloads = f.Kind, f.Outcome, f.Payloads
	return r
}
