package sequencer

import (
	"context"
	"fmt"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tollgate/tollgate/ledger/journal"
	"github.com/tollgate/tollgate/ledger/proof"
)

// batchesAtOnce bounds how many batches are listed at once; their frames are loaded one batch at a time.
const batchesAtOnce = 256

// Frames calls each for the entries from one index to another, in order. raw is valid during the call; it has no bytes when
// a disk has lost the frame.
func (s *Store) Frames(ctx context.Context, from, to int64, each func(index int64, b *Batch, raw journal.Raw) error) error {
	for at := from; at < to; {
		batches, err := s.Batches(ctx, at, batchesAtOnce)
		if err != nil {
			return err
		}
		if len(batches) == 0 || batches[0].At > at {
			return ErrGone
		}
		for i := range batches {
			b := &batches[i]
			if b.At >= to {
				return nil
			}
			if b.At > at {
				return fmt.Errorf("the tree has no batch for entry %d: the database was changed", at)
			}
			if err := s.framesOf(ctx, b, at, to, each); err != nil {
				return err
			}
			at = b.At + int64(b.Entries)
		}
	}
	return nil
}

// framesOf calls each for the entries of a batch that are in a range.
func (s *Store) framesOf(ctx context.Context, b *Batch, from, to int64, each func(int64, *Batch, journal.Raw) error) error {
	if err := s.Load(ctx, b); err != nil {
		return err
	}
	rest := b.Frames
	for index := b.At; index < b.At+int64(b.Entries); index++ {
		raw := journal.Raw{Seq: b.First + uint64(index-b.At)}
		read, after, err := journal.ReadRaw(rest)
		switch {
		case err != nil && (len(rest) > 0 || s.dir == nil):
			return fmt.Errorf("entry %d: %w", index, err)
		case err == nil && read.Seq == raw.Seq:
			raw, rest = read, after
		case s.dir == nil:
			return fmt.Errorf("entry %d: sequence %d stands in its place: the database was changed", index, read.Seq)
		}
		if index < from || index >= to {
			continue
		}
		if err := each(index, b, raw); err != nil {
			return err
		}
	}
	b.Frames = nil // one batch at a time
	return ctx.Err()
}

// hashReader reads the hashes of a tree: those that are kept, and those below made from the frames. It is for one
// goroutine.
type hashReader struct {
	ctx    context.Context
	store  *Store
	first  int64       // of the leaves in hand
	leaves []tlog.Hash // of one block
}

// Hashes reads the tree's hashes for proofs, as tlog numbers them. It is for one goroutine.
func (s *Store) Hashes(ctx context.Context) tlog.HashReader { return &hashReader{ctx: ctx, store: s} }

// ReadHashes implements tlog.HashReader.
func (r *hashReader) ReadHashes(indexes []int64) ([]tlog.Hash, error) {
	out := make([]tlog.Hash, len(indexes))
	for i, index := range indexes {
		level, n := tlog.SplitStoredHashIndex(index)
		h, err := r.subtree(level, n)
		if err != nil {
			return nil, err
		}
		out[i] = h
	}
	return out, nil
}

// subtree is the root of the nth complete subtree of a level.
func (r *hashReader) subtree(level int, n int64) (tlog.Hash, error) {
	if level < proof.BlockHeight {
		return r.low(level, n)
	}
	kept := level - level%proof.BlockHeight
	hashes, err := r.store.nodes(r.ctx, kept, n<<(level-kept), 1<<(level-kept))
	if err != nil {
		return tlog.Hash{}, err
	}
	return fold(hashes), nil
}

// low is the root of a subtree within a block, from the frames.
func (r *hashReader) low(level int, n int64) (tlog.Hash, error) {
	from, count := n<<level, int64(1)<<level
	if from < r.first || from+count > r.first+int64(len(r.leaves)) {
		first := from - from%proof.BlockLeaves
		leaves, err := r.store.leaves(r.ctx, first, first+proof.BlockLeaves)
		if err != nil {
			return tlog.Hash{}, err
		}
		r.first, r.leaves = first, leaves
	}
	if from+count > r.first+int64(len(r.leaves)) {
		return tlog.Hash{}, fmt.Errorf("the tree has no entries %d to %d", from, from+count-1)
	}
	return fold(r.leaves[from-r.first : from-r.first+count]), nil
}

// leaves are the hashes of the leaves in a range, as far as there are.
func (s *Store) leaves(ctx context.Context, from, to int64) (out []tlog.Hash, err error) {
	head, err := s.Head(ctx)
	if err != nil {
		return nil, err
	}
	var h proof.Hasher
	err = s.Frames(ctx, from, min(to, head.Tree.Size()), func(_ int64, b *Batch, raw journal.Raw) error {
		leaf, err := s.leaf(ctx, &h, b, raw)
		out = append(out, leaf)
		return err
	})
	return out, err
}

// fold is the root over a power of two of hashes.
func fold(hashes []tlog.Hash) tlog.Hash {
	all := append([]tlog.Hash(nil), hashes...)
	for len(all) > 1 {
		for i := range len(all) / 2 {
			all[i] = tlog.NodeHash(all[2*i], all[2*i+1])
		}
		all = all[:len(all)/2]
	}
	return all[0]
}

// subtrees are the roots of the complete subtrees that a range of leaves falls into.
func (s *Store) subtrees(ctx context.Context, from, to int64) ([]tlog.Hash, error) {
	out := []tlog.Hash{}
	r := &hashReader{ctx: ctx, store: s}
	for _, t := range proof.Between(from, to) {
		h, err := r.subtree(t.Level, t.N)
		if err != nil {
			return nil, err
		}
		out = append(out, h)
	}
	return out, nil
}
