package sequencer

import (
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/internal/postgrestest"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/journal"
	"github.com/tollgate/tollgate/ledger/proof"
)

func TestEntriesAreFollowedSignedAndProved(t *testing.T) {
	engines(t, func(t *testing.T, open func(*replica) *Store) {
		ctx := context.Background()
		r := newReplica(t, "a")
		s := open(r)
		l := r.log(s)
		settle(t, l) // nothing is written: nothing is signed
		if last, err := s.LastCheckpoint(ctx); err != nil || last.Number != 0 {
			t.Fatalf("%+v, %v", last, err)
		}
		if _, err := s.Export(ctx, &strings.Builder{}, Range{}); !errors.Is(err, ErrUncovered) {
			t.Errorf("an export without a checkpoint: %v", err)
		}
		for i, n := range []int{1, 254, 1, 1, 5000, 300, 1} {
			if i%2 == 0 {
				r.start()
			}
			r.write(n)
			r.clock.pass(time.Second)
			settle(t, l)
		}
		whole(t, s, r)
		for _, x := range []Range{{From: 1}, {From: 255, To: 256}, {From: 256, To: 300}, {From: 5000}, {To: 1}, {From: int64(r.written)}} {
			verified(t, s, x)
		}
		if got := verified(t, s, Range{Since: noon.Add(4 * time.Second)}); got.From != 257 || got.To != int64(r.written) {
			t.Errorf("since the fifth second: %+v", got)
		}
		if got := verified(t, s, Range{Until: noon.Add(4 * time.Second)}); got.From != 0 || got.To != 257 {
			t.Errorf("until the fifth second: %+v", got)
		}

		trust := func() *proof.Trust {
			trust, err := proof.NewTrust(verifier(t, s, 1))
			if err != nil {
				t.Fatal(err)
			}
			return trust
		}
		for _, i := range []int{0, 255, 256, 4096, r.written - 1} {
			p, err := s.Prove(ctx, r.ids[i])
			if err != nil {
				t.Fatal(err)
			}
			document, err := p.Encode()
			if err != nil {
				t.Fatal(err)
			}
			got, err := proof.VerifyProof(document, trust(), false)
			if err != nil || got.Bad != nil || got.Entries != 1 || p.Entries[0].Index != int64(i) {
				t.Errorf("entry %d: %+v, %v", i, got, err)
			}
		}
		if _, err := s.Prove(ctx, ledger.NewID(noon)); err == nil {
			t.Error("an entry that was never written is proved")
		}
		all, err := s.Checkpoints(ctx, 0, 0, 100)
		if err != nil || len(all) != 7 {
			t.Fatalf("%d checkpoints, %v", len(all), err)
		}
		for i := range all[1:] {
			p, err := s.ProveGrowth(ctx, all[i].Note, all[i+1].Note)
			if err != nil {
				t.Fatal(err)
			}
			document, err := p.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if got, err := proof.VerifyProof(document, trust(), false); err != nil || got.Bad != nil {
				t.Errorf("from checkpoint %d to the next: %+v, %v", i+1, got.Bad, err)
			}
		}
		if _, err := s.ProveGrowth(ctx, all[1].Note, all[0].Note); err == nil {
			t.Error("a newer checkpoint before an older one")
		}

		again := open(r) // as the next start does
		r.start()
		r.write(10)
		settle(t, r.log(again))
		whole(t, again, r)
	})
}

