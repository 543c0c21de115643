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

// batch is what one transaction stores.
type batch struct {
	number int64
	size   int
	rows   []row
	open   map[ledger.ID]int // reservations of this batch that are open, by their place in rows
	ends   []following       // of reservations stored before
	usage  map[usageKey]*Use
}

// row is a call, or an entry that is not about one.
type row struct {
	at       int64
	block    int64
	id       ledger.ID
	lane     lane
	trace    ledger.TraceID
	parent   ledger.ID
	time     time.Time     // of the first entry
	kind     ledger.Kind   // of the last
	outcome  ledger.Status // of the last
	payloads []byte
}

// following is an end or an extension.
type following struct {
	entry   ledger.Entry
	payload []byte
}

func newBatch() batch { return batch{open: map[ledger.ID]int{}, usage: map[usageKey]*Use{}} }

// reset empties the batch; rows are numbered on from number.
func (b *batch) reset(number int64) {
	clear(b.rows) // and let go of what they hold
	clear(b.ends)
	clear(b.open)
	clear(b.usage)
	*b = batch{number: number, rows: b.rows[:0], ends: b.ends[:0], open: b.open, usage: b.usage}
}

// add takes an entry and its journal payload, of which it keeps nothing.
func (b *batch) add(e *ledger.Entry, wire []byte) {
	b.size++
	if e.Ends() || e.Extends() {
		i, ok := b.open[e.Resolves]
		if !ok {
			b.ends = append(b.ends, following{*e, payload(nil, e, wire)})
			return
		}
		r := &b.rows[i]
		r.payloads = payload(r.payloads, e, wire)
		if e.Ends() {
			r.kind, r.outcome = e.Kind, e.Status
			delete(b.open, e.Resolves)
			b.use(hourOf(r.time), e)
		}
		return
	}
	b.number++
	b.rows = append(b.rows, row{
		at: atOf(e.Time, b.number), block: b.number >> blockBits, id: e.ID, lane: laneOf(e), trace: e.Trace, parent: e.Parent,
		time: e.Time, kind: e.Kind, outcome: e.Status, payloads: payload(nil, e, wire),
	})
	switch e.Kind {
	case ledger.Reserved:
		b.open[e.ID] = len(b.rows) - 1
	case ledger.Denied:
		b.use(hourOf(e.Time), e)
	}
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
