package sequencer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/journal"
	"github.com/tollgate/tollgate/ledger/proof"
)

// ErrUncovered means that no checkpoint covers what is asked for, yet.
var ErrUncovered = errors.New("no checkpoint covers it yet: the running gateway signs one within a minute")

// Range is which entries to export. The zero Range is all that are kept and covered by a checkpoint.
type Range struct {
	From, To     int64     // indexes; To 0: to the end
	Since, Until time.Time // whole batches: up to some seconds more than asked for
}

// checkpointsAtOnce bounds how many checkpoints are listed at once.
const checkpointsAtOnce = 256

// bounds finds the indexes of a range.
func (s *Store) bounds(ctx context.Context, r Range) (from, to int64, last Signed, head Head, err error) {
	if last, err = s.LastCheckpoint(ctx); err != nil {
		return
	}
	if head, err = s.Head(ctx); err != nil {
		return
	}
	if last.Number == 0 {
		err = ErrUncovered
		return
	}
	from, to = max(r.From, head.First), last.Size
	if r.To > 0 {
		to = min(to, r.To)
	}
	err = s.db.tx(ctx, func(ctx context.Context, tx statements) error {
		bound := func(into *int64, text string, args ...any) error {
			return tx.Each(ctx, func(scan func(...any) error) error { return scan(into) }, text, args...)
		}
		since, until := from, to
		if !r.Since.IsZero() {
			if err := bound(&since, "SELECT COALESCE(min(at), ?) FROM proof_batches WHERE at IS NOT NULL AND until >= ?", to, r.Since.UnixNano()); err != nil {
				return err
			}
		}
		if !r.Until.IsZero() {
			if err := bound(&until, "SELECT COALESCE(max(at + entries), 0) FROM proof_batches WHERE at IS NOT NULL AND since < ?", r.Until.UnixNano()); err != nil {
				return err
			}
		}
		from, to = max(from, since), min(to, until)
		return nil
	})
	to = max(to, from)
	if err == nil && from > last.Size {
		err = fmt.Errorf("entry %d: %w", from, ErrUncovered)
	}
	return
}

// Export writes a range of entries, with the checkpoints over it, to w. It reads one batch at a time.
func (s *Store) Export(ctx context.Context, w io.Writer, r Range) (proof.Header, error) {
	from, to, last, head, err := s.bounds(ctx, r)
	if err != nil {
		return proof.Header{}, fmt.Errorf("export: %w", err)
	}
	h := proof.Header{Origin: head.Origin, From: from, To: to, Size: last.Size}
	if h.Left, err = s.subtrees(ctx, 0, from); err == nil {
		h.Right, err = s.subtrees(ctx, to, last.Size)
	}
	if err != nil {
		return h, fmt.Errorf("export: %w", err)
	}
	e := &exporting{store: s, header: h, lasts: map[journal.Writer]proof.Last{}, begun: map[journal.Writer]bool{}}
	if e.followers, err = s.followers(ctx, from, to); err != nil {
		return h, fmt.Errorf("export: %w", err)
	}
	if e.out, err = proof.NewExport(w, h); err != nil {
		return h, err
	}
	if err := e.run(ctx, last); err != nil {
		return h, fmt.Errorf("export: %w", err)
	}
	return h, nil
}

type exporting struct {
	store  *Store
	out    *proof.Export
	header proof.Header
	lasts  map[journal.Writer]proof.Last // the last frame of a writer that was read
	begun  map[journal.Writer]bool
	hasher proof.Hasher

	followers map[journal.Writer][]proof.Begun // not announced, by whom they continue
	notes     []Signed                         // read and not written
	number    int64                            // of the checkpoint read last
	ended     bool                             // there are no more checkpoints
}

