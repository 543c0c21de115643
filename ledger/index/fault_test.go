package index_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tollgate/tollgate/internal/postgres"
	"github.com/tollgate/tollgate/internal/postgrestest"
	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/index"
	"github.com/tollgate/tollgate/ledger/index/sqlite"
	"github.com/tollgate/tollgate/ledger/journal"
)

// dump is all that an index says, to be compared.
func dump(t testing.TB, ix *index.Index) string {
	t.Helper()
	var b strings.Builder
	for f := (index.Filter{OldestFirst: true, Limit: 1000}); ; {
		page, err := ix.Entries(context.Background(), f)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range page.Items {
			fmt.Fprintf(&b, "%+v\n", e)
		}
		if f.After = page.Next; f.After == "" {
			break
		}
	}
	for _, by := range [][]string{{"hour", "customer", "team", "key", "user", "action", "upstream", "target"}, {"team", "day"}, {"model", "tool", "day"}, {"key", "target", "month"}} {
		page, err := ix.Usage(context.Background(), index.Filter{}, by...)
		if err != nil {
			t.Fatal(err)
		}
		for _, u := range page.Items {
			fmt.Fprintf(&b, "%+v\n", u)
		}
		fmt.Fprintf(&b, "%+v\n", page.Total)
	}
	return b.String()
}

// same reports the first line in which two dumps differ.
func same(t testing.TB, got, want string) {
	t.Helper()
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			t.Errorf("line %d is\n%s\nwant\n%s", i, g[i], w[i])
			return
		}
	}
	if len(g) != len(w) {
		t.Errorf("%d lines, want %d", len(g), len(w))
	}
}

// written makes a ledger with some days of calls, many of which end in another batch of three than they began in, and
// returns it open, with what an index says of it that nothing disturbed.
func written(t *testing.T) (dir string, l *ledger.Ledger, want string) {
	t.Helper()
	dir = t.TempDir()
	b := &book{t: t, dir: dir, now: noon}
	var err error
	if b.l, err = ledger.Open(ledger.Config{Dir: dir, Durability: ledger.Relaxed, Now: func() time.Time { return b.now }}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.l.Close() })
	slow := b.reserve("bot", "llm.chat", "openai", "gpt-5")
	b.fill()
	if err := slow.Extend(40, 9); err != nil {
		t.Fatal(err)
	}
	b.now = b.now.Add(30 * time.Hour)
	b.fill()
	b.post(slow, ledger.OK, 777)
	b.reserve("web", "tool.call", "tracker", "create")
	if err := b.l.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	clean, err := index.Open(filepath.Join(t.TempDir(), "clean.db"), b.l)
	if err != nil {
		t.Fatal(err)
	}
	defer clean.Close()
	if err := clean.Drain(t.Context(), b.l); err != nil {
		t.Fatal(err)
	}
	return dir, b.l, dump(t, clean)
}

// setBack puts the place a feed goes on from back to an earlier one, as if the database had been restored in part.
func (e *engine) setBack(t *testing.T, dir, position string) {
	t.Helper()
	if e.db != nil {
		if _, err := e.db.Exec(t.Context(), "UPDATE index_feeds SET position = $1", position); err != nil {
			t.Fatal(err)
		}
		return
	}
	db, err := sql.Open("sqlite", index.Path(dir))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("UPDATE cursor SET position = ?", position); err != nil {
		t.Fatal(err)
	}
}

