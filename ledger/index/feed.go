package index

import (
	"context"
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
	// flushGap is how long batches gather when entries keep coming: the start and the end of most calls to tools then fall
	// into one, and are one row that is written once. Whoever waits in CatchUp does not wait for it.
	flushGap = 100 * time.Millisecond
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

// step stores one batch and reports whether there may be more at once. What comes before a torn frame is stored, too.
func (ix *Index) step(r *ledger.Reader) (more bool, err error) {
	ix.feeding.Lock()
	defer ix.feeding.Unlock()
	b := &ix.batch
	b.reset(ix.number)
	var torn error
	for b.size < batchMax {
		e, err := r.Next()
		if err == io.EOF {
			break
		}
		if _, ok := errors.AsType[*journal.TornError](err); ok {
			torn = err
			break
		}
		if err != nil {
			return false, err
		}
		b.add(&e, r.Payload())
	}
	if b.size == 0 {
		return false, torn
	}
	if err := ix.store(b, r.Position()); err != nil {
		clear(ix.lanes) // some may be numbers that were taken back
		return false, err
	}
	ix.number = b.number
	ix.settle(r.Position(), nil)
	return b.size == batchMax, torn
}

// settle says how far the index has come, or why not further.
func (ix *Index) settle(p journal.Position, err error) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	ix.position, ix.failed = p, err
	close(ix.moved)
	ix.moved = make(chan struct{})
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
