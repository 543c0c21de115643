package sink_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/internal/durabletest"
	"github.com/tollgate/tollgate/internal/ledgertest"
	"github.com/tollgate/tollgate/internal/s3"
	"github.com/tollgate/tollgate/internal/s3test"
	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/internal/sinktest"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/sink"
	"github.com/tollgate/tollgate/ledger/sink/file"
	"github.com/tollgate/tollgate/ledger/sink/object"
	"github.com/tollgate/tollgate/ledger/sink/otlp"
	"github.com/tollgate/tollgate/ledger/sink/shape"
	"github.com/tollgate/tollgate/ledger/sink/splunk"
	"github.com/tollgate/tollgate/ledger/sink/syslog"
	"github.com/tollgate/tollgate/ledger/sink/webhook"
	"github.com/tollgate/tollgate/policy"
)

// receiver is one kind of receiver in a test.
type receiver struct {
	opener   sink.Opener
	ids      func() []string // of the entries it has, in its order
	problems func() []string
	fail     func(func() sinktest.Fault) // nil: it cannot fail by itself
	refuse   func(func(id string) bool)  // nil: it refuses no single entry
	exact    bool                        // no entry may be in it twice
	loose    bool                        // it has no order
	await    func(n int)                 // not nil: it acknowledges nothing, and has n entries only then
}

const token = "11111111-2222-3333-4444-555555555555"

var kinds = map[string]func(t *testing.T) receiver{
	"file": func(t *testing.T) receiver {
		path := filepath.Join(t.TempDir(), "out", "entries.jsonl")
		return receiver{
			opener: file.Config{Shape: shape.Entry, Path: path, RotateBytes: 4000, Gzip: true},
			ids:    func() []string { return filed(t, path) }, loose: true,
		}
	},
	"s3": func(t *testing.T) receiver {
		store := s3test.New(t)
		return receiver{
			opener: object.Config{
				Shape: shape.Entry, Prefix: "tollgate/", Bucket: s3.Bucket{
					Endpoint: store.URL, Name: s3test.Bucket, Region: s3test.Region, PathStyle: true,
					AccessKey: s3test.AccessKey, SecretKey: secret.New(s3test.SecretKey),
				},
			},
			ids: func() []string { return stored(t, store) }, problems: store.Refused, exact: true, loose: true,
			fail: func(f func() sinktest.Fault) {
				store.Break(func(string) s3test.Fault { return s3test.Fault(f()) })
			},
		}
	},
	"webhook": func(t *testing.T) receiver {
		key := "a secret of twenty-four bytes or more"
		log, url := sinktest.Webhook(t, []byte(key))
		return logged(log, webhook.Config{Shape: shape.Entry, URL: url, Secret: secret.New(key)})
	},
	"splunk": func(t *testing.T) receiver {
		log, url := sinktest.Splunk(t, token, false)
		return logged(log, splunk.Config{Shape: shape.Entry, URL: url, Token: secret.New(token), Index: "main"})
	},
	"splunk with acks": func(t *testing.T) receiver {
		log, url := sinktest.Splunk(t, token, true)
		return logged(log, splunk.Config{Shape: shape.Entry, URL: url, Token: secret.New(token), Acks: true})
	},
	"otlp": func(t *testing.T) receiver {
		log, url := sinktest.OTLP(t)
		return logged(log, otlp.Config{Shape: shape.Entry, URL: url})
	},
	"syslog": func(t *testing.T) receiver {
		log, address := sinktest.Syslog(t, nil)
		r := logged(log, syslog.Config{Shape: shape.Entry, Address: "tcp://" + address, Facility: 13, App: "tollgate"})
		r.refuse, r.await = nil, func(n int) { log.Await(t, n) }
		return r
	},
}

func logged(log *sinktest.Log, opener sink.Opener) receiver {
	return receiver{opener: opener, ids: log.IDs, problems: log.Problems, fail: log.Break, refuse: log.Refuse}
}

// lines are the ids of entries in JSON lines.
func lines(t *testing.T, text []byte) (ids []string) {
	for line := range bytes.Lines(text) {
		var e struct{ ID string }
		if err := json.Unmarshal(line, &e); err != nil || !bytes.HasSuffix(line, []byte("\n")) {
			t.Fatalf("%q is not a line: %v", line, err)
		}
		ids = append(ids, e.ID)
	}
	return ids
}

func unzipped(t *testing.T, text []byte) []byte {
	z, err := gzip.NewReader(bytes.NewReader(text))
	if err == nil {
		text, err = io.ReadAll(z)
	}
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// filed reads a file and what was moved aside before it.
func filed(t *testing.T, path string) (ids []string) {
	names, err := filepath.Glob(strings.TrimSuffix(path, ".jsonl") + "*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, ".gz") {
			text = unzipped(t, text)
		}
		ids = append(ids, lines(t, text)...)
	}
	return ids
}

