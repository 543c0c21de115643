package sequencer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/ledger/journal"
	"github.com/tollgate/tollgate/ledger/proof"
)

// sameSizeMax bounds how many checkpoints over the same entries there are: one, and more by rotations of the key.
const sameSizeMax = 16

// ErrRefused means that nothing is signed because it would contradict what was signed before, or by a key that is not the
// log's. It does not mend by itself.
var ErrRefused = errors.New("no checkpoint is signed")

// sign signs the tree when it is time, or at once when asked, if it has grown since the last checkpoint.
func (l *Log) sign(ctx context.Context, now bool) error {
	head, last, err := l.standing(ctx)
	if err != nil {
		return err
	}
	grown := head.Tree.Size() - last.Size
	due := now || grown >= l.cfg.Entries || l.cfg.Now().Sub(last.Time) >= l.cfg.Every
	if grown <= 0 || !due {
		return nil
	}
	if err := l.goesOn(ctx, head, last.Note); err != nil {
		return err
	}
	key, err := l.key(head)
	if err != nil {
		return err
	}
	return l.put(ctx, head, last, "", key)
}

// standing is where the log stands, and that it goes on from what was signed and seen.
func (l *Log) standing(ctx context.Context) (Head, Signed, error) {
	// The checkpoint first: the head that is read after it cannot be behind it, unless the log was set back.
	last, err := l.cfg.Store.LastCheckpoint(ctx)
	if err != nil {
		return Head{}, last, err
	}
	head, err := l.cfg.Store.Head(ctx)
	if err != nil {
		return head, last, err
	}
	l.last = last.Time
	if last.Number == l.looked && l.looked > 0 {
		return head, last, nil
	}
	seen, err := l.seen()
	if err != nil {
		return head, last, err
	}
	for _, note := range [][]byte{last.Note, seen} {
		if err := l.goesOn(ctx, head, note); err != nil {
			return head, last, err
		}
	}
	if err := l.remember(ctx, last, seen); err != nil {
		return head, last, err
	}
	return head, last, nil
}

// goesOn checks that the tree at head goes on from a checkpoint.
func (l *Log) goesOn(ctx context.Context, head Head, note []byte) error {
	if len(note) == 0 {
		return nil
	}
	c, err := proof.ReadCheckpoint(note)
	if err != nil {
		return fmt.Errorf("read the last checkpoint: %w", err)
	}
	size := head.Tree.Size()
	switch {
	case c.Origin != head.Origin:
		return l.refuse("origin", "the log is %s, and the last checkpoint seen here is of %s: move %s away if it was replaced on purpose", head.Origin, c.Origin, l.cfg.Seen)
	case c.Size > size:
		return l.refuse("back", "the log has %d entries, and a checkpoint over %d was signed: the database or the data directory was set back", size, c.Size)
	}
	hashes := l.cfg.Store.Hashes(ctx)
	for _, tree := range []tlog.Tree{{N: c.Size, Hash: c.Root}, {N: size, Hash: head.Tree.Root()}} {
		root, err := tlog.TreeHash(tree.N, hashes)
		if errors.Is(err, ErrGone) && tree.N == c.Size {
			if err := l.stands(ctx, c.Size, note); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("hold the tree against the last checkpoint: %w", err)
		}
		if root != tree.Hash {
			return l.refuse("fork", "the first %d entries are not those that were signed: the database or the journal was changed", tree.N)
		}
	}
	return nil
}

// stands checks that a checkpoint over entries that are not kept any more is one of the log's: whoever signed the ones
// after it has held them against it.
func (l *Log) stands(ctx context.Context, size int64, note []byte) error {
	all, err := l.cfg.Store.Checkpoints(ctx, size, 0, sameSizeMax)
	if err != nil {
		return fmt.Errorf("hold the tree against the last checkpoint: %w", err)
	}
	for _, s := range all {
		if bytes.Equal(s.Note, note) {
			return nil
		}
	}
	return l.refuse("unknown", "the checkpoint over %d entries that was last seen here is not among those of the log: the database was changed", size)
}

// refuse is an alarm and an error.
func (l *Log) refuse(what, format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	l.alarm("refused "+what, "no checkpoint is signed", "why", text)
	return fmt.Errorf("%w: %s", ErrRefused, text)
}