// Whatever place it begins again from, what is stored is not stored twice.
func testReplayChangesNothing(t *testing.T, on *engine) {
	dir, l, want := written(t)
	r := l.Reader(journal.Position{})
	defer r.Close()
	positions := []journal.Position{{}}
	for _, err := range r.All() {
		if err != nil {
			t.Fatal(err)
		}
		positions = append(positions, r.Position())
	}
	ix, err := on.open(dir, l)
	if err != nil {
		t.Fatal(err)
	}
	if err := ix.Drain(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	same(t, dump(t, ix), want)
	for i, p := range positions {
		if err := ix.Close(); err != nil {
			t.Fatal(err)
		}
		on.setBack(t, dir, fmt.Sprintf(`{"Segment":%d,"Offset":%d,"Writer":%s,"Seq":%d,"Chain":%s}`, p.Segment, p.Offset, numbers(p.Writer[:]), p.Seq, numbers(p.Chain[:])))
		if ix, err = on.open(dir, l); err != nil {
			t.Fatal(err)
		}
		ix.InBatchesOf(1 + i%5)
		if err := ix.Drain(t.Context(), l); err != nil {
			t.Fatal(err)
		}
		if got := dump(t, ix); got != want {
			t.Errorf("fed again from entry %d on:", i)
			same(t, got, want)
		}
	}
	ix.Close()
}

func numbers(b []byte) string { return strings.ReplaceAll(fmt.Sprint(b), " ", ",") }

// A process may die, and a connection be cut, at any statement: whether it was done or not, the next one goes on.
func TestCutAtEveryStatement(t *testing.T) {
	for _, mode := range []string{"lost", "kept"} {
		t.Run("sqlite/"+mode, func(t *testing.T) { cutSQLite(t, mode == "kept") })
		t.Run("postgres/"+mode, func(t *testing.T) { cutPostgres(t, mode == "kept") })
	}
}

// stride is how many places are left out between two cuts. All are cut where time is no matter.
func stride() int {
	switch {
	case testing.Short():
		return 9
	case os.Getenv("CI") == "":
		return 2
	}
	return 0
}

func cutSQLite(t *testing.T, kept bool) {
	_, l, want := written(t)
	for n := 1; ; n++ {
		path := filepath.Join(t.TempDir(), "index.db")
		dying.arm(n, kept)
		ix, err := openDying(path, l)
		if err == nil {
			ix.InBatchesOf(5)
			err = ix.Drain(t.Context(), l)
			ix.Close()
		}
		cut := dying.disarm()
		if !cut && err != nil {
			t.Fatal(err)
		}
		again, err := index.Open(path, l)
		if err != nil {
			t.Fatalf("after statement %d: %v", n, err)
		}
		if err := again.Drain(t.Context(), l); err != nil {
			t.Fatalf("after statement %d: %v", n, err)
		}
		if got := dump(t, again); got != want {
			t.Errorf("cut at statement %d:", n)
			same(t, got, want)
		}
		again.Close()
		if !cut {
			if n < 30 {
				t.Errorf("only %d statements were cut", n-1)
			}
			return
		}
		n += stride()
	}
}

func openDying(path string, l *ledger.Ledger) (*index.Index, error) {
	e, err := sqlite.OpenBy("dying", path)
	if err != nil {
		return nil, err
	}
	return index.OpenEngine(e, l)
}

// dying is a driver of SQLite that dies at a statement: from then on every one fails.
var dying = func() *dyingDriver { d := &dyingDriver{}; sql.Register("dying", d); return d }()

type dyingDriver struct {
	mu   sync.Mutex
	left int // statements; below 0: none fails
	kept bool
	dead bool
}

var errDied = errors.New("died")

func (d *dyingDriver) arm(n int, kept bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left, d.kept, d.dead = n, kept, false
}

func (d *dyingDriver) disarm() (died bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	died, d.dead, d.left = d.dead, false, -1
	return died
}

// do does a statement, or not.
func (d *dyingDriver) do(what func() error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dead {
		return errDied
	}
	if d.left--; d.left == 0 {
		d.dead = true
		if d.kept {
			_ = what()
		}
		return errDied
	}
	return what()
}

func (d *dyingDriver) Open(name string) (driver.Conn, error) {
	db, err := sql.Open("sqlite", "")
	if err != nil {
		return nil, err
	}
	defer db.Close()
	c, err := db.Driver().Open(name)
	return dyingConn{d, c}, err
}

type dyingConn struct {
	d *dyingDriver
	driver.Conn
}

func (c dyingConn) Prepare(query string) (driver.Stmt, error) {
	s, err := c.Conn.Prepare(query)
	return dyingStmt{c.d, s}, err
}

func (c dyingConn) Begin() (driver.Tx, error) {
	//lint:ignore SA1019 the one that every driver has
	tx, err := c.Conn.Begin()
	return dyingTx{c.d, tx}, err
}

type dyingStmt struct {
	d *dyingDriver
	driver.Stmt
}

func (s dyingStmt) Exec(args []driver.Value) (r driver.Result, err error) {
	//lint:ignore SA1019 the one that every driver has
	err = s.d.do(func() (err error) { r, err = s.Stmt.Exec(args); return err })
	return r, err
}

func (s dyingStmt) Query(args []driver.Value) (r driver.Rows, err error) {
	//lint:ignore SA1019 the one that every driver has
	err = s.d.do(func() (err error) { r, err = s.Stmt.Query(args); return err })
	return r, err
}

type dyingTx struct {
	d *dyingDriver
	driver.Tx
}

func (t dyingTx) Commit() error { return t.d.do(t.Tx.Commit) }

func cutPostgres(t *testing.T, kept bool) {
	_, l, want := written(t)
	url := postgrestest.Database(t)
	direct, p := database(t, url), newProxy(t, url)
	db := database(t, p.url)
	for n := 1; ; n++ {
		ix, err := (&engine{db: db, replica: "one"}).open("", l)
		if err != nil {
			t.Fatal(err)
		}
		ix.InBatchesOf(5)
		p.arm(n, kept)
		for tries := 0; ; tries++ {
			if err = ix.Drain(t.Context(), l); err == nil {
				break
			}
			if tries > 3 {
				t.Fatalf("cut at %d: %v", n, err)
			}
		}
		cut := p.disarm()
		if got := dump(t, ix); got != want {
			t.Errorf("cut at message %d:", n)
			same(t, got, want)
		}
		if !cut {
			if n < 25 {
				t.Errorf("only %d messages were cut", n-1)
			}
			return
		}
		if _, err := direct.Exec(t.Context(), `TRUNCATE index_calls, index_lanes, index_feeds, index_writers, index_usage, index_usage_days,
index_usage_who, index_usage_what`); err != nil {
			t.Fatal(err)
		}
		n += stride()
	}
}

// proxy passes connections to a database on and cuts all of them at one message of a client's: before the server has it,
// or after it has answered.
type proxy struct {
	url  string
	ln   net.Listener
	cut  atomic.Bool
	stop func()

	mu    sync.Mutex
	left  int
	kept  bool
	conns []net.Conn
}

func newProxy(t *testing.T, url string) *proxy {
	t.Helper()
	pool, err := postgres.Parse(secret.New(url))
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	target := net.JoinHostPort(pool.ConnConfig.Host, fmt.Sprint(pool.ConnConfig.Port))
	p := &proxy{ln: ln, url: strings.Replace(url, target, ln.Addr().String(), 1)}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s, err := net.Dial("tcp", target)
			if err != nil {
				c.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, c, s)
			p.mu.Unlock()
			answers := make(chan struct{}, 1)
			silent := &atomic.Bool{}
			running.Go(func() { p.pass(c, s, answers, silent) })
			running.Go(func() { p.back(c, s, answers, silent) })
		}
	})
	var once sync.Once
	p.stop = func() {
		once.Do(func() {
			ln.Close()
			p.closeAll()
			running.Wait()
		})
	}
	t.Cleanup(p.stop)
	return p
}

