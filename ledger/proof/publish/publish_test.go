package publish

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/tollgate/tollgate/internal/durabletest"
	"github.com/tollgate/tollgate/internal/s3"
	"github.com/tollgate/tollgate/internal/s3test"
	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/journal"
	"github.com/tollgate/tollgate/ledger/proof"
	"github.com/tollgate/tollgate/ledger/proof/sequencer"
)

// signing is a log that signs a checkpoint whenever it is told to.
type signing struct {
	t     testing.TB
	store *sequencer.Store
	log   *sequencer.Log
	j     *journal.Journal
}

func newSigning(t testing.TB) *signing {
	disk := durabletest.New()
	s, err := sequencer.OpenFile(context.Background(), filepath.Join(t.TempDir(), "proof.db"), disk, "tollgate/test")
	if err != nil {
		t.Fatal(err)
	}
	j, _, err := journal.Open(disk, journal.Position{}, journal.Options{Writer: journal.Writer{1}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = errors.Join(s.Close(), j.Close()) })
	l := sequencer.New(sequencer.Config{
		Store: s, Replica: "a", Keys: func() ([][]byte, error) { return [][]byte{make([]byte, proof.KeyBytes)}, nil },
		Frames: func(from journal.Position) *ledger.Reader { return ledger.NewReader(disk, from) },
	})
	return &signing{t, s, l, j}
}

// sign writes an entry and signs.
func (s *signing) sign() {
	s.t.Helper()
	e := ledger.Entry{ID: ledger.NewID(time.Now()), Time: time.Now(), Kind: ledger.Denied}
	if _, err := s.j.Stage(e.Append(nil)); err != nil {
		s.t.Fatal(err)
	}
	if err := errors.Join(s.j.Sync(context.Background()), s.log.Settle(context.Background())); err != nil {
		s.t.Fatal(err)
	}
}

func (s *signing) last() sequencer.Signed {
	s.t.Helper()
	last, err := s.store.LastCheckpoint(context.Background())
	if err != nil {
		s.t.Fatal(err)
	}
	return last
}

func (s *signing) publisher(targets ...Named) *Publisher {
	return New(Config{Store: s.store, Replica: "a", Targets: targets, Leads: func() bool { return true }, Log: slog.New(slog.DiscardHandler)})
}

func (p *Publisher) all(t *testing.T) error {
	t.Helper()
	var errs []error
	for _, s := range p.targets {
		errs = append(errs, p.deliver(context.Background(), s))
	}
	return errors.Join(errs...)
}

func TestDirectory(t *testing.T) {
	s := newSigning(t)
	dir := t.TempDir()
	p := s.publisher(Named{Name: "file", Own: true, Target: Directory(dir)})
	s.sign()
	s.sign()
	if err := errors.Join(p.all(t), p.all(t)); err != nil { // the second has nothing to do
		t.Fatal(err)
	}
	path := filepath.Join(dir, "checkpoints-"+s.last().Time.Format("2006-01")+".jsonl")
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"checkpoint":"torn`); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	s.sign()
	if err := p.all(t); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
	var line struct{ Checkpoint string }
	if len(lines) != 4 || json.Unmarshal([]byte(lines[3]), &line) != nil || line.Checkpoint != string(s.last().Note) {
		t.Errorf("%q", lines)
	}
	if err := s.publisher(Named{Name: "file", Own: true, Target: Directory(path)}).all(t); err != nil {
		t.Errorf("there was nothing to do, and yet: %v", err)
	}
	s.sign()
	if err := s.publisher(Named{Name: "file", Own: true, Target: Directory(path)}).all(t); err == nil {
		t.Error("a directory that is a file takes checkpoints")
	}
}

func TestBucket(t *testing.T) {
	s := newSigning(t)
	store := s3test.New(t)
	b := &Bucket{Prefix: "proof/", Retain: 24 * time.Hour, S3: s3.Bucket{
		Endpoint: store.URL, Name: s3test.Bucket, Region: s3test.Region, PathStyle: true, AccessKey: s3test.AccessKey, SecretKey: secret.New(s3test.SecretKey), HTTP: Client(),
	}}
	p := s.publisher(Named{Name: "s3", Target: b})
	s.sign()
	if err := p.all(t); err != nil {
		t.Fatalf("%v; the store says %q", err, store.Refused())
	}
	got := store.Objects()["proof/checkpoint-000000000001.txt"]
	if string(got.Body) != string(s.last().Note) || got.Header.Get("X-Amz-Object-Lock-Retain-Until-Date") == "" {
		t.Errorf("%q, %v", got.Body, got.Header)
	}
	b.S3.SecretKey = secret.New("wrong")
	s.sign()
	if err := p.all(t); err == nil || !strings.Contains(err.Error(), "checkpoint 2") {
		t.Errorf("with the wrong secret: %v", err)
	}
}