func (e *exporting) run(ctx context.Context, last Signed) error {
	from, to := e.header.From, e.header.To
	if err := e.checkpoints(ctx, from, last); err != nil {
		return err
	}
	if from < to {
		// From the beginning of the batch: what is before the first entry is then known.
		batches, err := e.store.Batches(ctx, from, 1)
		if err != nil {
			return err
		}
		if len(batches) == 0 {
			return ErrGone
		}
		err = e.store.Frames(ctx, batches[0].At, to, func(index int64, b *Batch, raw journal.Raw) error {
			if err := e.entry(ctx, index, b, raw); err != nil {
				return err
			}
			return e.checkpoints(ctx, index+1, last)
		})
		if err != nil {
			return err
		}
	}
	if to < last.Size {
		return e.out.Checkpoint(last.Note)
	}
	return nil
}

// entry writes an entry, and its writer's beginning before the first.
func (e *exporting) entry(ctx context.Context, index int64, b *Batch, raw journal.Raw) error {
	last := proof.LastOf(journal.Position{Writer: b.Writer, Seq: raw.Seq, Chain: raw.Chain})
	if index < e.header.From {
		e.lasts[b.Writer] = last
		return nil
	}
	if !e.begun[b.Writer] {
		if err := e.begin(b); err != nil {
			return err
		}
	}
	if raw.Bytes == nil {
		leaf, err := e.store.leaf(ctx, &e.hasher, b, raw)
		if err != nil {
			return err
		}
		if err := e.out.Lost(index, b.Writer, leaf); err != nil {
			return err
		}
	} else if err := e.out.Entry(index, b.Writer, raw); err != nil {
		return err
	}
	return e.announce(b.Writer, raw.Seq)
}

// begin announces the writer of a batch.
func (e *exporting) begin(b *Batch) error {
	e.begun[b.Writer] = true
	after, ok := e.lasts[b.Writer]
	if !ok {
		after = proof.LastOf(b.Place)
	}
	seq := uint64(0) // how far it has come where it begins here
	if after.Writer == uuid.UUID(b.Writer) {
		seq = after.Seq
	}
	if seq > 0 {
		if err := e.announce(b.Writer, seq-1); err != nil {
			return err
		}
	}
	if err := e.out.Begin(proof.Begun{Writer: uuid.UUID(b.Writer), Replica: b.Replica, After: after}); err != nil {
		return err
	}
	return e.announce(b.Writer, seq)
}

// announce begins the writers that continue w where it has come to, or before: the verifier holds them against it there, and
// when w goes on, as before a salvage, later no more.
func (e *exporting) announce(w journal.Writer, seq uint64) error {
	waiting := e.followers[w]
	for len(waiting) > 0 {
		i := slices.IndexFunc(waiting, func(f proof.Begun) bool { return f.After.Seq <= seq })
		if i < 0 {
			break
		}
		f := waiting[i]
		waiting = slices.Delete(waiting, i, i+1)
		e.followers[w] = waiting
		next := journal.Writer(f.Writer)
		if e.begun[next] {
			continue
		}
		e.begun[next] = true
		if err := e.out.Begin(f); err != nil {
			return err
		}
		if err := e.announce(next, 0); err != nil {
			return err
		}
	}
	return nil
}

// checkpoints writes those over size entries.
func (e *exporting) checkpoints(ctx context.Context, size int64, last Signed) error {
	for {
		if len(e.notes) == 0 && !e.ended {
			var err error
			if e.notes, err = e.store.Checkpoints(ctx, e.header.From, e.number, checkpointsAtOnce); err != nil {
				return err
			}
			e.ended = len(e.notes) == 0
		}
		if len(e.notes) == 0 || e.notes[0].Size > size || e.notes[0].Number > last.Number {
			return nil
		}
		e.number = e.notes[0].Number
		if err := e.out.Checkpoint(e.notes[0].Note); err != nil {
			return err
		}
		e.notes = e.notes[1:]
	}
}

// idSlack is how much later than its id says, or earlier, an entry may have been written for the quick search.
const idSlack = time.Minute

// Found is an entry that was searched for.
type Found struct {
	Index  int64
	Writer journal.Writer
	Raw    journal.Raw
}

// errEnough ends a search.
var errEnough = errors.New("enough")

