package sequencer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/internal/durabletest"
	"github.com/tollgate/tollgate/internal/postgres"
	"github.com/tollgate/tollgate/internal/postgrestest"
	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/journal"
	"github.com/tollgate/tollgate/ledger/proof"
)

func TestMain(m *testing.M) { postgrestest.Main(m) }

var noon = time.Date(2026, 11, 14, 12, 0, 0, 0, time.UTC)

// clock only goes on when it is told to.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// replica is a data directory whose journal is written by hand.
type replica struct {
	t       testing.TB
	name    string
	disk    durable.Dir
	journal *journal.Journal
	clock   *clock
	seen    string
	logged  *bytes.Buffer
	starts  byte
	written int
	ids     []ledger.ID
}

func newReplica(t testing.TB, name string) *replica {
	return &replica{t: t, name: name, disk: durabletest.New(), clock: &clock{now: noon}, seen: filepath.Join(t.TempDir(), "seen"), logged: &bytes.Buffer{}}
}

// start begins a new writer, as a start of the process does.
func (r *replica) start() {
	r.t.Helper()
	if r.journal != nil {
		if err := r.journal.Close(); err != nil {
			r.t.Fatal(err)
		}
	}
	r.starts++
	sum := sha256.Sum256(fmt.Appendf(nil, "%s %d", r.name, r.starts))
	w := journal.Writer(sum[:16])
	j, _, err := journal.Open(r.disk, journal.Position{}, journal.Options{Writer: w, SegmentBytes: 16 << 10}, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	r.journal = j
	r.t.Cleanup(func() { _ = j.Close() })
}

// write appends entries and brings them to the disk.
func (r *replica) write(n int) {
	r.t.Helper()
	if r.journal == nil {
		r.start()
	}
	for range n {
		at := r.clock.Now().Add(time.Duration(r.written) * time.Millisecond)
		id := ledger.NewID(at)
		e := ledger.Entry{ID: id, Time: at, Kind: ledger.Denied, Action: "tool.call", Upstream: "tracker", Target: fmt.Sprintf("%s-%d", r.name, r.written)}
		if _, err := r.journal.Stage(e.Append(nil)); err != nil {
			r.t.Fatal(err)
		}
		r.written++
		r.ids = append(r.ids, id)
	}
	if err := r.journal.Sync(context.Background()); err != nil {
		r.t.Fatal(err)
	}
}

// log makes the replica's part in a log.
func (r *replica) log(s *Store, change ...func(*Config)) *Log {
	cfg := Config{
		Store: s, Replica: r.name, Keys: func() ([][]byte, error) { return [][]byte{seed(1)}, nil }, Every: time.Minute, Entries: 1 << 40, Seen: r.seen,
		Frames: func(from journal.Position) *ledger.Reader { return ledger.NewReader(r.disk, from) },
		Log:    slog.New(slog.NewTextHandler(r.logged, nil)), Now: r.clock.Now,
	}
	for _, c := range change {
		c(&cfg)
	}
	return New(cfg)
}

func seed(n byte) []byte { return bytes.Repeat([]byte{n}, proof.KeyBytes) }

func verifier(t testing.TB, s *Store, n byte) string {
	t.Helper()
	head, err := s.Head(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	k, err := proof.NewKey(head.Origin, seed(n))
	if err != nil {
		t.Fatal(err)
	}
	return k.Verifier()
}

// engines runs a test with both kinds of stores. open opens the store of a replica, the same one each time.
func engines(t *testing.T, test func(t *testing.T, open func(r *replica) *Store)) {
	t.Run("file", func(t *testing.T) { test(t, fileStores(t)) })
	t.Run("postgres", func(t *testing.T) { test(t, sharedStores(t, postgrestest.Database(t))) })
}

func fileStores(t testing.TB) func(*replica) *Store {
	path := filepath.Join(t.TempDir(), "proof.db")
	return func(r *replica) *Store {
		t.Helper()
		s, err := OpenFile(context.Background(), path, r.disk, "")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() })
		return s
	}
}

func sharedStores(t testing.TB, url string) func(*replica) *Store {
	return func(*replica) *Store {
		t.Helper()
		db, err := postgres.Open(context.Background(), postgres.Config{URL: secret.New(url)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(db.Close)
		s, err := OpenShared(context.Background(), db, "")
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

func settle(t testing.TB, l *Log) {
	t.Helper()
	if err := l.Settle(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// verified exports a range and verifies it.
func verified(t testing.TB, s *Store, r Range, keys ...byte) proof.Report {
	t.Helper()
	if len(keys) == 0 {
		keys = []byte{1}
	}
	var texts []string
	for _, k := range keys {
		texts = append(texts, verifier(t, s, k))
	}
	trust, err := proof.NewTrust(texts...)
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if _, err := s.Export(context.Background(), &out, r); err != nil {
		t.Fatal(err)
	}
	report, err := proof.Verify(context.Background(), proof.NewLines(strings.NewReader(out.String())), proof.Options{Trust: trust})
	if err != nil {
		t.Fatal(err)
	}
	if report.Bad != nil {
		t.Errorf("the export does not verify: %v", report.Bad)
	}
	return report
}

// whole checks that the tree has every entry of the replicas once and in each one's order, and that all of it verifies.
func whole(t testing.TB, s *Store, replicas ...*replica) {
	t.Helper()
	want := 0
	next := map[string]int{}
	for _, r := range replicas {
		want += r.written
	}
	if report := verified(t, s, Range{}); report.Entries != int64(want) {
		t.Errorf("%d entries, want %d", report.Entries, want)
	}
	err := s.Frames(context.Background(), 0, int64(want), func(index int64, b *Batch, raw journal.Raw) error {
		e, err := ledger.DecodeEntry(raw.Payload)
		if err != nil {
			return err
		}
		if is := fmt.Sprintf("%s-%d", b.Replica, next[b.Replica]); e.Target != is {
			t.Fatalf("entry %d is %s, want %s", index, e.Target, is)
		}
		next[b.Replica]++
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}
