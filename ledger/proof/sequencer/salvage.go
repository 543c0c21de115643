package sequencer

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/tollgate/tollgate/ledger/journal"
	"github.com/tollgate/tollgate/ledger/proof"
)

// What the tree has stays in it when a journal is salvaged. The journal goes on behind an earlier frame, with a writer
// whose first entry says so, and that is the one break that the order of a replica's journal may have.

// resume finds out from where a journal that was salvaged behind the place shipped is to be shipped. What a file store has
// noted and not taken into the tree is forgotten first: it is read again, as far as it holds.
func (l *Log) resume(ctx context.Context, g *gatherer, shipped journal.Position) (from journal.Position, again bool, err error) {
	if l.cfg.Store.dir != nil {
		if again, err = l.cfg.Store.forget(ctx, l.cfg.Replica); again || err != nil {
			return shipped, again, err
		}
	}
	if err := g.reader.Resume(); err != nil {
		return shipped, false, err
	}
	from = g.reader.Position()
	l.alarm(fmt.Sprintf("salvaged %x %d", shipped.Writer, shipped.Seq), "the journal was salvaged behind entries that the proof has: they stay in it, and what was written since is taken in behind them",
		"proof_has", shipped.Seq, "of_writer", uuid.UUID(shipped.Writer), "journal_holds", from.Seq, "up_to_writer", uuid.UUID(from.Writer))
	return from, false, nil
}

// forget sets a replica's shipments back to what the tree has, and reports whether there were more.
func (s *Store) forget(ctx context.Context, replica string) (some bool, err error) {
	err = s.db.tx(ctx, func(ctx context.Context, tx statements) error {
		n, err := tx.Exec(ctx, "DELETE FROM proof_batches WHERE replica = ? AND at IS NULL", replica)
		if some = n > 0; err != nil || !some {
			return err
		}
		_, err = tx.Exec(ctx, "UPDATE proof_replicas SET shipped = sequenced WHERE replica = ?", replica)
		return err
	})
	return some, err
}

// salvaged reports whether a batch goes on behind a salvage: with a new writer that says so first, after a frame that its
// replica has shipped before, or one that is not kept any more.
func (w *weaving) salvaged(ctx context.Context, b *Batch) (bool, error) {
	p, store := &b.Place, w.log.cfg.Store
	if b.First != 1 || b.Writer == p.Writer {
		return false, nil
	}
	if err := store.Load(ctx, b); err != nil {
		return false, err
	}
	raw, _, err := journal.ReadRaw(b.Frames)
	if err != nil || !proof.Salvages(raw.Payload) {
		return false, nil
	}
	if replica, err := store.known(ctx, b.Writer); err != nil || replica != "" {
		return false, err
	}
	holds, err := store.holds(ctx, b.Replica, *p)
	if err == nil && holds {
		w.suspect = append(w.suspect, func() {
			w.log.alarm(fmt.Sprintf("salvage %s %x", b.Replica, b.Writer), "a replica's journal was salvaged: what it gave up stays in the proof, and its new entries follow",
				"replica", b.Replica, "writer", uuid.UUID(b.Writer), "continues_writer", uuid.UUID(p.Writer), "continues_sequence", p.Seq)
		})
	}
	return holds, err
}

// holds reports whether a frame is one that the replica has shipped, or not kept any more.
func (s *Store) holds(ctx context.Context, replica string, p journal.Position) (bool, error) {
	found, err := s.batches(ctx, "WHERE writer = ? AND seq <= ? ORDER BY seq DESC LIMIT 1", p.Writer[:], max(int64(p.Seq), 1))
	if err != nil || len(found) == 0 {
		return err == nil, err
	}
	b := &found[0]
	if b.Replica != replica || p.Seq > b.First+uint64(b.Entries)-1 {
		return false, nil
	}
	if p.Seq < b.First {
		return b.before() == p.Chain, nil
	}
	b.Entries = int(p.Seq-b.First) + 1 // in a file, what is behind was given up
	if err := s.Load(ctx, b); err != nil {
		return false, err
	}
	for rest := b.Frames; len(rest) > 0; {
		var raw journal.Raw
		if raw, rest, err = journal.ReadRaw(rest); err != nil || raw.Seq == p.Seq {
			return err == nil && raw.Chain == p.Chain, nil
		}
	}
	return false, nil
}

