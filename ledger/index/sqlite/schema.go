package sqlite

import (
	"database/sql"
	"encoding/json"
	"fmt"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/journal"
)

// version stands in the database. Older ones are brought up to it step by step, so that nothing is lost that the
// journal may no longer hold; a newer one is refused.
const version = 4

// remake is the newest version that is made again from the journal: those were never released.
const remake = 2

// schema is version 3. It has one row in calls for each call, or for each entry that is not about a call. at orders
// them by time: milliseconds shifted by 20 bits, and the low bits of a running number. entries holds their journal
// payloads, each behind its length, so that what the columns leave out is not lost. Whose a call is and where it went are
// columns of lanes, which calls and usage name by number: there are few of them, and each call would repeat eight texts.
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
CREATE TABLE usage ` + rollup + `;
CREATE TABLE cursor (position TEXT NOT NULL, number INTEGER NOT NULL);
INSERT INTO cursor VALUES ('{}', 0);
`

// rollup is what a table of use has, whatever it is summed up by.
const rollup = `(
  hour INTEGER NOT NULL, lane INTEGER NOT NULL,
  calls INTEGER NOT NULL, denied INTEGER NOT NULL, failed INTEGER NOT NULL,
  cost INTEGER NOT NULL, estimated INTEGER NOT NULL, tokens INTEGER NOT NULL, input INTEGER NOT NULL, output INTEGER NOT NULL,
  PRIMARY KEY (hour, lane)
) WITHOUT ROWID`

// sums are those of several rows of use.
const sums = `sum(calls), sum(denied), sum(failed), sum(cost), sum(estimated), sum(tokens), sum(input), sum(output)`

// rollups makes version 4 of version 3: roll-ups by day, the last sequence of each writer, and the index by lane and
// those of calls that did not simply go well. A principal alone and a target alone are lanes, too.
const rollups = `
CREATE TABLE usage_days ` + rollup + `;
CREATE TABLE usage_who ` + rollup + `;
CREATE TABLE usage_what ` + rollup + `;
INSERT OR IGNORE INTO lanes (customer, team, key, key_id, user, action, upstream, target)
  SELECT DISTINCT customer, team, key, key_id, user, '', '', '' FROM lanes;
INSERT OR IGNORE INTO lanes (customer, team, key, key_id, user, action, upstream, target)
  SELECT DISTINCT '', '', '', '', '', action, upstream, target FROM lanes;
INSERT INTO usage_days SELECT hour - hour % 24, lane, ` + sums + ` FROM usage GROUP BY 1, 2;
INSERT INTO usage_who SELECT d.hour, w.lane, ` + sums + ` FROM usage_days d JOIN lanes l ON l.lane = d.lane JOIN lanes w
  ON (w.customer, w.team, w.key, w.key_id, w.user, w.action, w.upstream, w.target) = (l.customer, l.team, l.key, l.key_id, l.user, '', '', '')
  GROUP BY 1, 2;
INSERT INTO usage_what SELECT d.hour, w.lane, ` + sums + ` FROM usage_days d JOIN lanes l ON l.lane = d.lane JOIN lanes w
  ON (w.customer, w.team, w.key, w.key_id, w.user, w.action, w.upstream, w.target) = ('', '', '', '', '', l.action, l.upstream, l.target)
  GROUP BY 1, 2;
CREATE INDEX calls_lane ON calls (lane);
CREATE INDEX calls_unlike ON calls (at, kind, outcome) WHERE kind <> 3 OR outcome <> 'ok';
CREATE INDEX calls_unlike_lane ON calls (lane, at, kind, outcome) WHERE kind <> 3 OR outcome <> 'ok';
CREATE INDEX calls_open ON calls (at) WHERE kind = 2;
CREATE INDEX usage_days_lane ON usage_days (lane);
CREATE INDEX lanes_key ON lanes (key);
CREATE INDEX lanes_target ON lanes (target);
ALTER TABLE cursor ADD COLUMN turn INTEGER NOT NULL DEFAULT 0;
CREATE TABLE writers (writer TEXT PRIMARY KEY, seq INTEGER NOT NULL) WITHOUT ROWID;
`

// migrate brings the database to version in one transaction.
func migrate(db *sql.DB) error {
	var found int
	if err := db.QueryRow("PRAGMA user_version").Scan(&found); err != nil {
		return err
	}
	switch {
	case found == version:
		return nil
	case found > version:
		return fmt.Errorf("it was written by a newer tollgate (form %d, this one knows %d): start that one, "+
			"or move the file away, and the index is made again from the journal as far as the journal goes back", found, version)
	}
	tx, err := db.Begin()
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if found <= remake {
		if err := create(tx); err != nil {
			return err
		}
	}
	if _, err := tx.Exec(rollups); err != nil {
		return err
	}
	if err := rememberWriter(tx); err != nil {
		return err
	}
	if _, err := tx.Exec(fmt.Sprintf("PRAGMA user_version = %d", version)); err != nil {
		return err
	}
	return tx.Commit()
}

// create makes an empty database of version 3 out of whatever there is.
func create(tx *sql.Tx) error {
	for _, table := range []string{"calls", "usage", "cursor", "lanes", "usage_days", "usage_who", "usage_what", "writers"} {
		if _, err := tx.Exec("DROP TABLE IF EXISTS " + table); err != nil {
			return err
		}
	}
	_, err := tx.Exec(schema)
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
	_, err := tx.Exec("INSERT INTO writers VALUES (?, ?)", ledger.ID(p.Writer).String(), p.Seq)
	return err
}
