package index

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"time"

	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/journal"
)

const (
	// batchMax bounds a transaction: about 20 ms of work, in which queries go on.
	batchMax = 1000
	// flushGap is how long batches gather when entries keep coming. Longer gaps make larger bursts that calls feel.
	flushGap = 25 * time.Millisecond
	// retryGap is how long to wait after a batch could not be stored.
	retryGap = time.Second
	// idleWait bounds a wait for entries, as a net under lost wake-ups.
	idleWait = time.Second
)

// Run follows the ledger until ctx ends. An error of the database does not end it: it is kept for CatchUp, passed to failed (nil:
// not), and the batch is tried again.
func (ix *Index) Run(ctx context.Context, failed func(error)) {
	for ctx.Err() == nil {
		err := ix.follow(ctx)
		if err == nil || ctx.Err() != nil {
			continue
		}
		ix.settle(ix.Position(), err)
		if failed != nil {
			failed(err)
		}
		sleep(ctx, retryGap, nil)
	}
}

// follow reads and stores batches until ctx or an error ends it.
func (ix *Index) follow(ctx context.Context) error {
	r := ix.ledger.Reader(ix.Position())
	defer r.Close()
	for ctx.Err() == nil {
		more, err := ix.step(r)
		if err != nil {
			return err
		}
		if !more {
			r.Wait(ctx, idleWait)
			sleep(ctx, flushGap, ix.hurry)
		}
	}
	return nil
}

func sleep(ctx context.Context, d time.Duration, cut <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-cut:
	case <-ctx.Done():
	}
}

// step stores one batch and reports whether there may be more at once.
func (ix *Index) step(r *ledger.Reader) (more bool, err error) {
	ix.feeding.Lock()
	defer ix.feeding.Unlock()
	b := newBatch(ix.number)
	for b.size < batchMax {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return false, err
		}
		b.add(&e)
	}
	if b.size == 0 {
		return false, nil
	}
	if err := ix.store(b, r.Position()); err != nil {
		return false, err
	}
	ix.number = b.number
	ix.settle(r.Position(), nil)
	return b.size == batchMax, nil
}

// settle says how far the index has come, or why not further.
func (ix *Index) settle(p journal.Position, err error) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	ix.position, ix.failed = p, err
	close(ix.moved)
	ix.moved = make(chan struct{})
}

const insertCall = `INSERT INTO calls (at, id, kind, customer, team, key, key_id, user, action, upstream, target, trace, parent, outcome, entries)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`

// endCall puts an end or an extension into the row of its reservation: an id that was refused before it was reserved has
// two rows.
const endCall = `UPDATE calls SET kind = ?, outcome = CASE ? WHEN '' THEN outcome ELSE ? END, entries = entries || ?
WHERE id = ? AND kind = ? RETURNING at`

// store writes a batch and the place it ends at in one transaction.
func (ix *Index) store(b *batch, end journal.Position) error {
	tx, err := ix.write.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	insert, update := tx.Stmt(ix.insert), tx.Stmt(ix.end) // parsed once: parsing cost more than running them
	for _, r := range b.rows {
		e := &r.entry
		_, err := insert.Exec(r.at, e.ID[:], uint8(r.kind), e.Who.Customer, e.Who.Team, e.Who.Key, e.Who.KeyID, e.Who.User,
			string(e.Action), e.Upstream, e.Target, blob(e.Trace[:]), blob(e.Parent[:]), string(r.outcome), r.payloads)
		if err != nil {
			return fmt.Errorf("store entry %s: %w", e.ID, err)
		}
	}
	for _, e := range b.ends {
		var at int64
		err := update.QueryRow(uint8(e.Kind), string(e.Status), string(e.Status), payload(nil, e), e.Resolves[:], uint8(ledger.Reserved)).Scan(&at)
		if err != nil {
			return fmt.Errorf("store the end of %s: %w", e.Resolves, err)
		}
		if e.Ends() {
			b.use(hourOf(timeOf(at)), e)
		}
	}
	if err := b.storeUsage(tx); err != nil {
		return err
	}
	position, err := json.Marshal(end)
	if err != nil {
		return err
	}
	if _, err := tx.Exec("UPDATE cursor SET position = ?, number = ?", string(position), b.number); err != nil {
		return err
	}
	return tx.Commit()
}