// followers are the writers whose first entries are in a range, by whom they continue, in the tree's order.
func (s *Store) followers(ctx context.Context, from, to int64) (map[journal.Writer][]proof.Begun, error) {
	out := map[journal.Writer][]proof.Begun{}
	all, err := s.batches(ctx, "WHERE seq = 1 AND at >= ? AND at < ? ORDER BY at", from, to)
	for _, b := range all {
		if b.Place.Writer != (journal.Writer{}) {
			out[b.Place.Writer] = append(out[b.Place.Writer], proof.Begun{Writer: uuid.UUID(b.Writer), Replica: b.Replica, After: proof.LastOf(b.Place)})
		}
	}
	return out, err
}

// keptLeaves are the hashes of the leaves of a batch of the tree whose frames stand in the journal.
func (s *Store) keptLeaves(ctx context.Context, b *Batch) (out []tlog.Hash, err error) {
	var kept []byte
	err = s.db.tx(ctx, func(ctx context.Context, tx statements) error {
		return tx.Each(ctx, func(scan func(...any) error) error { return scan(&kept) },
			"SELECT leaves FROM proof_batches WHERE writer = ? AND seq = ? AND leaves IS NOT NULL", b.Writer[:], int64(b.First))
	})
	if err == nil {
		out, err = splitHashes(kept)
	}
	return out, err
}

// leaf is the hash of an entry's leaf: of its frame, or as the tree had it when the frame is lost.
func (s *Store) leaf(ctx context.Context, h *proof.Hasher, b *Batch, raw journal.Raw) (leaf tlog.Hash, err error) {
	if raw.Bytes != nil {
		return h.Leaf(b.Writer, raw.Bytes), nil
	}
	if b.leaves == nil {
		if b.leaves, err = s.keptLeaves(ctx, b); err != nil {
			return leaf, err
		}
	}
	i := raw.Seq - b.First
	if i >= uint64(len(b.leaves)) {
		return leaf, errors.New("the hash of an entry that was lost is not there: the database was changed")
	}
	return b.leaves[i], nil
}

// loadAside reads those of a batch's frames that hold in what a salvage put aside. The leaves that the tree has say which
// do; the others are left out. why is what is wrong with the journal itself.
func (s *Store) loadAside(ctx context.Context, b *Batch, why error) error {
	leaves, err := s.keptLeaves(ctx, b)
	if err != nil {
		return err
	}
	if len(leaves) < b.Entries {
		return why
	}
	leaves = leaves[:b.Entries]
	frames, some, offset := []byte{}, false, b.Place.Offset
	var h proof.Hasher
	for segment, next := b.Place.Segment, 0; next < b.Entries; segment, offset = segment+1, 0 {
		rest, aside, err := journal.Kept(s.dir, segment, offset, asideBytesMax)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return err
		}
		some = some || aside
		before := next
		for len(rest) > 0 && next < b.Entries {
			i, raw, ok := matching(b, leaves, next, rest, &h)
			if !ok {
				rest = rest[1:]
				continue
			}
			frames, next, rest = append(frames, raw.Bytes...), i+1, rest[len(raw.Bytes):]
		}
		if next == before && !aside {
			break
		}
	}
	if !some {
		return why
	}
	b.Frames = frames
	return nil
}

// matching is the frame at the start of text if it is the ith of a batch, from next on.
func matching(b *Batch, leaves []tlog.Hash, next int, text []byte, h *proof.Hasher) (i int, raw journal.Raw, ok bool) {
	if len(text) < seqOffset+8 {
		return 0, raw, false
	}
	seq := binary.LittleEndian.Uint64(text[seqOffset:])
	if seq < b.First+uint64(next) || seq >= b.First+uint64(b.Entries) {
		return 0, raw, false
	}
	raw, _, err := journal.ReadRaw(text)
	i = int(seq - b.First)
	return i, raw, err == nil && h.Leaf(b.Writer, raw.Bytes) == leaves[i]
}

const (
	// seqOffset is where a frame has its sequence: see package journal.
	seqOffset = 16
	// asideBytesMax is how much of a segment can have frames of a batch that begins or goes on there: a batch ends with the
	// frame that makes it larger than batchBytes.
	asideBytesMax = batchBytes + journal.PayloadBytesMax + 4096
)
