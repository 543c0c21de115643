package index

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"time"

	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/index/store"
	"github.com/tollgate/tollgate/ledger/journal"
)

const (
	// batchMax bounds a transaction: about 20 ms of work, in which queries go on. After one that was full the index is behind,
	// and batchBehind bounds the next: the same rows of use and pages of indexes are then written fewer times.
	batchMax    = 1000
	batchBehind = 5000
	// flushGap is how long batches gather when entries keep coming: the start and the end of most calls to tools then fall
	// into one, and are one row that is written once. Whoever waits in CatchUp does not wait for it.
	flushGap = 100 * time.Millisecond
	// retryGap is how long to wait after a batch could not be stored.
	retryGap = time.Second
	// idleWait bounds a wait for entries, as a net under lost wake-ups.
	idleWait = time.Second
	// beatGap is how often other replicas are told how far this one is, when it has nothing else to store.
	beatGap = 5 * time.Second
	// trimGap is how often what is too old is removed, trimPause how long to wait between two parts of it.
	trimGap   = 10 * time.Minute
	trimPause = 20 * time.Millisecond
	// usageKept is how long use by day stays at least: five years and a little, for the books.
	usageKept = 5 * 366 * 24 * time.Hour
)

// Run follows the ledger until ctx ends, and removes what Retain calls too old. An error of the database does not end it: it
// is kept for CatchUp, passed to failed (nil: not), and the batch is tried again. failed is called by one goroutine at a time.
func (ix *Index) Run(ctx context.Context, failed func(error)) {
	var one sync.Mutex
	report := func(err error) {
		one.Lock()
		defer one.Unlock()
		if failed != nil {
			failed(err)
		}
	}
	var trimming sync.WaitGroup
	trimming.Go(func() { ix.trimOn(ctx, report) })
	defer trimming.Wait()
	anew := false
	for ctx.Err() == nil {
		err := ix.follow(ctx, anew)
		salvaged := errors.Is(err, journal.ErrSalvaged)
		if anew = salvaged || errors.Is(err, journal.ErrTrimmed); anew && !salvaged {
			err = fmt.Errorf("%w: the database was put back to an earlier state, and the entries between are in sinks and exports only; "+
				"the index goes on with those there are", err)
		}
		if err == nil || ctx.Err() != nil {
			continue
		}
		ix.settle(err)
		report(err)
		sleep(ctx, retryGap, nil)
	}
}

// follow reads and stores batches until ctx or an error ends it: from where the database has come to, or anew from where the
// journal begins.
func (ix *Index) follow(ctx context.Context, anew bool) error {
	if err := ix.reload(ctx); err != nil {
		return err
	}
	from := ix.Position()
	if anew {
		from = journal.Position{}
	}
	r := ix.ledger.Reader(from)
	defer r.Close()
	for ctx.Err() == nil {
		asOf := time.Now()
		more, err := ix.step(ctx, r)
		if errors.Is(err, store.ErrMoved) {
			return nil // and begin again from where the other has come to
		}
		if err != nil {
			return err
		}
		if !more {
			if err := ix.beat(ctx, asOf); err != nil {
				return err
			}
			r.Wait(ctx, idleWait)
			sleep(ctx, flushGap, ix.hurry)
		}
	}
	return nil
}

