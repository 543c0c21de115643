package index

import (
	"encoding/binary"
	"time"

	"github.com/tollgate/tollgate/ledger"
)

// numberBits are the low bits of at, which tell apart what happened in one millisecond.
const numberBits = 20

func atOf(t time.Time, number int64) int64 {
	return t.UnixMilli()<<numberBits | number&(1<<numberBits-1)
}

// atFrom is the lowest at of what happened at t or later.
func atFrom(t time.Time) int64 { return t.UnixMilli() << numberBits }

// blockBits are the low bits of a call's number within its block.
const blockBits = 12

func timeOf(at int64) time.Time { return time.UnixMilli(at >> numberBits) }

// lane is whose a call is and where it went: a row of the table of that name.
type lane struct {
	customer, team, key, keyID, user, action, upstream, target string
}

func laneOf(e *ledger.Entry) lane {
	return lane{e.Who.Customer, e.Who.Team, e.Who.Key, e.Who.KeyID, e.Who.User, string(e.Action), e.Upstream, e.Target}
}

// who is the lane with only its principal, what the one with only where it went. Use is summed up by them, too.
func (l *lane) who() lane {
	return lane{customer: l.customer, team: l.team, key: l.key, keyID: l.keyID, user: l.user}
}
func (l *lane) what() lane { return lane{action: l.action, upstream: l.upstream, target: l.target} }

// fields are the columns of the table lanes, in their order.
func (l *lane) fields() [8]string {
	return [...]string{l.customer, l.team, l.key, l.keyID, l.user, l.action, l.upstream, l.target}
}

// batch is what one transaction stores. Storing does not change it, so a transaction may be tried again.
type batch struct {
	number  int64 // rows made by this feed so far, with those of the batch
	size    int   // entries read, with those that were stored before
	rows    []row
	open    map[ledger.ID]int // reservations of this batch that are open, by their place in rows
	ends    []following       // of reservations stored before
	later   map[ledger.ID]int // ends by their call
	usage   map[usageKey]*Use
	writers []span
}

// span is the entries of one writer in a batch: after seq from, up to seq to.
type span struct {
	writer   string
	from, to uint64
}

// row is a call, or an entry that is not about one.
type row struct {
	at       int64
	block    int64
	id       ledger.ID
	lane     lane
	trace    ledger.TraceID
	parent   ledger.ID
	kind     ledger.Kind   // of the last entry
	outcome  ledger.Status // of the last
	payloads []byte
}

// following is what comes after the reservation of one call: extensions, an end, or both.
type following struct {
	first    row           // what it is stored as when its reservation is in the index no more
	end      *ledger.Entry // nil: the call is still under way
	kind     ledger.Kind   // of the last
	outcome  ledger.Status // of the last
	payloads []byte
}

func newBatch() batch {
	return batch{open: map[ledger.ID]int{}, later: map[ledger.ID]int{}, usage: map[usageKey]*Use{}}
}

// reset empties the batch; rows are numbered on from number.
func (b *batch) reset(number int64) {
	clear(b.rows) // and let go of what they hold
	clear(b.ends)
	clear(b.open)
	clear(b.later)
	clear(b.usage)
	*b = batch{
		number: number, rows: b.rows[:0], ends: b.ends[:0], open: b.open, later: b.later, usage: b.usage, writers: b.writers[:0],
	}
}

// add takes an entry and its journal payload, of which it keeps nothing. stored is the last sequence of the entry's writer
// that the database has; what it has is left out.
func (b *batch) add(e *ledger.Entry, wire []byte, stored uint64) {
	b.size++
	if e.Seq <= stored {
		return
	}
	if n := len(b.writers); n == 0 || b.writers[n-1].writer != e.Writer {
		b.writers = append(b.writers, span{e.Writer, stored, e.Seq})
	}
	b.writers[len(b.writers)-1].to = e.Seq
	if e.Ends() || e.Extends() {
		b.follow(e, wire)
		return
	}
	b.number++
	b.rows = append(b.rows, b.rowOf(e, payload(nil, e, wire)))
	switch e.Kind {
	case ledger.Reserved:
		b.open[e.ID] = len(b.rows) - 1
	case ledger.Denied:
		use(b.usage, hourOf(e.Time), e)
	}
}

func (b *batch) rowOf(e *ledger.Entry, payloads []byte) row {
	return row{
		at: atOf(e.Time, b.number), block: b.number >> blockBits, id: e.Call(), lane: laneOf(e), trace: e.Trace, parent: e.Parent,
		kind: e.Kind, outcome: e.Status, payloads: payloads,
	}
}

// follow takes an end or an extension: into the row of its reservation when the batch has it.
func (b *batch) follow(e *ledger.Entry, wire []byte) {
	if i, ok := b.open[e.Resolves]; ok {
		r := &b.rows[i]
		r.payloads = payload(r.payloads, e, wire)
		if e.Ends() {
			r.kind, r.outcome = e.Kind, e.Status
			delete(b.open, e.Resolves)
			use(b.usage, hourOf(timeOf(r.at)), e)
		}
		return
	}
	i, ok := b.later[e.Resolves]
	if !ok {
		i = len(b.ends)
		b.later[e.Resolves] = i
		b.number++ // taken only when the reservation is missing
		b.ends = append(b.ends, following{first: b.rowOf(e, nil)})
	}
	f := &b.ends[i]
	f.payloads = payload(f.payloads, e, wire)
	f.kind, f.outcome = e.Kind, e.Status
	if e.Ends() {
		ended := *e
		f.end = &ended
	}
}

// orphan is the row of what follows a reservation that the index does not have: it was removed by age.
func (f *following) orphan() row {
	r := f.first
	r.kind, r.outcome, r.payloads = f.kind, f.outcome, f.payloads
	return r
}

// payload appends e's journal payload and sequence to b, as parsePayloads reads them. A new b has room for an end.
func payload(b []byte, e *ledger.Entry, wire []byte) []byte {
	if b == nil {
		b = make([]byte, 0, 2*len(wire)+2*len(e.Writer)+4*binary.MaxVarintLen32)
	}
	b = binary.AppendUvarint(b, e.Seq)
	b = binary.AppendUvarint(b, uint64(len(e.Writer)))
	b = append(b, e.Writer...)
	b = binary.AppendUvarint(b, uint64(len(wire)))
	return append(b, wire...)
}