// arm makes the proxy cut at the n-th message from now.
func (p *proxy) arm(n int, kept bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left, p.kept = n, kept
}

// disarm reports whether it has cut.
func (p *proxy) disarm() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left = 0
	return p.cut.Swap(false)
}

func (p *proxy) closeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

// pass passes a client's messages on.
func (p *proxy) pass(c, s net.Conn, answered chan struct{}, silent *atomic.Bool) {
	defer c.Close()
	defer s.Close()
	buf := make([]byte, 1<<20)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		p.mu.Lock()
		p.left--
		now := p.left == 0
		p.mu.Unlock()
		if !now {
			if _, err := s.Write(buf[:n]); err != nil {
				return
			}
			continue
		}
		if p.kept {
			select {
			case <-answered: // of what came before
			default:
			}
			silent.Store(true) // no answer goes back any more
			if _, err := s.Write(buf[:n]); err == nil {
				<-answered
			}
		}
		p.cut.Store(true)
		p.closeAll()
		return
	}
}

// back passes the server's answers.
func (p *proxy) back(c, s net.Conn, answered chan struct{}, silent *atomic.Bool) {
	defer c.Close()
	defer close(answered)
	buf := make([]byte, 1<<20)
	for {
		n, err := s.Read(buf)
		if err != nil {
			return
		}
		select {
		case answered <- struct{}{}:
		default:
		}
		if silent.Load() {
			return
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}

// Two processes that feed one journal, such as a copy that was not stopped, come to what one comes to.
func TestTwoFeedsOfOneJournal(t *testing.T) {
	_, l, want := written(t)
	for name, replicas := range map[string][2]string{"one replica": {"one", "one"}, "a copied directory": {"one", "two"}} {
		t.Run(name, func(t *testing.T) {
			db := database(t, postgrestest.Database(t))
			var feeds []*index.Index
			for _, replica := range replicas {
				ix, err := (&engine{db: db, replica: replica}).open("", l)
				if err != nil {
					t.Fatal(err)
				}
				ix.InBatchesOf(1)
				feeds = append(feeds, ix)
			}
			var running sync.WaitGroup
			for _, ix := range feeds {
				running.Go(func() {
					for tries := 0; ix.Drain(t.Context(), l) != nil; tries++ {
						if tries > 1000 {
							t.Error("it does not come to an end")
							return
						}
					}
				})
			}
			running.Wait()
			same(t, dump(t, feeds[0]), want)
			same(t, dump(t, feeds[1]), want)
		})
	}
}

// Replicas whose calls meet in the same sums lose none of them.
func testReplicasAddUp(t *testing.T, on *engine) {
	if on.db == nil {
		t.Skip("one process has an index in a file")
	}
	const replicas, entries = 3, 1500
	var running sync.WaitGroup
	indexes := make([]*index.Index, replicas)
	for i := range replicas {
		dir := t.TempDir()
		if err := newCrowd(entries/2, 2).fill(dir, entries); err != nil {
			t.Fatal(err)
		}
		l, err := ledger.Open(ledger.Config{Dir: dir, Now: func() time.Time { return noon }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		if indexes[i], err = on.open(dir, l); err != nil {
			t.Fatal(err)
		}
		indexes[i].InBatchesOf(50)
		running.Go(func() {
			if err := indexes[i].Drain(t.Context(), l); err != nil {
				t.Error(err)
			}
		})
	}
	running.Wait()
	one, err := index.Open(filepath.Join(t.TempDir(), "one.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer one.Close()
	dir := t.TempDir()
	if err := newCrowd(entries/2, 2).fill(dir, entries); err != nil {
		t.Fatal(err)
	}
	alone, err := (&engine{}).reach(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer alone.Close()
	for _, by := range []string{"hour", "team", "tool", "day"} {
		all, err := indexes[0].Usage(t.Context(), index.Filter{}, by)
		if err != nil {
			t.Fatal(err)
		}
		single, err := alone.Usage(t.Context(), index.Filter{}, by)
		if err != nil || len(all.Items) != len(single.Items) || len(all.Items) == 0 {
			t.Fatal(len(all.Items), len(single.Items), err)
		}
		if all.Total.Calls != replicas*single.Total.Calls || all.Total.Cost != replicas*single.Total.Cost || all.Total.Denied != replicas*single.Total.Denied {
			t.Errorf("by %s: %+v of %d replicas, one has %+v", by, all.Total, replicas, single.Total)
		}
	}
	feeds, err := indexes[0].Feeds(t.Context())
	if err != nil || len(feeds) != replicas {
		t.Errorf("%+v, %v", feeds, err)
	}
}

// ownServer is a PostgreSQL of the test's own.
func ownServer(t testing.TB, settings ...string) *postgrestest.Server {
	t.Helper()
	if _, err := postgrestest.Binaries(); err != nil {
		t.Skip(err)
	}
	dir, err := os.MkdirTemp("", "index")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	s, err := postgrestest.New(dir, settings...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Stop() })
	return s
}

// A database that dies in the middle of a batch, again and again, costs time and nothing else; calls do not wait for it.
func TestDatabaseDiesAndComesBack(t *testing.T) {
	s := ownServer(t)
	db, err := postgres.Open(t.Context(), postgres.Config{URL: secret.New(s.URL("postgres")), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	b := openQuietly(t, &engine{db: db}, t.TempDir())
	defer b.close()
	b.fill()
	b.caughtUp()
	for range 2 {
		if err := s.Kill(); err != nil {
			t.Fatal(err)
		}
		err := error(nil)
		for err == nil { // a process of the dead server may end what it is at
			b.fill()
			err = b.ix.CatchUp(t.Context())
		}
		if _, ok := errors.AsType[*index.UnreachableError](err); !ok {
			t.Errorf("a query hears of the database that is gone: %v", err)
		}
		for tries := 0; ; tries++ { // what is left of the one that was killed may hold its memory for a moment
			if err := s.Start(); err == nil {
				break
			} else if tries > 50 {
				t.Fatal(err)
			}
		}
		for b.ix.CatchUp(t.Context()) != nil {
			time.Sleep(10 * time.Millisecond) // until the feed has tried again
		}
	}
	clean, err := index.Open(filepath.Join(t.TempDir(), "clean.db"), b.l)
	if err != nil {
		t.Fatal(err)
	}
	defer clean.Close()
	if err := clean.Drain(t.Context(), b.l); err != nil {
		t.Fatal(err)
	}
	same(t, dump(t, b.ix), dump(t, clean))
	if lag := b.ix.Lag(); lag > time.Minute {
		t.Error(lag)
	}
}