// hook is a receiver that verifies signatures and can be told to fail: before it keeps a message, or after.
type hook struct {
	mu   sync.Mutex
	key  []byte
	fail string
	got  []int64
	seen chan struct{}
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.mu.Lock()
	defer h.mu.Unlock()
	body, err := io.ReadAll(r.Body)
	mac := hmac.New(sha256.New, h.key)
	fmt.Fprintf(mac, "%s.%s.%s", r.Header.Get("Webhook-Id"), r.Header.Get("Webhook-Timestamp"), body)
	if err != nil || r.Header.Get("Webhook-Signature") != "v1,"+base64.StdEncoding.EncodeToString(mac.Sum(nil)) || h.fail == "before" {
		w.WriteHeader(http.StatusInternalServerError)
		return
	}
	var m struct {
		Type string
		Data struct {
			Origin     string
			Number     int64
			Checkpoint string
		}
	}
	if json.Unmarshal(body, &m) != nil || m.Type != "ledger.checkpoint" || m.Data.Origin != "tollgate/test" || !strings.HasPrefix(m.Data.Checkpoint, "tollgate/test\n") {
		w.WriteHeader(http.StatusUnprocessableEntity)
		return
	}
	h.got = append(h.got, m.Data.Number)
	if h.fail == "after" {
		panic(http.ErrAbortHandler)
	}
	w.WriteHeader(http.StatusNoContent)
	select {
	case h.seen <- struct{}{}:
	default:
	}
}

func (h *hook) set(fail string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.fail = fail
}

func TestHookIsTriedUntilItAnswers(t *testing.T) {
	s := newSigning(t)
	h := &hook{key: bytes.Repeat([]byte("k"), 24), seen: make(chan struct{}, 100)}
	server := httptest.NewServer(h)
	defer server.Close()
	p := s.publisher(Named{Name: "webhook", Target: &Hook{URL: server.URL, Key: h.key, HTTP: Client()}})
	s.sign()
	h.set("before")
	if err := p.all(t); err == nil {
		t.Error("an answer of 500 counts as taken")
	}
	h.set("after") // taken, and nobody is told
	if err := p.all(t); err == nil {
		t.Error("a connection that was cut counts as taken")
	}
	s.sign()
	h.set("")
	if err := p.all(t); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(h.got) != "[1 1 2]" || p.Status()[0].Number != 2 {
		t.Errorf("%v, %+v", h.got, p.Status())
	}
	p.targets[0].Target = &Hook{URL: server.URL, Key: []byte("another key"), HTTP: Client()}
	s.sign()
	if err := p.all(t); err == nil {
		t.Error("a message signed with another key is taken")
	}
}

// Run serves what is woken, and a failure stops nobody else.
func TestRunServesEachTargetByItself(t *testing.T) {
	s := newSigning(t)
	h := &hook{key: bytes.Repeat([]byte("k"), 24), seen: make(chan struct{}, 100)}
	server := httptest.NewServer(h)
	defer server.Close()
	p := s.publisher(
		Named{Name: "broken", Target: broken{}},
		Named{Name: "webhook", Target: &Hook{URL: server.URL, Key: h.key, HTTP: Client()}},
	)
	ctx, stop := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { p.Run(ctx) })
	for range 3 {
		s.sign()
		p.Wake()
		<-h.seen
	}
	s.sign() // nobody is woken: the stop brings it out
	stop()
	running.Wait()
	got := p.Status()
	if got[0].Failures == 0 || got[0].Number != 0 || got[1].Failures != 0 || got[1].Number != 4 {
		t.Errorf("%+v", got)
	}
}

type broken struct{}

func (broken) Put(context.Context, string, sequencer.Signed) error { return errors.New("broken") }

// Whoever has not the duty serves its own targets only.
func TestOnlyTheDutyExports(t *testing.T) {
	s := newSigning(t)
	s.sign()
	p := New(Config{Store: s.store, Replica: "b", Targets: []Named{{Name: "other", Target: broken{}}, {Name: "own", Own: true, Target: broken{}}},
		Leads: func() bool { return false }, Log: slog.New(slog.DiscardHandler)})
	if err := p.deliver(context.Background(), p.targets[0]); err != nil {
		t.Error(err)
	}
	if err := p.deliver(context.Background(), p.targets[1]); err == nil {
		t.Error("its own target was not served")
	}
}

// Replicas on one machine that have one directory write none over another's line.
func TestReplicasShareADirectory(t *testing.T) {
	dir := Directory(t.TempDir())
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 25 {
				if err := dir.Put(t.Context(), "", sequencer.Signed{Time: at, Note: fmt.Appendf(nil, "%d of %d", n, i)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
	b, err := os.ReadFile(filepath.Join(string(dir), "checkpoints-2026-11.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for line := range strings.Lines(string(b)) {
		var l struct{ Checkpoint string }
		if json.Unmarshal([]byte(line), &l) == nil {
			seen[l.Checkpoint] = true
		}
	}
	if len(seen) != 200 {
		t.Errorf("%d of 200 are there", len(seen))
	}
}
