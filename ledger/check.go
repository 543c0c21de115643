package ledger

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/ledger/journal"
	"github.com/tollgate/tollgate/ledger/limits"
	"github.com/tollgate/tollgate/ledger/retention"
)

// Report is what a walk over the whole ledger found.
type Report struct {
	Entries int
	Writers int // starts that wrote
	Calls   int // reservations
	Posted  int
	Voided  int
	Denied  int
	Open    int // reservations that nothing ends: calls under way, or cut by a crash since the last start
	Cost    Nano
	Tokens  int64
	Cuts    int    // torn tails that starts have cut, and damaged ends that were put aside
	Removed uint64 // the segment up to whose end retention has removed the journal; 0: nothing was
}

// Check walks the ledger in a directory that no process has open: every frame holds and continues the hash chain, every
// resolution and extension names a reservation that is open at that point, so each is ended at most once; and the stored
// checkpoint is what the entries before it come to. Of a journal whose beginning was removed, an entry must tell so; it
// counts on from what the removed entries came to.
func Check(dir string) (Report, error) {
	if _, err := os.Stat(dir); err != nil {
		return Report{}, fmt.Errorf("check ledger: %w", err)
	}
	storage, err := durable.Disk(dir)
	if err != nil {
		return Report{}, fmt.Errorf("check ledger: %w", err)
	}
	return CheckStorage(storage)
}

// CheckStorage is Check for a directory that is not on the disk.
func CheckStorage(dir durable.Dir) (Report, error) {
	r := NewReader(dir, journal.Position{})
	defer r.Close()
	stored, err := loadCheckpoint(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Report{}, fmt.Errorf("check ledger %w", err)
	}
	report, _, err := walk(dir, r, stored)
	return report, err
}

