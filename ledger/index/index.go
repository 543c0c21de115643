package index

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"path/filepath"
	"sync"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/journal"
)

const (
	// schemaVersion stands in the database; one of another version is made again from the journal.
	schemaVersion = 3
	// readersMax bounds queries at the same time.
	readersMax = 4
	// busyWait is how long a query waits for a lock of the database: a flush takes a few milliseconds.
	busyWait = 5 * time.Second
	// checkpointPages is how long the database's log grows, 16 MB, before its pages are put in their places: most are
	// changed by several batches and are then put there once.
	checkpointPages = 4000
)

// schema has one row in calls for each call, or for each entry that is not about a call. at orders them by time:
// milliseconds shifted by 20 bits, and the low bits of a running number. entries holds their journal payloads, each
// behind its length, so that what the columns leave out is not lost. Whose a call is and where it went are columns of
// lanes, which calls and usage name by number: there are few of them, and each call would repeat eight texts.
//
// Trace ids are random, so an index of them alone would have each call change a page of its own. block counts calls in
// thousands: in the index of block and trace a batch changes the few pages of its block, and a search looks into each
// block, of which there are few.
const schema = `
CREATE TABLE lanes (
  lane INTEGER PRIMARY KEY,
  customer TEXT NOT NULL, team TEXT NOT NULL, key TEXT NOT NULL, key_id TEXT NOT NULL, user TEXT NOT NULL,
  action TEXT NOT NULL, upstream TEXT NOT NULL, target TEXT NOT NULL,
  UNIQUE (customer, team, key, key_id, user, action, upstream, target)
);
CREATE TABLE calls (
  at INTEGER PRIMARY KEY,
  id BLOB NOT NULL,
  kind INTEGER NOT NULL,
  lane INTEGER NOT NULL,
  block INTEGER NOT NULL, trace BLOB,
  parent BLOB,
  outcome TEXT NOT NULL,
  entries BLOB NOT NULL
);
CREATE INDEX calls_id ON calls (id);
CREATE INDEX calls_trace ON calls (block, trace) WHERE trace IS NOT NULL;
CREATE INDEX calls_parent ON calls (parent) WHERE parent IS NOT NULL;
CREATE TABLE usage (
  hour INTEGER NOT NULL,
  lane INTEGER NOT NULL,
  calls INTEGER NOT NULL, denied INTEGER NOT NULL, failed INTEGER NOT NULL,
  cost INTEGER NOT NULL, estimated INTEGER NOT NULL, tokens INTEGER NOT NULL, input INTEGER NOT NULL, output INTEGER NOT NULL,
  PRIMARY KEY (hour, lane)
) WITHOUT ROWID;
CREATE TABLE cursor (position TEXT NOT NULL, number INTEGER NOT NULL);
INSERT INTO cursor VALUES ('{}', 0);
`

// Index is the database. All methods are safe for concurrent use.
type Index struct {
	ledger *ledger.Ledger // that Run follows; nil: nobody writes

	write *sql.DB // one connection, used by whoever holds feeding
	read  *sql.DB

	feeding sync.Mutex // held by the one that stores batches; guards what follows
	stmts   statements
	batch   batch          // used again and again
	lanes   map[lane]int64 // those met of late, by their numbers
	number  int64          // rows made so far

	mu       sync.Mutex
	position journal.Position // all before it is stored; guarded by mu
	moved    chan struct{}    // closed when position moves, or fed fails; guarded by mu
	failed   error            // why the last batch was not stored; guarded by mu

	hurry chan struct{} // somebody waits in CatchUp
}

// Open opens or makes the database at path for a ledger in use. Run, started by the caller, keeps it up with it.
func Open(path string, l *ledger.Ledger) (*Index, error) {
	ix := &Index{ledger: l, batch: newBatch(), lanes: map[lane]int64{}, moved: make(chan struct{}), hurry: make(chan struct{}, 1)}
	err := ix.open(path)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open index %s: %w", path, err), ix.Close())
	}
	return ix, nil
}

func (ix *Index) open(path string) (err error) {
	if ix.write, err = connect(path, 1, false); err != nil {
		return err
	}
	var version int
	if err := ix.write.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	if version != schemaVersion {
		if err := ix.create(); err != nil {
			return err
		}
	}
	var position string
	if err := ix.write.QueryRow("SELECT position, number FROM cursor").Scan(&position, &ix.number); err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(position), &ix.position); err != nil {
		return fmt.Errorf("stored position: %w", err)
	}
	if err := ix.stmts.prepare(ix.write); err != nil {
		return err
	}
	ix.read, err = connect(path, readersMax, true)
	return err
}

func connect(path string, connections int, readOnly bool) (*sql.DB, error) {
	q := url.Values{"_pragma": {
		fmt.Sprintf("busy_timeout(%d)", busyWait.Milliseconds()), "journal_mode(wal)", "synchronous(normal)",
		"temp_store(memory)", // else a statement of several rows notes in a file what it changes, page by page
		fmt.Sprintf("wal_autocheckpoint(%d)", checkpointPages),
	}}
	if readOnly {
		q.Add("_pragma", "query_only(true)")
	}
	absolute, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: filepath.ToSlash(absolute), RawQuery: q.Encode()}).String())
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

// create makes an empty database of this version out of whatever there is.
func (ix *Index) create() error {
	tx, err := ix.write.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for _, table := range []string{"calls", "usage", "cursor", "lanes"} {
		if _, err := tx.Exec("DROP TABLE IF EXISTS " + table); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(schema + fmt.Sprintf("PRAGMA user_version = %d", schemaVersion)); err != nil {
		return err
	}
	return tx.Commit()
}

// Close closes the database. Run must have ended.
func (ix *Index) Close() error {
	errs := []error{ix.stmts.close()}
	for _, db := range []*sql.DB{ix.read, ix.write} {
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	return errors.Join(errs...)
}

// Position is how far the index has come.
func (ix *Index) Position() journal.Position {
	ix.mu.Lock()
	defer ix.mu.Unlock()
	return ix.position
}

// CatchUp waits until the index has reached what the ledger holds now. Queries that follow see all of it.
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