func TestCheckpointsAreSignedWhenItIsTime(t *testing.T) {
	ctx := context.Background()
	r := newReplica(t, "a")
	s := fileStores(t)(r)
	l := r.log(s, func(c *Config) { c.Entries = 100 })
	step := func(want int64) {
		t.Helper()
		if _, err := l.step(ctx, false); err != nil {
			t.Fatal(err)
		}
		if last, err := s.LastCheckpoint(ctx); err != nil || last.Number != want {
			t.Errorf("checkpoint %d, want %d, %v", last.Number, want, err)
		}
	}
	r.write(1)
	step(1) // the first at once
	r.write(99)
	step(1)
	r.write(1)
	step(2) // a hundred entries
	r.clock.pass(time.Hour)
	step(2) // nothing has changed
	r.write(1)
	step(3) // a minute has passed
	r.write(1)
	step(3)
	r.clock.pass(59 * time.Second)
	step(3)
	r.clock.pass(time.Second)
	step(4)
	r.clock.pass(-time.Hour)
	r.write(100)
	step(5)
	if report := verified(t, s, Range{}); report.Checkpoints != 5 { // times do not go back with the clock
		t.Errorf("%+v", report)
	}
}

// Several processes ship, and sequence, and sign at the same time: what comes out is one log.
func TestSeveralAtOnceMakeOneLog(t *testing.T) {
	open := sharedStores(t, postgrestest.Database(t))
	replicas := []*replica{newReplica(t, "a"), newReplica(t, "b"), newReplica(t, "c")}
	var running sync.WaitGroup
	for _, r := range replicas {
		s := open(r)
		running.Go(func() {
			l := r.log(s, func(c *Config) { c.Entries = 50 })
			for i := range 15 {
				if i%5 == 0 {
					r.start()
				}
				r.write(20 + i)
				if _, err := l.step(context.Background(), false); err != nil {
					t.Error(err)
				}
			}
		})
	}
	running.Wait()
	s := open(nil)
	for _, r := range replicas {
		settle(t, r.log(s))
		if strings.Contains(r.logged.String(), "ERROR") {
			t.Error(r.logged.String())
		}
	}
	whole(t, s, replicas...)
}

func TestDatabaseRestarts(t *testing.T) {
	dir, err := os.MkdirTemp("", "tollgate-postgres-") // where the server's user may go; not below t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	server, err := postgrestest.New(dir)
	if errors.Is(err, postgrestest.ErrNotInstalled) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	open := sharedStores(t, server.URL("postgres"))
	a, b := newReplica(t, "a"), newReplica(t, "b")
	s := open(nil)
	la, lb := a.log(s), b.log(s)
	for round := range 3 {
		a.write(100)
		b.write(100)
		settle(t, la)
		if err := server.Kill(); err != nil {
			t.Fatal(err)
		}
		a.write(50)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		if _, err := la.step(ctx, true); err == nil {
			t.Errorf("round %d: a step without a database", round)
		}
		cancel()
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		b.write(50)
		settle(t, lb)
		settle(t, la)
	}
	whole(t, s, a, b)
}

// Whoever has no duty ships and looks, and does not sign.
func TestOnlyTheDutySequences(t *testing.T) {
	ctx := context.Background()
	r := newReplica(t, "a")
	s := fileStores(t)(r)
	duty := false
	l := r.log(s, func(c *Config) { c.Duty = func(context.Context) (bool, error) { return duty, nil } })
	r.write(10)
	if _, err := l.step(ctx, true); err != nil {
		t.Fatal(err)
	}
	if got := l.Status(); got.Size != 0 || got.Leads {
		t.Errorf("%+v", got)
	}
	r.clock.pass(9 * time.Second)
	if _, err := l.step(ctx, false); err != nil || strings.Contains(r.logged.String(), "not in the tree") {
		t.Errorf("%v, %s", err, r.logged)
	}
	r.clock.pass(time.Second)
	if _, err := l.step(ctx, false); err != nil || l.Status().Unsequenced != 10*time.Second || strings.Count(r.logged.String(), "not in the tree") != 1 {
		t.Errorf("%v, %+v, %s", err, l.Status(), r.logged)
	}
	duty = true
	if _, err := l.step(ctx, false); err != nil {
		t.Fatal(err)
	}
	if got := l.Status(); got.Size != 10 || !got.Leads || got.Unsequenced != 0 {
		t.Errorf("%+v", got)
	}
}