func stored(t *testing.T, store *s3test.Store) (ids []string) {
	objects := store.Objects()
	for key, o := range objects {
		if !strings.HasPrefix(key, "tollgate/dt=") || !strings.HasSuffix(key, ".jsonl.gz") {
			t.Errorf("object %s", key)
		}
		ids = append(ids, lines(t, unzipped(t, o.Body))...)
	}
	return ids
}

// world is a ledger and the sinks' directory.
type world struct {
	t       *testing.T
	ledger  *ledger.Ledger
	cursors durable.Dir
	log     *slog.Logger
}

func newWorld(t *testing.T) *world {
	return &world{t, ledgertest.Open(t, ledger.Config{SegmentBytes: 8 << 10}), durabletest.New(), slog.New(slog.DiscardHandler)}
}

// write appends n refusals and waits until they are on disk.
func (w *world) write(n int) {
	w.t.Helper()
	for i := range n {
		c := policy.Call{Principal: &policy.Principal{Key: "k", KeyID: fmt.Sprintf("key_%d", i%3)}, Action: policy.ToolCall, Target: fmt.Sprintf("tool-%d", i)}
		if err := w.ledger.Deny(&c, &policy.Decision{}, "no"); err != nil {
			w.t.Fatal(err)
		}
	}
	if err := w.ledger.Sync(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) ids() (ids []string) {
	for _, e := range ledgertest.Entries(w.t, w.ledger) {
		ids = append(ids, e.ID.String())
	}
	return ids
}

func spec(o sink.Opener) sink.Spec {
	return sink.Spec{Name: "siem", Type: "test", Opener: o, Batch: sink.Batch{Entries: 16, Bytes: 1 << 20, Wait: time.Millisecond}}
}

// begin starts the sinks. They end with the test, if not before.
func (w *world) begin(specs ...sink.Spec) *sink.Set {
	w.t.Helper()
	s, err := sink.NewSet(sink.Config{Dir: w.cursors, Ledger: w.ledger, Log: w.log, Backoff: time.Millisecond})
	if err != nil {
		w.t.Fatal(err)
	}
	s.Apply(specs)
	w.t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

func (w *world) catchUp(s *sink.Set) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	if err := s.CatchUp(ctx); err != nil {
		w.t.Fatalf("%v; %+v", err, s.List())
	}
}

// places says of each entry the receiver has which of the ledger's it is.
func (w *world) places(r receiver) (places []int, all int) {
	w.t.Helper()
	place := map[string]int{}
	for i, id := range w.ids() {
		place[id] = i
	}
	for _, id := range r.ids() {
		i, ok := place[id]
		if !ok {
			w.t.Fatalf("entry %s is not in the ledger", id)
		}
		places = append(places, i)
	}
	if r.loose {
		slices.Sort(places)
	}
	return places, len(place)
}

// has checks that r has everything: in order and once, or at least once where something was broken.
func (w *world) has(r receiver, once bool) {
	w.t.Helper()
	if r.problems != nil {
		for _, p := range r.problems() {
			w.t.Errorf("the receiver says: %s", p)
		}
	}
	if r.await != nil {
		r.await(len(w.ids()))
	}
	got, all := w.places(r)
	if !once && !r.exact {
		slices.Sort(got)
		got = slices.Compact(got)
	}
	for i := range all {
		if i >= len(got) || got[i] != i {
			w.t.Fatalf("%d of %d entries; at %d: %v", len(got), all, i, got[i:min(i+3, len(got))])
		}
	}
	if len(got) != all {
		w.t.Errorf("%d entries, want %d", len(got), all)
	}
}

func eachKind(t *testing.T, test func(t *testing.T, r receiver)) {
	for name, kind := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, kind(t))
		})
	}
}

func TestEverythingArrivesInOrder(t *testing.T) {
	eachKind(t, func(t *testing.T, r receiver) {
		w := newWorld(t)
		w.write(50)
		s := w.begin(spec(r.opener))
		for range 5 {
			w.write(20)
			w.catchUp(s)
		}
		w.has(r, true)
		got := s.List()[0]
		if got.State != sink.Current || got.LagEntries != 0 || got.Sent != 150 || got.Error != "" || got.Refused != 0 {
			t.Errorf("%+v", got)
		}
	})
}

// What is refused before it was taken is not there twice; what was taken and not answered may be. Nothing is missing.
func TestBrokenBothWays(t *testing.T) {
	for _, fault := range []sinktest.Fault{sinktest.Lost, sinktest.Kept} {
		eachKind(t, func(t *testing.T, r receiver) {
			if r.fail == nil {
				t.Skip("a file fails with its disk: see its own tests")
			}
			w := newWorld(t)
			n, broken := atomic.Int32{}, make(chan struct{})
			r.fail(func() sinktest.Fault {
				i := n.Add(1)
				if i == 1 {
					close(broken)
				}
				if i%3 == 0 {
					return sinktest.None
				}
				return fault
			})
			s := w.begin(spec(r.opener))
			for range 3 {
				w.write(10)
			}
			<-broken
			if r.await != nil { // one that ends the connection at two of three messages takes no batch of sixteen
				r.fail(nil)
				w.catchUp(s)
				w.write(1) // what was lost last shows when the next is sent
			}
			w.catchUp(s)
			w.has(r, fault == sinktest.Lost && r.await == nil)
			if got := s.List()[0]; r.await == nil && got.Failures == 0 {
				t.Errorf("%+v", got)
			}
		})
	}
}