// foundMax bounds what a search finds: a call has a reservation, some extensions and an end.
const foundMax = 1000

// Find finds the entries of a call, or the one with an id, in the tree. It first looks from the time in the id on.
func (s *Store) Find(ctx context.Context, id ledger.ID) ([]Found, error) {
	head, err := s.Head(ctx)
	if err != nil {
		return nil, err
	}
	var ms [8]byte
	copy(ms[2:], id[:6])
	at := time.UnixMilli(int64(binary.BigEndian.Uint64(ms[:]))).Add(-idSlack)
	hint := head.First
	err = s.db.tx(ctx, func(ctx context.Context, tx statements) error {
		return tx.Each(ctx, func(scan func(...any) error) error { return scan(&hint) },
			"SELECT COALESCE(min(at), 0) FROM proof_batches WHERE at IS NOT NULL AND until >= ?", at.UnixNano())
	})
	if err != nil {
		return nil, err
	}
	hint = max(hint, head.First)
	found, err := s.find(ctx, id, hint, head.Tree.Size())
	if err == nil && len(found) == 0 {
		found, err = s.find(ctx, id, head.First, hint)
	}
	if err != nil {
		return nil, fmt.Errorf("find entry %s: %w", id, err)
	}
	return found, nil
}

func (s *Store) find(ctx context.Context, id ledger.ID, from, to int64) (found []Found, err error) {
	err = s.Frames(ctx, from, to, func(index int64, b *Batch, raw journal.Raw) error {
		if raw.Bytes == nil {
			return nil
		}
		p, err := ledger.Peek(raw.Payload)
		if err != nil || p.ID != id && p.Call() != id {
			return nil
		}
		raw.Bytes = append([]byte(nil), raw.Bytes...)
		found = append(found, Found{index, b.Writer, raw})
		e, err := ledger.DecodeEntry(raw.Payload)
		if err == nil && e.Kind != ledger.Reserved || len(found) == foundMax {
			return errEnough
		}
		return nil
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return found, err
}

// Prove makes the proof of the entries of a call, or of the one with an id, by the newest checkpoint.
func (s *Store) Prove(ctx context.Context, id ledger.ID) (*proof.Proof, error) {
	found, err := s.Find(ctx, id)
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("there is no entry %s in the tree", id)
	}
	last, err := s.LastCheckpoint(ctx)
	if err != nil {
		return nil, err
	}
	p := &proof.Proof{Checkpoint: string(last.Note)}
	hashes := s.Hashes(ctx)
	for _, f := range found {
		if f.Index >= last.Size {
			return nil, fmt.Errorf("entry %d: %w", f.Index, ErrUncovered)
		}
		path, err := tlog.ProveRecord(last.Size, f.Index, hashes)
		if err != nil {
			return nil, fmt.Errorf("prove entry %d: %w", f.Index, err)
		}
		p.Entries = append(p.Entries, proof.Include(f.Index, f.Writer, f.Raw, path))
	}
	return p, nil
}

// ProveGrowth makes the proof that a newer checkpoint goes on from an older one. Both are signed notes.
func (s *Store) ProveGrowth(ctx context.Context, older, newer []byte) (*proof.Proof, error) {
	a, err := proof.ReadCheckpoint(older)
	if err != nil {
		return nil, err
	}
	b, err := proof.ReadCheckpoint(newer)
	if err != nil {
		return nil, err
	}
	head, err := s.Head(ctx)
	if err != nil {
		return nil, err
	}
	if a.Size > b.Size || b.Size > head.Tree.Size() {
		return nil, fmt.Errorf("from %d entries to %d of %d: give the older checkpoint first, both of this log", a.Size, b.Size, head.Tree.Size())
	}
	p := &proof.Proof{Older: string(older), Checkpoint: string(newer)}
	if a.Size > 0 {
		if p.Hashes, err = tlog.ProveTree(b.Size, a.Size, s.Hashes(ctx)); err != nil {
			return nil, fmt.Errorf("prove that checkpoints go on: %w", err)
		}
	}
	return p, nil
}