// Two that have the duty at once, with the same head before them and different batches behind it: one of them is told.
func TestHeadMovesOnce(t *testing.T) {
	engines(t, func(t *testing.T, open func(*replica) *Store) {
		ctx := context.Background()
		r := newReplica(t, "a")
		s := open(r)
		r.write(3)
		settle(t, r.log(s))
		head, err := s.Head(ctx)
		if err != nil {
			t.Fatal(err)
		}
		grown := func(leaf byte) *Extension {
			tree, err := proof.NewTree(head.Tree.Size(), head.Tree.Edge())
			if err != nil {
				t.Fatal(err)
			}
			tree.Append([32]byte{leaf}, nil)
			return &Extension{Tree: tree}
		}
		if err := s.Extend(ctx, head, grown(1)); err != nil {
			t.Fatal(err)
		}
		if err := s.Extend(ctx, head, grown(2)); !errors.Is(err, ErrMoved) {
			t.Errorf("the head was moved twice from one place: %v", err)
		}
		c := &proof.Checkpoint{Origin: head.Origin, Size: head.Tree.Size()}
		if _, err := s.sign(ctx, head, c, []byte("one"), "v"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.sign(ctx, head, c, []byte("two"), "v"); !errors.Is(err, ErrMoved) {
			t.Errorf("two checkpoints of one number: %v", err)
		}
	})
}

// What continues nothing, or what was continued already, is not taken, and others are not held up by it.
func TestForksAreNotSequenced(t *testing.T) {
	for _, tt := range []struct {
		name string
		harm func(t *testing.T, s *Store, a *replica, l *Log)
		want string
	}{
		{"a data directory set back", func(t *testing.T, s *Store, a *replica, l *Log) {
			old := copyOf(t, a)
			a.write(5)
			settle(t, l)
			old.start()
			old.write(5)
			ship(t, s, old) // its place is the one from before, so that it is as if shipped by a process that knows no better
		}, "forked"},
		{"a copy with another name", func(t *testing.T, s *Store, a *replica, l *Log) {
			other := copyOf(t, a)
			other.name = "other"
			other.start()
			other.write(3)
			if err := other.log(s, func(c *Config) { c.Log = l.cfg.Log }).Settle(t.Context()); err == nil {
				t.Error("entries of another replica were shipped")
			}
		}, "give it a name of its own"},
		{"a changed frame", func(t *testing.T, s *Store, a *replica, l *Log) {
			a.write(5)
			if _, err := l.ship(context.Background()); err != nil {
				t.Fatal(err)
			}
			change(t, s, "UPDATE proof_batches SET frames = overlay(frames placing '\\x00'::bytea from 90) WHERE at IS NULL")
		}, "does not continue the hash chain"},
		{"frames made anew on another chain value", func(t *testing.T, s *Store, a *replica, l *Log) {
			a.write(5)
			if _, err := l.ship(context.Background()); err != nil {
				t.Fatal(err)
			}
			pending, err := s.pending(context.Background(), "a", 1)
			if err != nil || len(pending) != 1 {
				t.Fatal(pending, err)
			}
			b := pending[0]
			if err := s.Load(context.Background(), &b); err != nil {
				t.Fatal(err)
			}
			var forged []byte
			chain := journal.Chain{1}
			for rest, seq := b.Frames, b.First; len(rest) > 0; seq++ {
				var raw journal.Raw
				if raw, rest, err = journal.ReadRaw(rest); err != nil {
					t.Fatal(err)
				}
				forged, chain = journal.AppendRaw(forged, chain, seq, raw.Payload)
			}
			change(t, s, "UPDATE proof_batches SET frames = ? WHERE at IS NULL", forged)
		}, "does not continue the hash chain"},
		{"a batch removed", func(t *testing.T, s *Store, a *replica, l *Log) {
			a.write(5)
			if _, err := l.ship(context.Background()); err != nil {
				t.Fatal(err)
			}
			a.write(5)
			if _, err := l.ship(context.Background()); err != nil {
				t.Fatal(err)
			}
			change(t, s, "DELETE FROM proof_batches WHERE turn = (SELECT min(turn) FROM proof_batches WHERE at IS NULL)")
		}, "entries of a replica are missing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			open := sharedStores(t, postgrestest.Database(t))
			a, b := newReplica(t, "a"), newReplica(t, "b")
			s := open(nil)
			l := a.log(s)
			a.write(10)
			settle(t, l)
			tt.harm(t, s, a, l)
			before := l.Status().Size
			b.write(7)
			settle(t, b.log(s, func(c *Config) { c.Log = l.cfg.Log }))
			_ = l.Settle(t.Context()) // its own journal may not be where the copy has come to
			if got := l.Status().Size; got != before+7 {
				t.Errorf("%d entries in the tree, want %d", got, before+7)
			}
			if !strings.Contains(a.logged.String(), tt.want) {
				t.Errorf("%q is not told:\n%s", tt.want, a.logged)
			}
			verified(t, s, Range{})
		})
	}
}