// blob is b, or NULL when it is all zeros.
func blob(b []byte) any {
	for _, c := range b {
		if c != 0 {
			return b
		}
	}
	return nil
}

// numberBits are the low bits of at, which tell apart what happened in one millisecond.
const numberBits = 20

func atOf(t time.Time, number int64) int64 {
	return t.UnixMilli()<<numberBits | number&(1<<numberBits-1)
}

func timeOf(at int64) time.Time { return time.UnixMilli(at >> numberBits) }

// batch is what one transaction stores.
type batch struct {
	number int64
	size   int
	rows   []*row
	byID   map[ledger.ID]*row // reservations of this batch that are open
	ends   []*ledger.Entry    // ends and extensions of reservations stored before
	usage  map[usageKey]*Use
}

// row is a call, or an entry that is not about one.
type row struct {
	at       int64
	entry    ledger.Entry // the first
	kind     ledger.Kind  // of the last
	outcome  ledger.Status
	payloads []byte
}

func newBatch(number int64) *batch {
	return &batch{number: number, byID: map[ledger.ID]*row{}, usage: map[usageKey]*Use{}}
}

func (b *batch) add(e *ledger.Entry) {
	b.size++
	if e.Ends() || e.Extends() {
		r := b.byID[e.Resolves]
		if r == nil {
			b.ends = append(b.ends, e)
			return
		}
		r.payloads = payload(r.payloads, e)
		if e.Ends() {
			r.kind, r.outcome = e.Kind, e.Status
			delete(b.byID, e.Resolves)
			b.use(hourOf(r.entry.Time), e)
		}
		return
	}
	b.number++
	r := &row{at: atOf(e.Time, b.number), entry: *e, kind: e.Kind, outcome: e.Status, payloads: payload(nil, e)}
	b.rows = append(b.rows, r)
	switch e.Kind {
	case ledger.Reserved:
		b.byID[e.ID] = r
	case ledger.Denied:
		b.use(hourOf(e.Time), e)
	}
}

// payload appends e's journal payload and sequence to b, as parsePayloads reads them.
func payload(b []byte, e *ledger.Entry) []byte {
	wire := e.Append(nil)
	b = binary.AppendUvarint(b, e.Seq)
	b = binary.AppendUvarint(b, uint64(len(e.Writer)))
	b = append(b, e.Writer...)
	b = binary.AppendUvarint(b, uint64(len(wire)))
	return append(b, wire...)
}

// Read opens the index of a ledger directory that no process has open, and brings it up to the journal's end. It holds
// the directory meanwhile; durable.ErrLocked, wrapped, says that a process does.
func Read(dir string) (*Index, error) {
	storage, err := durable.Disk(dir)
	if err != nil {
		return nil, fmt.Errorf("read ledger %s: %w", dir, err)
	}
	lock, err := storage.Lock()
	if err != nil {
		return nil, fmt.Errorf("read ledger %s: %w", dir, err)
	}
	defer lock.Close()
	ix, err := Open(Path(dir), nil)
	if err != nil {
		return nil, err
	}
	r := ledger.NewReader(storage, ix.Position())
	defer r.Close()
	for more := true; more; {
		if more, err = ix.step(r); err != nil {
			var torn *journal.TornError
			if errors.As(err, &torn) && torn.Last { // the next start cuts it; what holds is in
				break
			}
			return nil, errors.Join(fmt.Errorf("read ledger %s: %w", dir, err), ix.Close())
		}
	}
	return ix, nil
}

// Path is where the index of a ledger directory lies.
func Path(dir string) string { return filepath.Join(dir, "index.db") }
