package index

import (
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/tollgate/tollgate/ledger/journal"
)

// sqliteVersion stands in the database. Older ones are brought up to it step by step, so that nothing is lost that the
// journal may no longer hold; a newer one is refused.
const sqliteVersion = 4

// sqliteRemake is the newest version that is made again from the journal: those were never released.
const sqliteRemake = 2

// sqliteSchema is version 3. It has one row in calls for each call, or for each entry that is not about a call. at orders
// them by time: milliseconds shifted by 20 bits, and the low bits of a running number. entries holds their journal
// payloads, each behind its length, so that what the columns leave out is not lost. Whose a call is and where it went are
// columns of lanes, which calls and usage name by number: there are few of them, and each call would repeat eight texts.
//
// Trace ids are random, so an index of them alone would have each call change a page of its own. block counts calls in
// thousands: in the index of block and trace a batch changes the few pages of its block, and a search looks into each
// block, of which there are few.
const sqliteSchema = `
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

// sqliteRollups makes version 4 of version 3: roll-ups by day, the last sequence of each writer, and the index by lane and
// the one of calls that did not simply go well. A principal alone and a target alone are lanes, too.
const sqliteRollups = `
CREATE TABLE usage_days (
  hour INTEGER NOT NULL, lane INTEGER NOT NULL,
  calls INTEGER NOT NULL, denied INTEGER NOT NULL, failed INTEGER NOT NULL,
  cost INTEGER NOT NULL, estimated INTEGER NOT NULL, tokens INTEGER NOT NULL, input INTEGER NOT NULL, output INTEGER NOT NULL,
  PRIMARY KEY (hour, lane)
) WITHOUT ROWID;
CREATE TABLE usage_who (
  hour INTEGER NOT NULL, lane INTEGER NOT NULL,
  calls INTEGER NOT NULL, denied INTEGER NOT NULL, failed INTEGER NOT NULL,
  cost INTEGER NOT NULL, estimated INTEGER NOT NULL, tokens INTEGER NOT NULL, input INTEGER NOT NULL, output INTEGER NOT NULL,
  PRIMARY KEY (hour, lane)
) WITHOUT ROWID;
CREATE TABLE usage_what (
  hour INTEGER NOT NULL, lane INTEGER NOT NULL,
  calls INTEGER NOT NULL, denied INTEGER NOT NULL, failed INTEGER NOT NULL,
  cost INTEGER NOT NULL, estimated INTEGER NOT NULL, tokens INTEGER NOT NULL, input INTEGER NOT NULL, output INTEGER NOT NULL,
  PRIMARY KEY (hour, lane)
) WITHOUT ROWID;
INSERT OR IGNORE INTO lanes (customer, team, key, key_id, user, action, upstream, target)
  SELECT DISTINCT customer, team, key, key_id, user, '', '', '' FROM lanes;
INSERT OR IGNORE INTO lanes (customer, team, key, key_id, user, action, upstream, target)
  SELECT DISTINCT '', '', '', '', '', action, upstream, target FROM lanes;
INSERT INTO usage_days SELECT hour - hour % 24, lane, sum(calls), sum(denied), sum(failed), sum(cost), sum(estimated),
  sum(tokens), sum(input), sum(output) FROM usage GROUP BY 1, 2;
INSERT INTO usage_who SELECT d.hour, w.lane, sum(calls), sum(denied), sum(failed), sum(cost), sum(estimated),
  sum(tokens), sum(input), sum(output) FROM usage_days d JOIN lanes l ON l.lane = d.lane JOIN lanes w
  ON (w.customer, w.team, w.key, w.key_id, w.user, w.action, w.upstream, w.target) = (l.customer, l.team, l.key, l.key_id, l.user, '', '', '')
  GROUP BY 1, 2;
INSERT INTO usage_what SELECT d.hour, w.lane, sum(calls), sum(denied), sum(failed), sum(cost), sum(estimated),
  sum(tokens), sum(input), sum(output) FROM usage_days d JOIN lanes l ON l.lane = d.lane JOIN lanes w
  ON (w.customer, w.team, w.key, w.key_id, w.user, w.action, w.upstream, w.target) = ('', '', '', '', '', l.action, l.upstream, l.target)
  GROUP BY 1, 2;
CREATE INDEX calls_lane ON calls (lane);
CREATE INDEX calls_unlike ON calls (at) WHERE kind <> 3 OR outcome <> 'ok';
CREATE INDEX lanes_key ON lanes (key);
CREATE INDEX lanes_target ON lanes (target);
ALTER TABLE cursor ADD COLUMN turn INTEGER NOT NULL DEFAULT 0;
CREATE TABLE writers (writer TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
`

// migrate brings the database to sqliteVersion in one transaction.
func migrateSQLite(db *sql.DB) error {
	var version int
	if err := db.QueryRow("PRAGMA user_version").Scan(&version); err != nil {
		return err
	}
	switch {
	case version == sqliteVersion:
		return nil
	case version > sqliteVersion:
		return fmt.Errorf("it was written by a newer tollgate (form %d, this one knows %d): start that one, "+
			"or move the file away, and the index is made again from the journal as far as the journal goes back", version, sqliteVersion)
	}
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if version <= sqliteRemake {
		if err := createSQLite(tx); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(sqliteRollups); err != nil {
		return err
	}
	if err := rememberWriter(tx); err != nil {
		return err
	}
	if _, err := tx.Exec(fmt.Sprintf("PRAGMA user_version = %d", sqliteVersion)); err != nil {
		return err
	}
	return tx.Commit()
}

// createSQLite makes an empty database of version 3 out of whatever there is.
func createSQLite(tx *sql.Tx) error {
	for _, table := range []string{"calls", "usage", "cursor", "lanes"} {
		if _, err := tx.Exec("DROP TABLE IF EXISTS " + table); err != nil {
			return err
		}
	}
	_, err := tx.Exec(sqliteSchema)
	return err
}

// rememberWriter notes the writer that the position is in.
func rememberWriter(tx *sql.Tx) error {
	var text string
	if err := tx.QueryRow("SELECT position FROM cursor").Scan(&text); err != nil {
		return err
	}
	var p journal.Position
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return fmt.Errorf("stored position: %w", err)
	}
	if p.Seq == 0 {
		return nil
	}
	_, err := tx.Exec("INSERT INTO writers VALUES (?, ?)", writerName(p.Writer), p.Seq)
	return err
}