// copyOf is a replica with the same journal, as it is now.
func copyOf(t *testing.T, r *replica) *replica {
	t.Helper()
	c := newReplica(t, r.name)
	c.starts, c.written = r.starts+100, r.written
	names, err := r.disk.List()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		b, err := r.disk.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.disk.Replace(name, b); err != nil {
			t.Fatal(err)
		}
	}
	return c
}

// ship ships what a replica has behind the place where its newest writer began, whatever the store says of it.
func ship(t *testing.T, s *Store, r *replica) {
	t.Helper()
	ctx := context.Background()
	all, err := s.places(ctx)
	if err != nil {
		t.Fatal(err)
	}
	l := r.log(s)
	var from journal.Position
	reader := ledger.NewReader(r.disk, journal.Position{})
	defer reader.Close()
	g := gatherer{reader: reader, log: l}
	for {
		b, end, err := g.next(from)
		if err != nil {
			t.Fatal(err)
		}
		if b.Entries == 0 {
			return
		}
		from = end
		if string(b.Writer[:]) == string(writerOf(r)) {
			if err := s.Ship(ctx, b, all[r.name].shipped, end); err != nil {
				t.Fatal(err)
			}
			return
		}
	}
}

func writerOf(r *replica) []byte {
	reader := ledger.NewReader(r.disk, journal.Position{})
	defer reader.Close()
	for {
		if _, err := reader.NextFrame(); err != nil {
			w := reader.Position().Writer
			return w[:]
		}
	}
}