// key is the one that the log is signed with, of those that this process has.
func (l *Log) key(head Head) (proof.Key, error) {
	seeds, err := l.cfg.Keys()
	if err != nil {
		return proof.Key{}, err
	}
	for _, seed := range seeds {
		key, err := proof.NewKey(head.Origin, seed)
		if err != nil {
			return key, err
		}
		if head.Verifier == "" || key.Verifier() == head.Verifier {
			return key, nil
		}
	}
	return proof.Key{}, l.refuse("key", "the log is signed with the key %s, which this process does not have: give it, or introduce the new one with tollgate audit rotate-key", head.Verifier)
}

// put signs the tree at head and keeps the checkpoint. next introduces another key: keys are then the old and the new one.
func (l *Log) put(ctx context.Context, head Head, last Signed, next string, keys ...proof.Key) error {
	at := l.cfg.Now().UTC().Truncate(time.Second)
	if at.Before(last.Time) { // the clock was set back: times of checkpoints never are
		at = last.Time
	}
	c := proof.Checkpoint{Origin: head.Origin, Size: head.Tree.Size(), Root: head.Tree.Root(), Time: at, Next: next}
	note, err := c.Sign(keys...)
	if err != nil {
		return fmt.Errorf("sign a checkpoint: %w", err)
	}
	signed, err := l.cfg.Store.sign(ctx, head, &c, note, keys[len(keys)-1].Verifier())
	if errors.Is(err, ErrMoved) {
		return nil // another process has signed; this one is never seen
	}
	if err != nil {
		return fmt.Errorf("keep a checkpoint: %w", err)
	}
	l.last = signed.Time
	return l.remember(ctx, signed, nil)
}

// remember keeps a checkpoint as the newest that was seen, and tells of it.
func (l *Log) remember(ctx context.Context, s Signed, seen []byte) error {
	if s.Number == 0 {
		return nil
	}
	if !bytes.Equal(s.Note, seen) && l.cfg.Seen != "" && !l.cfg.Beside {
		if err := durable.WriteFile(l.cfg.Seen, s.Note, 0o600); err != nil {
			return fmt.Errorf("keep the newest checkpoint: %w", err)
		}
	}
	l.looked = s.Number
	if err := l.release(ctx, s.Size); err != nil {
		return err
	}
	if l.cfg.Signed != nil {
		l.cfg.Signed()
	}
	return nil
}

// release says what of the journal is needed no more: everything up to the block in which the last checkpoint ends. In
// the shared database the frames are there, so what was shipped is.
func (l *Log) release(ctx context.Context, size int64) error {
	if l.cfg.Store.dir == nil {
		all, err := l.cfg.Store.places(ctx)
		if err == nil {
			shipped := all[l.cfg.Replica].shipped
			l.needs.Store(&shipped)
		}
		return err
	}
	batches, err := l.cfg.Store.Batches(ctx, size-size%proof.BlockLeaves, 1)
	if err != nil || len(batches) == 0 {
		return err
	}
	l.needs.Store(&batches[0].Place)
	begins, err := journal.ReadBeginning(l.cfg.Store.dir)
	if err != nil {
		return err
	}
	return l.cfg.Store.follow(ctx, begins.Position)
}

// seen reads the newest checkpoint that this process has signed or seen.
func (l *Log) seen() ([]byte, error) {
	if l.cfg.Seen == "" {
		return nil, nil
	}
	note, err := os.ReadFile(l.cfg.Seen)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return note, err
}

// look is what a process does that does not sign: it checks what others have signed.
func (l *Log) look(ctx context.Context) error {
	_, _, err := l.standing(ctx)
	return err
}

// Rotate makes the key with secret next the one that signs: a checkpoint that introduces it is signed with the old key and
// with it. It returns the new verifier. When nothing was signed yet there is nothing to introduce.
func (l *Log) Rotate(ctx context.Context, next []byte) (string, error) {
	l.stepping.Lock()
	defer l.stepping.Unlock()
	head, last, err := l.standing(ctx)
	if err != nil {
		return "", err
	}
	key, err := proof.NewKey(head.Origin, next)
	if err != nil || head.Verifier == "" || head.Verifier == key.Verifier() {
		return key.Verifier(), err
	}
	old, err := l.key(head)
	if err != nil {
		return "", err
	}
	if err := l.put(ctx, head, last, key.Verifier(), old, key); err != nil {
		return "", err
	}
	if head, err = l.cfg.Store.Head(ctx); err == nil && head.Verifier != key.Verifier() {
		err = errors.New("another process signed a checkpoint at the same moment: try again")
	}
	return key.Verifier(), err
}
