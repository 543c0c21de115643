package index

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate/tollgate/internal/postgres"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/index/pgsql"
	"github.com/tollgate/tollgate/ledger/index/sqlite"
	"github.com/tollgate/tollgate/ledger/index/store"
	"github.com/tollgate/tollgate/ledger/journal"
)

// Index is the database. All methods are safe for concurrent use.
type Index struct {
	ledger *ledger.Ledger // that Run follows; nil: nobody writes
	engine store.Engine

	feeding sync.Mutex // held by the one that stores batches; guards what follows
	loaded  bool       // at and seqs are those of the database
	at      store.Progress
	seqs    map[string]uint64 // the last sequence stored, of the writers met
	most    int               // entries in a batch
	batch   store.Batch       // used again and again
	beaten  time.Time         // when others were told last

	mu       sync.Mutex
	position journal.Position // all before it is stored; guarded by mu
	moved    chan struct{}    // closed when position moves, or fed fails; guarded by mu
	failed   error            // why the last batch was not stored; guarded by mu
	through  time.Time        // all entries up to then are stored; guarded by mu

	keep  atomic.Int64  // how long calls are kept, in nanoseconds; 0: for ever
	hurry chan struct{} // somebody waits in CatchUp
}

// Open opens or makes the SQLite database at path for a ledger in use. Run, started by the caller, keeps it up with it.
// A database of an older form is brought up to date, one of a newer is refused.
func Open(path string, l *ledger.Ledger) (*Index, error) {
	s, err := sqlite.Open(path)
	if err != nil {
		return nil, err
	}
	return newIndex(context.Background(), s, l)
}

// OpenPostgres opens the index that replicas share, and makes its tables. replica names this one's journal for good, whatever
// directory it lies in. Run, started by the caller, keeps the database up with l; when it cannot be reached calls go on, and
// entries wait in the journal. db stays the caller's.
func OpenPostgres(ctx context.Context, db *postgres.DB, replica string, l *ledger.Ledger) (*Index, error) {
	e, err := pgsql.Open(ctx, db, replica, !db.Cockroach())
	if err != nil {
		return nil, err
	}
	return newIndex(ctx, e, l)
}

func newIndex(ctx context.Context, e store.Engine, l *ledger.Ledger) (*Index, error) {
	ix := &Index{
		ledger: l, engine: e, most: batchMax, batch: store.NewBatch(), moved: make(chan struct{}), hurry: make(chan struct{}, 1), through: time.Now(),
	}
	ix.feeding.Lock()
	defer ix.feeding.Unlock()
	if err := ix.load(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open the index: %w", err), ix.Close())
	}
	return ix, nil
}

// load reads from the database how far the feed has come. The caller holds feeding.
func (ix *Index) load(ctx context.Context) error {
	at, err := ix.engine.Load(ctx)
	if err != nil {
		return err
	}
	ix.at, ix.seqs, ix.loaded = at, map[string]uint64{}, true
	ix.mu.Lock()
	ix.position = at.Position
	ix.mu.Unlock()
	return nil
}

// Close closes an SQLite database; one in PostgreSQL belongs to whoever opened it. Run must have ended.
func (ix *Index) Close() error { return ix.engine.Close() }

// Position is how far the index has come: what the journal holds before it is stored.
func (ix *Index) Position() journal.Position {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	return ix.position
}

// Retain says how long calls are listed; 0, as in the beginning: for ever. Run removes what is older. Use by day stays for
// usageKept at least.
func (ix *Index) Retain(d time.Duration) { ix.keep.Store(int64(d)) }

// Feed is how far the entries of one replica are in the index.
type Feed = store.Feed

// Use is what calls used.
type Use = store.Use

// UnreachableError says that the index's database does not answer.
type UnreachableError = store.UnreachableError

// Lag is how far this process's index is behind its journal: about a second when it keeps up.
func (ix *Index) Lag() time.Duration {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	return max(0, time.Since(ix.through))
}

// Feeds lists how far the index is with the entries of each replica, this one first. Of replicas that have gone, the feed
// stays as it was. With an error it lists this one alone.
func (ix *Index) Feeds(ctx context.Context) ([]Feed, error) {
	feeds, err := ix.engine.Feeds(ctx)
	if err != nil || len(feeds) == 0 {
		feeds = []Feed{{}}
	}
	ix.mu.Lock()
	defer ix.mu.Unlock()
	own := &feeds[0]
	own.Through, own.Seen, own.Failing, own.Lag = ix.through, time.Now(), ix.failed != nil, max(0, time.Since(ix.through)).Seconds()
	if err != nil {
		return feeds, fmt.Errorf("list the feeds of the index: %w", err)
	}
	return feeds, nil
}

// CatchUp waits until the index has reached what the ledger holds now. Queries that follow see all of it. It returns an
// *UnreachableError, wrapped, when the database does not answer.
func (ix *Index) CatchUp(ctx context.Context) error {
	if ix.ledger == nil {
		return nil // Read has brought it to the end
	}
	if err := ix.ledger.Sync(ctx); err != nil {
		return err
	}
	end := ix.ledger.End()
	for {
		ix.mu.Lock()
		reached, moved, failed := !ix.position.Before(end), ix.moved, ix.failed
		ix.mu.Unlock()
		if reached {
			return nil
		}
		if failed != nil {
			return fmt.Errorf("the index is behind: %w", failed)
		}
		select {
		case ix.hurry <- struct{}{}:
		default:
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return fmt.Errorf("wait for the index: %w", ctx.Err())
		}
	}
}
