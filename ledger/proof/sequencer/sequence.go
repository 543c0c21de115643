package sequencer

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/tollgate/tollgate/ledger/journal"
	"github.com/tollgate/tollgate/ledger/proof"
)

const (
	// sequenceEntries bounds what one transaction puts into the tree.
	sequenceEntries = 4 * batchEntries
	// pendingOfEach is how many batches of each replica are looked at for it.
	pendingOfEach = 16
)

// errFork is a batch that continues what something else has continued.
var errFork = errors.New("fork")

// sequence puts waiting batches into the tree and reports whether there may be more at once.
func (l *Log) sequence(ctx context.Context) (more bool, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("sequence entries: %w", err)
		}
	}()
	s := l.cfg.Store
	head, err := s.Head(ctx)
	if err != nil {
		return false, err
	}
	all, err := s.places(ctx)
	if err != nil {
		return false, err
	}
	tree, err := proof.NewTree(head.Tree.Size(), head.Tree.Edge())
	if err != nil {
		return false, err
	}
	w := &weaving{log: l, all: all, to: Extension{Tree: tree, Sequenced: map[string]journal.Position{}}, queues: map[string][]Batch{}}
	for _, replica := range slices.Sorted(maps.Keys(all)) {
		if w.queues[replica], err = s.pending(ctx, replica, pendingOfEach); err != nil {
			return false, err
		}
	}
	for tree.Size()-head.Tree.Size() < sequenceEntries {
		took, err := w.take(ctx)
		if err != nil {
			return false, err
		}
		if !took {
			break
		}
	}
	if len(w.to.Batches) > 0 {
		err = s.Extend(ctx, head, &w.to)
	} else if len(w.suspect) > 0 {
		err = unmoved(ctx, s, head)
	}
	if errors.Is(err, ErrMoved) {
		return true, nil // somebody else has taken them; what is left is seen with the new head
	}
	if err != nil {
		return false, err
	}
	for _, tell := range w.suspect {
		tell()
	}
	return len(w.to.Batches) > 0, nil
}

// unmoved returns ErrMoved when the head is not there any more: what was read after it may then be newer.
func unmoved(ctx context.Context, s *Store, head Head) error {
	now, err := s.Head(ctx)
	if err == nil && now.Tree.Size() != head.Tree.Size() {
		err = ErrMoved
	}
	return err
}

// weaving is the making of one order out of what several replicas shipped.
type weaving struct {
	log    *Log
	all    map[string]places
	to     Extension
	queues map[string][]Batch // by replica, in the order of its journal
	hasher proof.Hasher

	suspect []func() // alarms, raised if the head has not moved while batches and places were read
}

// take takes the batch that was shipped first of those that are next in their replica's journal. A replica whose next one
// does not fit waits; the others go on.
func (w *weaving) take(ctx context.Context) (bool, error) {
	for {
		first := ""
		for replica, queue := range w.queues {
			if len(queue) == 0 {
				continue
			}
			if first == "" || before(&queue[0], &w.queues[first][0]) {
				first = replica
			}
		}
		if first == "" {
			return false, nil
		}
		b := &w.queues[first][0]
		ok, err := w.fits(ctx, b)
		if err != nil {
			return false, err
		}
		if !ok {
			delete(w.queues, first)
			continue
		}
		end, err := w.add(ctx, b)
		if err != nil {
			if errors.Is(err, errFork) {
				w.fork(b, strings.TrimPrefix(err.Error(), errFork.Error()+": "))
				delete(w.queues, first)
				continue
			}
			return false, err
		}
		w.to.Sequenced[first] = end
		w.queues[first] = w.queues[first][1:]
		return true, nil
	}
}

// before orders batches of different replicas.
func before(a, b *Batch) bool {
	if !a.Shipped.Equal(b.Shipped) {
		return a.Shipped.Before(b.Shipped)
	}
	return a.Replica < b.Replica
}

// fits reports whether a batch goes on where its replica's journal has come to.
func (w *weaving) fits(ctx context.Context, b *Batch) (bool, error) {
	at, ok := w.to.Sequenced[b.Replica]
	if !ok {
		at = w.all[b.Replica].sequenced
	}
	if at == (journal.Position{}) {
		replica, err := w.log.cfg.Store.known(ctx, b.Writer)
		if err != nil {
			return false, err
		}
		if replica != "" {
			w.fork(b, "its writer's entries came from replica "+replica+" before: its data directory is a copy, or was renamed")
		}
		return replica == "", nil
	}
	p := &b.Place
	if p.Writer == at.Writer && p.Seq == at.Seq && p.Chain == at.Chain {
		return true, nil
	}
	if p.Writer == at.Writer && p.Seq > at.Seq {
		w.suspect = append(w.suspect, func() {
			w.log.alarm("gap "+b.Replica, "the proof waits: entries of a replica are missing between two that it has shipped",
				"replica", b.Replica, "writer", uuid.UUID(b.Writer), "after", at.Seq, "before", b.First)
		})
		return false, nil
	}
	if ok, err := w.salvaged(ctx, b); ok || err != nil {
		return ok, err
	}
	w.fork(b, fmt.Sprintf("it continues sequence %d of writer %s, and the tree has the journal up to sequence %d of writer %s with another chain value",
		p.Seq, uuid.UUID(p.Writer), at.Seq, uuid.UUID(at.Writer)))
	return false, nil
}

// add holds each frame of a batch against the chain and adds it to the tree.
func (w *weaving) add(ctx context.Context, b *Batch) (journal.Position, error) {
	end := journal.Position{Segment: b.Place.Segment, Offset: b.Place.Offset, Writer: b.Writer, Seq: b.First - 1, Chain: b.before()}
	if b.Writer != b.Place.Writer && b.First != 1 || b.Writer == b.Place.Writer && b.First != b.Place.Seq+1 {
		return end, fmt.Errorf("%w: it begins at sequence %d", errFork, b.First)
	}
	if err := w.log.cfg.Store.Load(ctx, b); err != nil {
		return end, err
	}
	tree, err := proof.NewTree(w.to.Tree.Size(), w.to.Tree.Edge())
	if err != nil {
		return end, err
	}
	kept, rest, leaves := w.to.Kept, b.Frames, make([]tlog.Hash, 0, b.Entries)
	for range b.Entries {
		raw, after, err := journal.ReadRaw(rest)
		if err != nil || raw.Seq != end.Seq+1 || !raw.Follows(end.Chain) {
			return end, fmt.Errorf("%w: the frame after sequence %d does not continue the hash chain", errFork, end.Seq)
		}
		leaf := w.hasher.Leaf(b.Writer, raw.Bytes)
		kept, leaves = tree.Append(leaf, kept), append(leaves, leaf)
		end.Seq, end.Chain, rest = raw.Seq, raw.Chain, after
		end.Offset += int64(len(raw.Bytes))
	}
	if len(rest) > 0 {
		return end, fmt.Errorf("%w: %d bytes follow its frames", errFork, len(rest))
	}
	b.At, b.Frames, b.leaves = w.to.Tree.Size(), nil, leaves
	w.to.Tree, w.to.Kept = tree, kept
	w.to.Batches = append(w.to.Batches, *b)
	return end, nil
}

// fork notes a batch that is never sequenced.
func (w *weaving) fork(b *Batch, why string) {
	w.suspect = append(w.suspect, func() {
		w.log.alarm(fmt.Sprintf("fork %s %x %d", b.Replica, b.Writer, b.First), "a replica's entries are not taken into the proof: its journal was forked, set back or changed",
			"replica", b.Replica, "writer", uuid.UUID(b.Writer), "sequence", b.First, "why", why)
	})
}