func change(t *testing.T, s *Store, statement string, args ...any) {
	t.Helper()
	err := s.db.tx(context.Background(), func(ctx context.Context, tx statements) error {
		n, err := tx.Exec(ctx, statement, args...)
		if n == 0 && err == nil {
			err = errors.New("nothing was changed")
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Nothing is signed that would contradict what was signed or seen before.
func TestContradictionsAreNotSigned(t *testing.T) {
	for _, tt := range []struct {
		name string
		harm func(t *testing.T, s *Store, r *replica)
		want string
	}{
		{"the tree is cut", func(t *testing.T, s *Store, r *replica) {
			var empty proof.Tree
			root := empty.Root()
			change(t, s, "UPDATE proof_head SET size = 0, root = ?, edge = ?", root[:], []byte{})
		}, "set back"},
		{"checkpoints and tree are cut", func(t *testing.T, s *Store, r *replica) {
			var empty proof.Tree
			root := empty.Root()
			change(t, s, "UPDATE proof_head SET size = 0, root = ?, edge = ?, signed = 0", root[:], []byte{})
			change(t, s, "DELETE FROM proof_checkpoints")
		}, "set back"},
		{"another log", func(t *testing.T, s *Store, r *replica) {
			change(t, s, "UPDATE proof_head SET origin = 'tollgate/other'")
		}, "move"},
		{"a kept hash", func(t *testing.T, s *Store, r *replica) {
			change(t, s, "UPDATE proof_nodes SET hash = ? WHERE n = 0", make([]byte, 32))
		}, "not those that were signed"},
		{"the edge", func(t *testing.T, s *Store, r *replica) {
			change(t, s, "UPDATE proof_head SET edge = ?", make([]byte, 3*32))
		}, "the database was changed"},
		{"the key", func(t *testing.T, s *Store, r *replica) {
			change(t, s, "UPDATE proof_head SET verifier = 'x+00000000+AAAA'")
		}, "rotate-key"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			engines(t, func(t *testing.T, open func(*replica) *Store) {
				r := newReplica(t, "a")
				s := open(r)
				r.write(700) // 512 + 128 + 32 + 16 + 8 + 4
				settle(t, r.log(s))
				before, err := s.LastCheckpoint(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				tt.harm(t, s, r)
				if tt.name != "the tree is cut" && tt.name != "checkpoints and tree are cut" {
					r.write(1)
				}
				for _, l := range []*Log{r.log(s)} {
					if err := l.Settle(t.Context()); err == nil || !strings.Contains(err.Error(), tt.want) {
						t.Errorf("%v, want %q", err, tt.want)
					}
				}
				after, err := s.LastCheckpoint(t.Context())
				if err != nil || after.Number > before.Number {
					t.Errorf("checkpoint %d was signed, %v", after.Number, err)
				}
			})
		})
	}
}

func TestKeysAreRotated(t *testing.T) {
	engines(t, func(t *testing.T, open func(*replica) *Store) {
		ctx := context.Background()
		r := newReplica(t, "a")
		s := open(r)
		keys := [][]byte{seed(1)}
		l := r.log(s, func(c *Config) { c.Keys = func() ([][]byte, error) { return keys, nil } })
		if got, err := l.Rotate(ctx, seed(1)); err != nil || got != verifier(t, s, 1) {
			t.Errorf("before anything is signed: %s, %v", got, err)
		}
		r.write(10)
		settle(t, l)
		got, err := l.Rotate(ctx, seed(2))
		if err != nil || got != verifier(t, s, 2) {
			t.Fatalf("%s, %v", got, err)
		}
		r.write(10)
		if err := l.Settle(ctx); !errors.Is(err, ErrRefused) {
			t.Errorf("signed with the key that was replaced: %v", err)
		}
		keys = [][]byte{seed(2), seed(1)}
		settle(t, l)
		for _, trusted := range [][]byte{{1}, {1, 2}} {
			if report := verified(t, s, Range{}, trusted...); report.Checkpoints != 3 {
				t.Errorf("%+v", report)
			}
		}
		verified(t, s, Range{From: 11}, 2)
	})
}

func TestWhatRemainsIsProved(t *testing.T) {
	t.Run("database", func(t *testing.T) {
		ctx := context.Background()
		r := newReplica(t, "a")
		s := sharedStores(t, postgrestest.Database(t))(r)
		l := r.log(s)
		for range 10 {
			r.write(100)
			r.clock.pass(time.Hour)
			settle(t, l)
		}
		if err := s.Prune(ctx, noon.Add(5*time.Hour+time.Second)); err != nil {
			t.Fatal(err)
		}
		if got := verified(t, s, Range{}); got.From != 512 || got.To != 1000 {
			t.Errorf("%+v", got)
		}
		if _, err := s.Prove(ctx, r.ids[600]); err != nil {
			t.Error(err)
		}
		if _, err := s.Prove(ctx, r.ids[100]); err == nil {
			t.Error("an entry that was removed is proved")
		}
		r.write(10)
		settle(t, l)
		verified(t, s, Range{})
		if err := s.Prune(ctx, noon.Add(1000*time.Hour)); err != nil {
			t.Fatal(err)
		}
		r.write(1)
		settle(t, l)
		if got := verified(t, s, Range{}); got.From != 768 || got.To != 1011 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("journal", func(t *testing.T) {
		ctx := context.Background()
		dir := t.TempDir()
		l, err := ledger.Open(ledger.Config{Dir: dir, SegmentBytes: 16 << 10})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		r := newReplica(t, "a")
		if r.disk, err = durable.Disk(dir); err != nil {
			t.Fatal(err)
		}
		s := fileStores(t)(r)
		log := r.log(s, func(c *Config) { c.Frames = l.Reader })
		l.Keep("proof", log.Needs)
		record := func(n int) {
			for range n {
				if _, err := l.Record(ctx, ledger.Act{Action: "key.mint", By: "test", Status: ledger.OK, Detail: strings.Repeat("x", 100)}); err != nil {
					t.Fatal(err)
				}
			}
		}
		for range 9 {
			record(100)
			settle(t, log)
		}
		released := log.Needs()
		record(100)
		if needs := log.Needs(); needs != released || needs.Segment < 2 {
			t.Errorf("%+v, and then %+v", released, needs)
		}
		if begins, err := l.Trim(ctx, time.Nanosecond); err != nil || begins == (journal.Position{}) {
			t.Fatalf("retention removed nothing: %v", err)
		} else if released.Before(begins) {
			t.Errorf("retention went to %+v, and %+v is needed", begins, released)
		}
		record(1)
		settle(t, log)
		got := verified(t, s, Range{})
		if got.From == 0 || got.From%proof.BlockLeaves != 0 || got.Entries == 0 {
			t.Errorf("%+v", got)
		}
	})
}

func TestTheNewestCheckpointSeenIsKept(t *testing.T) {
	open := sharedStores(t, postgrestest.Database(t))
	a, b := newReplica(t, "a"), newReplica(t, "b")
	s := open(nil)
	never := func(c *Config) { c.Duty = func(context.Context) (bool, error) { return false, nil } }
	a.write(10)
	settle(t, a.log(s))
	settle(t, b.log(s, never))
	mine, err1 := os.ReadFile(a.seen)
	theirs, err2 := os.ReadFile(b.seen)
	if err1 != nil || err2 != nil || string(mine) != string(theirs) || len(mine) == 0 {
		t.Errorf("%q and %q, %v, %v", mine, theirs, err1, err2)
	}

	// b is away while the entries that it saw signed are removed; then it may sign, unless the log has another past.
	for range 10 {
		a.write(100)
		a.clock.pass(time.Hour)
		settle(t, a.log(s))
	}
	b.clock.pass(10 * time.Hour)
	if err := s.Prune(t.Context(), noon.Add(8*time.Hour)); err != nil {
		t.Fatal(err)
	}
	change(t, s, "UPDATE proof_checkpoints SET note = 'x' || note WHERE number = 1")
	b.write(1)
	if err := b.log(s).Settle(t.Context()); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "not among those of the log") {
		t.Errorf("with another past: %v", err)
	}
	change(t, s, "UPDATE proof_checkpoints SET note = substr(note, 2) WHERE number = 1")
	settle(t, b.log(s))
	if got := verified(t, s, Range{}); got.To != 1011 {
		t.Errorf("%+v", got)
	}
}

// A journal that is new to the proof is taken in by steps.
func TestMuchIsTakenInBySteps(t *testing.T) {
	r := newReplica(t, "a")
	for range shipAtOnce + 3 { // a batch ends with its writer
		r.start()
		r.write(1)
	}
	s := fileStores(t)(r)
	l := r.log(s)
	if more, err := l.step(t.Context(), false); err != nil || !more {
		t.Errorf("the first step: more %v, %v", more, err)
	}
	settle(t, l)
	whole(t, s, r)
}
