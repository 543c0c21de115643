package retention

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"time"

	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/ledger/entry"
	"github.com/tollgate/tollgate/ledger/journal"
)

// every is how often it is looked for what may go: segments span a day.
const every = time.Hour

// Tally is what entries come to.
type Tally interface {
	Apply(e *entry.Entry) error
	// Encode is what they come to up to end, in the form that Config.Begin reads.
	Encode(end journal.Position) ([]byte, error)
}

// Config makes a Trimmer. All fields are required.
type Config struct {
	Dir     durable.Dir
	Journal *journal.Journal
	Keeps   *Keeps
	Walking sync.Locker   // held while segments are walked and removed, so that no reader for a moment is in the way
	Age     time.Duration // entries younger than this stay
	Now     func() time.Time

	// Begin is what the entries before the journal's beginning come to.
	Begin func(journal.Beginning) (Tally, error)
	// Announce writes an entry that says up to where the journal is removed, and returns when it is on the disk.
	Announce func(ctx context.Context, detail string) error
}

// Trimmer removes what is old. It is for one goroutine.
type Trimmer struct {
	cfg   Config
	young uint64    // the segment that was too young when last looked at…
	since time.Time // …and the time of its last entry
}

// New returns a Trimmer.
func New(cfg Config) *Trimmer { return &Trimmer{cfg: cfg} }

// Run removes what may go, at once and then every hour, until ctx ends. failed gets what could not be done; it is tried
// again an hour later.
func (t *Trimmer) Run(ctx context.Context, failed func(error)) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		if _, err := t.Trim(ctx); err != nil && ctx.Err() == nil {
			failed(err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// Describe is how an entry names the place p up to which the journal is removed.
func Describe(p journal.Position) string {
	return fmt.Sprintf("removed up to the end of segment %d: sequence %d of writer %s, chain value %x", p.Segment, p.Seq, entry.ID(p.Writer), p.Chain)
}

// Trim removes the segments that may go now and returns the place where the journal begins after it; the zero Position
// when nothing went.
func (t *Trimmer) Trim(ctx context.Context) (journal.Position, error) {
	t.cfg.Walking.Lock()
	defer t.cfg.Walking.Unlock()
	end, _ := t.cfg.Journal.Durable()
	first, _ := t.cfg.Keeps.First()
	bound := min(first, end.Segment) // the first that must stay
	if bound <= 1 || t.young > 0 && (bound <= t.young || t.cfg.Now().Sub(t.since) < t.cfg.Age) {
		return journal.Position{}, nil
	}
	old, err := t.walk(ctx, bound)
	if err != nil || old.Position.Segment == 0 {
		return journal.Position{}, wrap(err)
	}
	if err := t.cfg.Announce(ctx, Describe(old.Position)); err != nil {
		return journal.Position{}, wrap(err)
	}
	ran, err := t.cfg.Keeps.unread(old.Position.Segment, func() error { return t.cfg.Journal.Trim(old) })
	if err != nil || !ran { // a reader has begun meanwhile: next time
		return journal.Position{}, wrap(err)
	}
	return old.Position, nil
}

func wrap(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("remove old entries: %w", err)
}

// walk reads the segments before bound, oldest first, as long as they are old enough, and returns where the journal
// begins without them.
func (t *Trimmer) walk(ctx context.Context, bound uint64) (old journal.Beginning, err error) {
	begins, err := journal.ReadBeginning(t.cfg.Dir)
	if err != nil {
		return old, err
	}
	tally, err := t.cfg.Begin(begins)
	if err != nil {
		return old, err
	}
	c := journal.NewCursor(t.cfg.Dir, journal.Position{})
	defer c.Close()
	decoder := entry.NewDecoder()
	limit := journal.Position{Segment: bound - 1, Offset: math.MaxInt64}
	var last journal.Position // after the frame before
	var newest time.Time      // of its segment
	for ctx.Err() == nil {
		f, err := c.Next(limit)
		if ended := errors.Is(err, io.EOF); ended || err == nil && last.Segment != 0 && f.End.Segment != last.Segment {
			if last.Segment == 0 {
				return old, nil
			}
			if t.cfg.Now().Sub(newest) < t.cfg.Age {
				t.young, t.since = last.Segment, newest
				return old, nil
			}
			old.Position = last
			if old.State, err = tally.Encode(last); err != nil || ended {
				return old, err
			}
			newest = time.Time{}
		}
		if err != nil {
			return old, err
		}
		e, err := decoder.Decode(f.Payload)
		if err == nil {
			err = tally.Apply(&e)
		}
		if err != nil {
			return old, fmt.Errorf("frame %d of segment %d: %w", f.Seq, f.End.Segment, err)
		}
		last = f.End
		if e.Time.After(newest) {
			newest = e.Time
		}
	}
	return old, ctx.Err()
}
