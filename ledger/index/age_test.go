package index_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/index"
	"github.com/tollgate/tollgate/ledger/journal"
	"github.com/tollgate/tollgate/policy"
)

// formThree takes an index back to the form before roll-ups by day.
const formThree = `
DELETE FROM lanes WHERE lane NOT IN (SELECT lane FROM calls UNION SELECT lane FROM usage);
DROP TABLE usage_days; DROP TABLE usage_who; DROP TABLE usage_what; DROP TABLE writers;
DROP INDEX calls_lane; DROP INDEX calls_unlike; DROP INDEX calls_unlike_lane; DROP INDEX calls_open; DROP INDEX lanes_key; DROP INDEX lanes_target;
ALTER TABLE cursor DROP COLUMN turn;
PRAGMA user_version = 3;`

// An older index is brought up to date as it is: the journal may not hold its beginning any more.
func TestOlderFormsAreBroughtUpToDate(t *testing.T) {
	dir, l, want := written(t)
	ix, err := index.Open(index.Path(dir), l)
	if err != nil {
		t.Fatal(err)
	}
	if err := ix.Drain(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	ix.Close()
	change(t, index.Path(dir), formThree)
	if ix, err = index.Open(index.Path(dir), l); err != nil {
		t.Fatal(err)
	}
	same(t, dump(t, ix), want) // without a look into the journal
	if err := ix.Drain(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	same(t, dump(t, ix), want)
	ix.Close()
	change(t, index.Path(dir), "UPDATE cursor SET position = '{}'") // its last writer was noted
	if ix, err = index.Open(index.Path(dir), l); err != nil {
		t.Fatal(err)
	}
	if err := ix.Drain(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	same(t, dump(t, ix), want)
	ix.Close()

	change(t, index.Path(dir), "PRAGMA user_version = 2") // never released: made again
	if ix, err = index.Open(index.Path(dir), l); err != nil {
		t.Fatal(err)
	}
	if err := ix.Drain(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	same(t, dump(t, ix), want)
	ix.Close()

	change(t, index.Path(dir), "PRAGMA user_version = 99")
	if _, err := index.Open(index.Path(dir), l); err == nil || !strings.Contains(err.Error(), "written by a newer tollgate") {
		t.Errorf("an index of a newer form: %v", err)
	}
	if ix != nil {
		if info, err := os.Stat(index.Path(dir)); err != nil || info.Size() == 0 {
			t.Error("the index of the newer form was touched")
		}
	}
}

func change(t *testing.T, path, statements string) {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(statements); err != nil {
		t.Fatal(err)
	}
}

// What is too old goes, little by little; use by day stays; an end that comes after its reservation went is kept by itself.
func testOldCallsGo(t *testing.T, on *engine) {
	dir := t.TempDir()
	b := &book{t: t, dir: dir, now: noon}
	var err error
	if b.l, err = ledger.Open(ledger.Config{Dir: dir, Now: func() time.Time { return b.now }}); err != nil {
		t.Fatal(err)
	}
	defer b.l.Close()
	if b.ix, err = on.open(dir, b.l); err != nil {
		t.Fatal(err)
	}
	defer b.ix.Close()
	drain := func() {
		t.Helper()
		if err := b.l.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := b.ix.Drain(t.Context(), b.l); err != nil {
			t.Fatal(err)
		}
	}
	slow := b.reserve("bot", policy.Chat, "openai", "gpt-5")
	extended := b.reserve("bot", policy.Chat, "openai", "gpt-5")
	for range 120 { // 600 rows, more than are removed at once
		b.fill()
	}
	b.now = noon.AddDate(0, 0, 60) // two months later, in PostgreSQL's third partition
	b.fill()
	drain()
	before, err := b.ix.Usage(t.Context(), index.Filter{}, "day", "target")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.ix.Trim(t.Context(), b.now); err != nil || len(lines(t, b.ix, index.Filter{Limit: 1000})) < 10_000 {
		t.Error("without a retention something went", err)
	}
	b.ix.Retain(30 * 24 * time.Hour)
	if err := b.ix.Trim(t.Context(), b.now); err != nil {
		t.Fatal(err)
	}
	left := lines(t, b.ix, index.Filter{Limit: 1000})
	if n := strings.Count(left, "\n") + 1; n != 6 {
		t.Errorf("%d calls are left:\n%s", n, left)
	}
	after, err := b.ix.Usage(t.Context(), index.Filter{}, "day", "target")
	if err != nil || fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("use by day is %v, was %v: %v", after, before, err)
	}
	if hours, err := b.ix.Usage(t.Context(), index.Filter{To: noon.AddDate(0, 0, 30)}, "hour"); err != nil || len(hours.Items) != 0 {
		t.Errorf("hours are left: %v, %v", hours, err)
	}
	if on.db != nil && !on.plain {
		var old int
		if err := on.db.QueryRow(t.Context(), "SELECT count(*) FROM pg_class WHERE relname = 'index_calls_202611'").Scan(&old); err != nil || old != 0 {
			t.Errorf("the old month's partition is there: %v", err)
		}
	}

	b.post(slow, ledger.OK, 55)
	if err := extended.Extend(1, 1); err != nil {
		t.Fatal(err)
	}
	drain()
	b.post(extended, ledger.Cut, 66)
	drain()
	for _, r := range []*ledger.Reservation{slow, extended} {
		page, err := b.ix.Calls(t.Context(), index.Filter{ID: mustID(t, r.ID())})
		if err != nil || len(page.Items) != 1 || page.Items[0].Kind != ledger.Posted || page.Items[0].Ended.IsZero() {
			t.Errorf("the call whose reservation went: %+v, %v", page.Items, err)
		}
	}
	day := index.Filter{From: b.now.Add(-time.Hour), Target: "gpt-5"}
	if u, err := b.ix.Usage(t.Context(), day, "day"); err != nil || u.Total.Calls != 3 || u.Total.Cost != 200+55+66 {
		t.Errorf("%+v, %v", u, err)
	}
}

// A database that was put back to a state from before what the journal still has goes on with what there is, and says so.
func testJournalBeginsLater(t *testing.T, on *engine) {
	dir := t.TempDir()
	b := &book{t: t, dir: dir, now: noon}
	var err error
	if b.l, err = ledger.Open(ledger.Config{Dir: dir, SegmentBytes: 4 << 10, Now: func() time.Time { return b.now }}); err != nil {
		t.Fatal(err)
	}
	defer b.l.Close()
	if b.ix, err = on.open(dir, b.l); err != nil {
		t.Fatal(err)
	}
	b.fill()
	if err := errors.Join(b.l.Sync(t.Context()), b.ix.Drain(t.Context(), b.l)); err != nil {
		t.Fatal(err)
	}
	for range 30 {
		b.fill()
	}
	b.now = b.now.AddDate(1, 0, 0)
	b.fill()
	if err := b.l.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	begins, err := b.l.Trim(t.Context(), 30*24*time.Hour)
	if err != nil || begins == (journal.Position{}) {
		t.Fatal("nothing was removed", err)
	}
	said := make(chan error, 10)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.ix.Run(ctx, func(err error) { said <- err })
	}()
	if err := <-said; !errors.Is(err, journal.ErrTrimmed) || !strings.Contains(err.Error(), "put back to an earlier state") {
		t.Error(err)
	}
	for b.ix.CatchUp(t.Context()) != nil {
		time.Sleep(10 * time.Millisecond) // until the feed has tried again
	}
	stop()
	<-done
	if got := lines(t, b.ix, index.Filter{From: b.now.AddDate(0, -1, 0)}); strings.Count(got, "\n") < 5 {
		t.Errorf("the newest are missing:\n%s", got)
	}
	if err := b.ix.Close(); err != nil {
		t.Error(err)
	}
}

// Callers choose some texts. What an engine cannot have in a column is found all the same, and the entry keeps it.
func testAnyTextIsTaken(t *testing.T, on *engine) {
	b := openOn(t, on, t.TempDir())
	defer b.close()
	long := strings.Repeat("x", 5000)
	targets := []string{"a\x00b", long, `%_\`, "[a?]", "ümlaut 漢字", "'; DROP TABLE lanes; --"}
	for _, target := range targets {
		b.post(b.reserve("bot", policy.ResourceRead, long, target), ledger.OK, 1)
	}
	b.caughtUp()
	for _, target := range targets {
		found, err := b.ix.Calls(t.Context(), index.Filter{Target: target[:min(len(target), 1024)]})
		if err != nil || len(found.Items) != 1 {
			t.Errorf("%.20q: %d found, %v", target, len(found.Items), err)
		}
	}
	if found, err := b.ix.Calls(t.Context(), index.Filter{Target: `%*\`}); err != nil || len(found.Items) != 1 {
		t.Errorf("%d found by a pattern, %v", len(found.Items), err)
	}
	if u, err := b.ix.Usage(t.Context(), index.Filter{}, "target"); err != nil || len(u.Items) != len(targets) {
		t.Errorf("%d targets, %v", len(u.Items), err)
	}
}

// A path that cannot be opened says so.
func TestOpenSaysWhatIsWrong(t *testing.T) {
	if _, err := index.Open(filepath.Join(t.TempDir(), "no", "such", "index.db"), nil); err == nil || !strings.Contains(err.Error(), "open index") {
		t.Error(err)
	}
	path := filepath.Join(t.TempDir(), "index.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("not a database", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := index.Open(path, nil); err == nil {
		t.Error("a file that is no database is opened")
	}
}