// Check walks the ledger while it runs, and also compares what the entries come to with the balances in use. Calls may
// go on meanwhile; they wait while the last entries are read.
func (l *Ledger) Check(ctx context.Context) (Report, error) {
	if err := l.Sync(ctx); err != nil {
		return Report{}, err
	}
	r := l.Reader(journal.Position{})
	defer r.Close()
	report, b, err := walk(l.dir, r, nil)
	if err != nil {
		return report, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.journal.Sync(ctx); err != nil { // holds the lock over I/O: a check may
		return report, err
	}
	more, err := walkOn(r, b, report, &walking{})
	if err != nil {
		return more, err
	}
	return more, l.sameAs(b)
}

// walk reads all of r, which begins where the journal does, into a book.
func walk(dir durable.Dir, r *Reader, stored *checkpoint) (Report, *book, error) {
	begins, err := journal.ReadBeginning(dir)
	var b *book
	if err == nil {
		b, err = bookAt(begins, time.UTC)
	}
	if err != nil {
		return Report{}, nil, fmt.Errorf("check ledger: %w", err)
	}
	if stored != nil && stored.End.Before(begins.Position) { // what is stored for the beginning has taken its place
		stored = nil
	}
	w := walking{stored: stored}
	report := Report{Removed: begins.Position.Segment}
	if report.Removed > 0 {
		w.removed = retention.Describe(begins.Position)
	}
	if report, err = walkOn(r, b, report, &w); err != nil {
		return report, b, err
	}
	if stored != nil && r.Position().Before(stored.End) {
		return report, b, fmt.Errorf("check ledger: the journal ends in segment %d, before the place of the stored balances, byte %d of segment %d: its end is missing",
			r.Position().Segment, stored.End.Offset, stored.End.Segment)
	}
	if err := w.compare(b); err != nil {
		return report, b, err
	}
	if w.removed != "" {
		return report, b, fmt.Errorf("check ledger: the journal begins after segment %d, but no entry tells that what was before was removed", report.Removed)
	}
	return report, b, nil
}

// walking is what a walk has yet to meet.
type walking struct {
	stored  *checkpoint // nil: none
	removed string      // what an entry must say of the journal's beginning; empty: nothing
}

// compare holds the stored balances, once, against b.
func (w *walking) compare(b *book) error {
	if w.stored == nil {
		return nil
	}
	stored := w.stored
	w.stored = nil
	if err := stored.sameAs(b); err != nil {
		return fmt.Errorf("check ledger: %w", err)
	}
	return nil
}

func walkOn(r *Reader, b *book, report Report, w *walking) (Report, error) {
	for e, err := range r.All() {
		if err == nil && w.stored != nil && w.stored.End.Before(r.Position()) { // they are of a place before e
			if err := w.compare(b); err != nil {
				return report, err
			}
		}
		if err == nil {
			err = b.apply(e)
		}
		if err != nil {
			return report, fmt.Errorf("check ledger: %w", err)
		}
		if e.Kind == Admin && e.Action == TrimAction && e.Detail == w.removed {
			w.removed = ""
		}
		report.count(e)
	}
	report.Open = len(b.open)
	return report, nil
}

func (r *Report) count(e *Entry) {
	r.Entries++
	if e.Seq == 1 {
		r.Writers++
	}
	switch {
	case e.Kind == Reserved && !e.Extends():
		r.Calls++
	case e.Kind == Posted:
		r.Posted++
		r.Cost = Nano(limits.AddSat(int64(r.Cost), int64(e.Cost)))
		r.Tokens = limits.AddSat(r.Tokens, e.Quantities.Tokens())
	case e.Kind == Voided:
		r.Voided++
	case e.Kind == Denied:
		r.Denied++
	case e.Kind == Admin && (e.Action == RecoverAction || e.Action == SalvageAction):
		r.Cuts++
	}
}

// totals sums a book's use by account and target.
func (b *book) totals() map[accountKey]map[laneKey]limits.Amounts {
	out := map[accountKey]map[laneKey]limits.Amounts{}
	for ak, a := range b.accounts {
		for lk, ln := range a.lanes {
			var sum limits.Amounts
			for i := range ln.history.Rows {
				sum.Add(ln.history.Rows[i].Amounts)
			}
			if sum.IsZero() {
				continue
			}
			if out[ak] == nil {
				out[ak] = map[laneKey]limits.Amounts{}
			}
			out[ak][lk] = sum
		}
	}
	return out
}

// differs says in what two books differ, or nothing.
func (b *book) differs(from *book) string {
	mine, other := b.totals(), from.totals()
	for ak := range mine {
		for lk, sum := range mine[ak] {
			if other[ak][lk] != sum {
				return fmt.Sprintf("%v %v: %+v, but the entries come to %+v", ak, lk, sum, other[ak][lk])
			}
		}
	}
	for ak := range other {
		for lk, sum := range other[ak] {
			if mine[ak][lk] != sum {
				return fmt.Sprintf("%v %v: %+v, but the entries come to %+v", ak, lk, mine[ak][lk], sum)
			}
		}
	}
	for id, h := range b.open {
		o := from.open[id]
		if o == nil || o.expected != h.expected || o.slot != h.slot {
			return fmt.Sprintf("call %s is open, but not in the entries", id)
		}
	}
	if len(b.open) != len(from.open) {
		return fmt.Sprintf("%d calls are open, but %d in the entries", len(b.open), len(from.open))
	}
	return ""
}

// sameAs checks that the balances in use are what b, made from the entries, comes to. The caller holds mu.
func (l *Ledger) sameAs(b *book) error {
	if d := l.book.differs(b); d != "" {
		return errors.New("check ledger: balances: " + d)
	}
	now := max(l.book.last, l.cfg.Now().UnixNano())
	for scope, list := range l.counters {
		for _, c := range list {
			want := l.newCounter(c.scope, c.Limit, now)
			l.fill(want)
			c.Advance(now)
			// A sliding window that was filled from rows may look full for longer; it must not look emptier.
			if c.Sum > want.Sum || !c.Limit.Window.Slides() && c.Sum != want.Sum {
				return fmt.Errorf("check ledger: limit %q of %s stands at %d, but the entries come to %d", c.Limit.Text, scope, c.Sum, want.Sum)
			}
		}
	}
	return nil
}

// fill puts into c what the book has for it, without attaching it. The caller holds mu.
func (l *Ledger) fill(c *counter) {
	for a := range l.accounts(c.scope) {
		for _, ln := range a.lanes {
			if !c.counts(&ln.key) {
				continue
			}
			for i := range ln.history.Rows {
				c.Seed(&ln.history.Rows[i])
			}
		}
	}
	for _, h := range l.book.open {
		for _, s := range h.lane.account.key.scopes() {
			if s == c.scope && c.counts(&h.lane.key) {
				c.Add(h.at, h.taken(&c.Limit))
			}
		}
	}
}
