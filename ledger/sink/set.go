package sink

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/journal"
)

// closeWait is how long sinks may take at the end to deliver what is on disk. What they do not is delivered by the next
// process.
const closeWait = 5 * time.Second

// From says where a sink without a cursor begins. The zero From is the journal's beginning.
type From struct {
	Now   bool
	Since time.Time // zero: from the first entry on
}

// Filter says which entries a sink is sent. The zero Filter takes all but the gateway's own actions.
type Filter struct {
	Kinds []ledger.Kind // empty: all
	Own   bool          // also what the gateway does in its own name: sessions, discovery, probes
}

func (f *Filter) takes(e *ledger.Entry) bool {
	return (f.Own || !e.Action.Own()) && (len(f.Kinds) == 0 || slices.Contains(f.Kinds, e.Kind))
}

// Batch bounds a batch.
type Batch struct {
	Entries int
	Bytes   int           // of lines; one that is longer goes alone
	Wait    time.Duration // how long an entry may wait for others
}

// Spec is one sink as it is configured. Two that reflect.DeepEqual are one.
type Spec struct {
	Name   string // a file name
	Type   string // for people
	From   From
	Filter Filter
	Batch  Batch
	Opener Opener
}

// Config makes a Set.
type Config struct {
	Dir    durable.Dir // of the cursors
	Ledger *ledger.Ledger
	Log    *slog.Logger
	Meter  metric.Meter // nil: no metrics
	Idle   bool         // deliver nothing: for a look at the sinks while no gateway runs

	Backoff time.Duration // the first wait after a failure; 0: 0.5 s
}

// Set is the sinks of a process. All methods are safe for concurrent use.
type Set struct {
	cfg     Config
	unmeter func() error

	applying sync.Mutex // one change at a time

	mu    sync.Mutex
	feeds map[string]*keeping
}

// keeping is a feed and what ends the ledger's keeping for it.
type keeping struct {
	*feed
	release func()
}

// NewSet makes a Set without sinks.
func NewSet(cfg Config) (*Set, error) {
	if cfg.Backoff == 0 {
		cfg.Backoff = backoffMin
	}
	s := &Set{cfg: cfg, feeds: map[string]*keeping{}}
	var err error
	s.unmeter, err = s.watch(cfg.Meter)
	return s, err
}

// Apply puts specs in force: those that did not change go on undisturbed, those that did go on from where they stood, those
// that are gone end.
func (s *Set) Apply(specs []Spec) {
	s.applying.Lock()
	defer s.applying.Unlock()
	wanted := map[string]Spec{}
	for _, spec := range specs {
		wanted[spec.Name] = spec
	}
	ending := map[string]*keeping{}
	for name, k := range s.all() {
		if spec, ok := wanted[name]; ok && reflect.DeepEqual(spec, k.spec) {
			delete(wanted, name)
		} else {
			ending[name] = k
		}
	}
	end(context.Background(), ending)
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range ending {
		delete(s.feeds, name)
	}
	for name, spec := range wanted {
		s.feeds[name] = s.begin(spec)
	}
	for _, k := range ending { // the successor keeps what it kept
		k.release()
	}
}

// begin starts a sink.
func (s *Set) begin(spec Spec) *keeping {
	f := newFeed(spec, &s.cfg)
	if s.cfg.Idle {
		close(f.done)
		return &keeping{f, func() {}}
	}
	k := &keeping{f, s.cfg.Ledger.Keep("sink "+spec.Name, f.position)}
	go f.run()
	return k
}

// end has feeds deliver what is on disk, for a bounded time, and waits until they have ended.
func end(ctx context.Context, feeds map[string]*keeping) {
	ctx, cancel := context.WithTimeout(ctx, closeWait)
	defer cancel()
	for _, f := range feeds {
		f.hurry()
		context.AfterFunc(ctx, f.stop)
	}
	for _, f := range feeds {
		<-f.done
	}
}

func (s *Set) all() map[string]*keeping {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.feeds)
}

// List is how all sinks stand, by name.
func (s *Set) List() []Status {
	now := time.Now()
	var out []Status
	for _, f := range s.all() {
		if s.cfg.Idle {
			f.peek()
		}
		out = append(out, f.status(now))
	}
	slices.SortFunc(out, func(a, b Status) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// CatchUp waits until every sink has delivered what is on disk now.
func (s *Set) CatchUp(ctx context.Context) error {
	end := s.cfg.Ledger.End()
	for name, f := range s.all() {
		for at, moved := f.progress(); at.Before(end); at, moved = f.progress() {
			select {
			case <-moved:
			case <-ctx.Done():
				return fmt.Errorf("wait for sink %s: %w", name, ctx.Err())
			}
		}
	}
	return nil
}

// Rewind sets a sink back, or forward, to the first entry that is not before a time: all from there on is sent, again if it
// was sent before.
func (s *Set) Rewind(name string, to time.Time) error {
	s.applying.Lock()
	defer s.applying.Unlock()
	f := s.all()[name]
	if f == nil {
		return fmt.Errorf("there is no sink %q under sinks: in the config", name)
	}
	f.hurry()
	f.stop()
	<-f.done
	p := f.place
	p.Position, p.Until, p.Since = journal.Position{}, nil, to
	err := p.save(s.cfg.Dir, name)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.feeds[name] = s.begin(f.spec)
	f.release()
	return err
}

// Close has all sinks deliver what is on disk, until ctx ends or for a few seconds, and ends them.
func (s *Set) Close(ctx context.Context) error {
	s.applying.Lock()
	defer s.applying.Unlock()
	feeds := s.all()
	end(ctx, feeds)
	for _, f := range feeds {
		f.release()
	}
	return s.unmeter()
}