func (ix *Index) reload(ctx context.Context) error {
	ix.feeding.Lock()
	defer ix.feeding.Unlock()
	if ix.loaded {
		return nil
	}
	return ix.load(ctx)
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

// step stores one batch and reports whether there may be more at once. What comes before a torn frame is stored, too. After an
// error the reader is to be thrown away: what is known of the database is loaded again first.
func (ix *Index) step(ctx context.Context, r *ledger.Reader) (more bool, err error) {
	ix.feeding.Lock()
	defer ix.feeding.Unlock()
	b := &ix.batch
	b.Reset(ix.at.Number)
	defer func() {
		if err != nil {
			ix.loaded = false
		}
	}()
	torn, err := ix.gather(ctx, r)
	if err != nil || b.Size == 0 {
		return false, errors.Join(err, torn)
	}
	to := store.Progress{Position: r.Position(), Number: b.Number, Turn: ix.at.Turn + 1}
	if err := ix.engine.Save(ctx, b, ix.at, to); err != nil {
		return false, err
	}
	ix.at, ix.beaten = to, time.Now()
	for _, w := range b.Writers {
		ix.seqs[w.Writer] = w.To
	}
	ix.settle(nil)
	more = b.Size >= ix.most
	if ix.most >= batchMax { // else a test has set it
		ix.most = batchMax
		if more {
			ix.most = batchBehind
		}
	}
	return more, torn
}

// gather fills the batch. torn is a frame that does not hold, which ends it.
func (ix *Index) gather(ctx context.Context, r *ledger.Reader) (torn, err error) {
	b := &ix.batch
	var writer string
	var stored uint64
	for b.Size < ix.most {
		e, err := r.Next()
		if err == io.EOF {
			return nil, nil
		}
		if _, ok := errors.AsType[*journal.TornError](err); ok {
			return err, nil
		}
		if err != nil {
			return nil, err
		}
		if e.Writer != writer {
			if stored, err = ix.stored(ctx, e.Writer); err != nil {
				return nil, err
			}
			writer = e.Writer
		}
		b.Add(&e, r.Payload(), stored)
	}
	return nil, nil
}

// stored is the last sequence of a writer in the database. The caller holds feeding.
func (ix *Index) stored(ctx context.Context, writer string) (uint64, error) {
	if seq, ok := ix.seqs[writer]; ok {
		return seq, nil
	}
	seq, err := ix.engine.Stored(ctx, writer)
	if err == nil {
		ix.seqs[writer] = seq
	}
	return seq, err
}

// settle says how far the index has come, or why not further.
func (ix *Index) settle(err error) {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	if ix.failed = err; err == nil {
		ix.position = ix.at.Position
		if t := ix.batch.Last; t.After(ix.through) && t.Before(time.Now()) {
			ix.through = t
		}
	}
	close(ix.moved)
	ix.moved = make(chan struct{})
}

// beat notes that all up to a time is stored.
func (ix *Index) beat(ctx context.Context, through time.Time) error {
	ix.mu.Lock()
	ix.through, ix.failed = through, nil
	ix.mu.Unlock()
	ix.feeding.Lock()
	defer ix.feeding.Unlock()
	if time.Since(ix.beaten) < beatGap {
		return nil
	}
	ix.beaten = time.Now()
	return ix.engine.Beat(ctx, through)
}

// trimOn removes what is too old, now and then.
func (ix *Index) trimOn(ctx context.Context, report func(error)) {
	for ctx.Err() == nil {
		if err := ix.Trim(ctx, time.Now()); err != nil && ctx.Err() == nil {
			report(err)
		}
		sleep(ctx, trimGap, nil)
	}
}

// Trim removes what is too old at a time, by what Retain said. Run does so by itself.
func (ix *Index) Trim(ctx context.Context, now time.Time) error {
	keep := time.Duration(ix.keep.Load())
	if keep <= 0 {
		return nil
	}
	c := store.Cut{At: store.AtFrom(now.Add(-keep)), Hour: store.HourOf(now.Add(-keep)), Day: store.DayOf(store.HourOf(now.Add(-max(keep, usageKept))))}
	for ctx.Err() == nil {
		more, err := ix.engine.Trim(ctx, c)
		if err != nil {
			return fmt.Errorf("remove what is too old from the index: %w", err)
		}
		if !more {
			break
		}
		sleep(ctx, trimPause, nil)
	}
	return ctx.Err()
}

// Read opens the SQLite index of a ledger directory that no process has open, and brings it up to the journal's end. It
// holds the directory meanwhile; durable.ErrLocked, wrapped, says that a process does.
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
		if more, err = ix.step(context.Background(), r); err != nil {
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