// The process is killed between an acknowledgement and the cursor. The next one sends the batch again, and an object store
// has each entry once all the same.
func TestKilledBeforeTheCursorIsWritten(t *testing.T) {
	eachKind(t, func(t *testing.T, r receiver) {
		w := newWorld(t)
		disk := durabletest.New()
		w.cursors = disk
		s := w.begin(spec(r.opener))
		w.write(10)
		w.catchUp(s)
		acknowledged := make(chan struct{}, 1)
		replaced := 0
		disk.Break(func(op durabletest.Op, _ string) durabletest.Fault {
			if op != durabletest.Replace {
				return durabletest.None
			}
			if replaced++; r.exact && replaced == 1 {
				return durabletest.None // what is about to be sent
			}
			select {
			case acknowledged <- struct{}{}:
			default:
			}
			return durabletest.Lost
		})
		w.write(40)
		<-acknowledged
		w.cursors = disk.Kill()
		if err := s.Close(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.write(5)
		w.catchUp(w.begin(spec(r.opener)))
		w.has(r, false)
		if got, want := len(r.ids()), len(w.ids()); !r.exact && got == want {
			t.Error("nothing was repeated: the test kills nobody")
		}
	})
}

// A gateway starts again and again, each with a journal writer of its own, and is stopped in the middle.
func TestRestarts(t *testing.T) {
	eachKind(t, func(t *testing.T, r receiver) {
		dir := t.TempDir()
		w := &world{t: t, cursors: durabletest.New(), log: slog.New(slog.DiscardHandler)}
		total := 0
		for range 4 {
			l, err := ledger.Open(ledger.Config{Dir: dir, SegmentBytes: 4 << 10})
			if err != nil {
				t.Fatal(err)
			}
			w.ledger = l
			s := w.begin(spec(r.opener))
			w.write(30)
			if err := s.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			total = len(w.ids())
			w.has(r, true) // an orderly end delivers all
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
		if total != 120 {
			t.Errorf("%d entries", total)
		}
	})
}

// One entry that is refused for good is put aside, whole, and all others arrive.
func TestRefusedEntriesArePutAside(t *testing.T) {
	eachKind(t, func(t *testing.T, r receiver) {
		if r.refuse == nil {
			t.Skip("it refuses no single entry")
		}
		w := newWorld(t)
		w.write(40)
		want := w.ids()
		bad := []string{want[0], want[17], want[18], want[39]}
		slices.Sort(bad)
		r.refuse(func(id string) bool { return slices.Contains(bad, id) })
		s := w.begin(spec(r.opener))
		w.catchUp(s)
		if got := s.List()[0]; got.Refused != 4 || got.Sent != 36 {
			t.Errorf("%+v", got)
		}
		got := r.ids()
		slices.Sort(got)
		slices.Sort(want)
		if want := slices.DeleteFunc(want, func(id string) bool { return slices.Contains(bad, id) }); !slices.Equal(got, want) {
			t.Errorf("%d entries", len(got))
		}
		text, err := w.cursors.ReadFile("siem.refused.jsonl")
		if err != nil {
			t.Fatal(err)
		}
		var aside []string
		for line := range bytes.Lines(text) {
			var a struct {
				Reason string
				Entry  ledger.Entry
			}
			if err := json.Unmarshal(line, &a); err != nil || a.Reason == "" {
				t.Fatalf("%q: %v", line, err)
			}
			aside = append(aside, a.Entry.ID.String())
		}
		slices.Sort(aside)
		if !slices.Equal(aside, bad) {
			t.Errorf("put aside: %q, want %q", aside, bad)
		}
	})
}

// A receiver that takes nothing is set up wrongly: nothing is put aside, and all arrives once it is mended.
func TestAReceiverThatRefusesEverything(t *testing.T) {
	eachKind(t, func(t *testing.T, r receiver) {
		if r.refuse == nil {
			t.Skip("it refuses no single entry")
		}
		w := newWorld(t)
		w.write(40)
		refused := make(chan struct{})
		var n atomic.Int32
		r.refuse(func(string) bool {
			if n.Add(1) == 100 {
				close(refused)
			}
			return true
		})
		s := w.begin(spec(r.opener))
		<-refused
		if got := s.List()[0]; got.Sent != 0 || got.Refused != 0 || got.LagEntries != 40 || got.LagSeconds <= 0 || got.State != sink.Failing || !strings.Contains(got.Error, "refuses every entry") {
			t.Errorf("%+v", got)
		}
		r.refuse(nil)
		w.catchUp(s)
		w.has(r, false)
		if _, err := w.cursors.ReadFile("siem.refused.jsonl"); err == nil {
			t.Error("something was put aside")
		}
	})
}
