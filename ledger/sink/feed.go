package sink

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/journal"
)

const (
	// sendTimeout bounds one attempt to hand over a batch.
	sendTimeout = 2 * time.Minute
	// backoffMin and backoffMax are the first (by default) and the longest wait after a failure; the true one lies between
	// half of it and it, so that many senders do not come back together.
	backoffMin = 500 * time.Millisecond
	backoffMax = time.Minute
	// doublings is after how many failures the wait is the longest.
	doublings = 10
	// retryAfterMax bounds what a receiver may ask for.
	retryAfterMax = 15 * time.Minute
	// idleWait bounds a wait for entries, as a net under lost wake-ups.
	idleWait = time.Second
	// gatherGap is how often a batch that is not full looks for more.
	gatherGap = 100 * time.Millisecond
	// skipMax is how many entries that are not for the sink are passed before the cursor is written.
	skipMax = 100_000
)

// feed is one running sink. Its goroutine owns what stands below the mutex's fields.
type feed struct {
	spec   Spec
	dir    durable.Dir
	ledger *ledger.Ledger
	log    *slog.Logger
	idle   bool          // it never runs
	first  time.Duration // wait after a failure

	// hasty ends when the feed shall come to an end: nothing is waited for any more. sending ends when it must stop at once.
	hasty, sending context.Context
	hurry, stop    context.CancelFunc
	done           chan struct{}

	mu       sync.Mutex
	place    place     // as in the file, or about to be; changed by the goroutine only
	oldest   time.Time // of the entries that are read and not acknowledged
	behind   uint64    // entries after the cursor at counted
	counted  journal.Position
	passed   uint64 // entries the cursor moved over since
	failing  error
	since    time.Time // of failing
	failures uint64
	sentAt   time.Time
	running  bool
	moved    chan struct{} // closed when the cursor moves

	reader *ledger.Reader
	ahead  *ahead // read and not yet in a batch
	batch  []Line
	text   []byte           // of the batch
	end    journal.Position // of what is in the batch or passed over
	read   uint64           // entries up to end, from the cursor on

	reached bool // an entry that is not before place.Since was read
}

// ahead is an entry that did not fit into a batch.
type ahead struct {
	entry ledger.Entry
	end   journal.Position
}

func newFeed(s Spec, cfg *Config) *feed {
	f := &feed{spec: s, dir: cfg.Dir, ledger: cfg.Ledger, log: cfg.Log.With("sink", s.Name), idle: cfg.Idle, first: cfg.Backoff,
		done: make(chan struct{}), moved: make(chan struct{})}
	f.hasty, f.hurry = context.WithCancel(context.Background())
	f.sending, f.stop = context.WithCancel(context.Background())
	_ = f.find() // kept in failing
	return f
}

// find reads where the sink stands and counts what lies before it.
func (f *feed) find() error {
	end := f.ledger.End()
	p, found, err := load(f.dir, f.spec.Name)
	if err == nil && !found {
		p.Since = f.spec.From.Since
		if f.spec.From.Now {
			p.Position = end
		}
		if !f.idle { // from now on it is known where it began
			err = p.save(f.dir, f.spec.Name)
		}
	}
	behind, countErr := f.ledger.Count(p.Position, end)
	if countErr != nil {
		f.log.Warn("the lag of a sink is not known", "err", countErr) // reading will come to it
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.place, f.behind, f.counted, f.passed, f.failing = p, behind, end, 0, err
	return err
}

// position is what the ledger must keep for the sink.
func (f *feed) position() journal.Position {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.place.Position
}

// progress is where the cursor stands and what tells when it moves.
func (f *feed) progress() (journal.Position, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.place.Position, f.moved
}

// run delivers until the feed is stopped.
func (f *feed) run() {
	defer close(f.done)
	f.mu.Lock()
	f.running = true
	lost := f.failing
	f.mu.Unlock()
	for try := 0; ; try++ {
		err := lost
		if err == nil {
			before := f.position()
			if err = f.follow(); err == nil {
				return
			}
			if f.position() != before {
				try = 0
			}
		}
		f.failed(err, try)
		f.pause(f.backoff(try, err))
		if f.hasty.Err() != nil {
			return
		}
		if lost != nil {
			lost = f.find()
		}
	}
}

// follow delivers until the feed is stopped or something else than the receiver fails.
func (f *feed) follow() error {
	receiver, err := f.spec.Opener.Open(f.sending)
	if err != nil {
		return err
	}
	defer receiver.Close()
	from := f.position()
	f.reader, f.ahead, f.end, f.read, f.reached = f.ledger.Reader(from), nil, from, 0, false
	defer func() { f.reader.Close() }()
	whole, _ := receiver.(Whole)
	for {
		err := f.gather(whole)
		if errors.Is(err, journal.ErrTrimmed) || errors.Is(err, journal.ErrSalvaged) {
			return f.restart(err)
		}
		if err != nil {
			return err
		}
		if f.end == f.place.Position {
			if f.hasty.Err() != nil {
				return nil
			}
			continue
		}
		if whole != nil && len(f.batch) > 0 && f.place.Until == nil {
			until := f.end
			if !f.move(func(p *place) { p.Until = &until }) {
				return nil
			}
		}
		if !f.deliver(receiver, whole != nil) || !f.acknowledged() {
			return nil
		}
	}
}

// restart has a sink that was not configured while retention removed what it had not read go on with what there is, and one
// whose place was in what a salvage put aside begin anew: what it had is sent again. The error is only that it starts anew.
func (f *feed) restart(err error) error {
	text := "entries were removed by retention while this sink was not configured, and have not reached it"
	if errors.Is(err, journal.ErrSalvaged) {
		text = "the sink begins anew: the journal was salvaged, and entries that it had read are no part of it any more"
	}
	f.log.Error(text, "err", err)
	if f.move(func(p *place) { p.Position, p.Until = journal.Position{}, nil }) {
		_ = f.find() // the lag is another
	}
	return err
}

// acknowledged moves the cursor behind the batch.
func (f *feed) acknowledged() bool {
	moved := f.move(func(p *place) {
		p.Position, p.Until = f.end, nil
		if f.reached {
			p.Since = time.Time{}
		}
	})
	if !moved {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.passed += f.read
	f.read, f.oldest = 0, time.Time{}
	f.recovered()
	close(f.moved)
	f.moved = make(chan struct{})
	return true
}

// move changes the place in the file and then in memory, as often as it takes: what was delivered is not sent again because
// a disk is full. False: the feed shall end.
func (f *feed) move(change func(*place)) bool {
	next := f.place
	change(&next)
	for try := 0; ; try++ {
		err := next.save(f.dir, f.spec.Name)
		if err == nil {
			f.mu.Lock()
			f.place = next
			f.mu.Unlock()
			return true
		}
		f.failed(err, try)
		f.pause(f.backoff(try, err))
		if f.hasty.Err() != nil {
			return false
		}
	}
}

// gather fills the batch until it is full, or its time is over, or nothing is to be waited for. With an empty batch end may
// have moved over entries that are not for the sink.
func (f *feed) gather(whole Whole) error {
	f.batch, f.text = f.batch[:0], f.text[:0]
	var full time.Time
	skipped := 0
	part := ""
	for until := f.place.Until; ; {
		if until != nil && !f.end.Before(*until) {
			return nil
		}
		a, err := f.next()
		switch {
		case err == io.EOF && until != nil:
			return errors.New("the journal ends before a batch that was begun")
		case err == io.EOF && (f.hasty.Err() != nil || len(f.batch) == 0 && f.end != f.place.Position || len(f.batch) > 0 && !time.Now().Before(full)):
			return nil
		case err == io.EOF:
			f.await(full)
			continue
		case err != nil && len(f.batch) > 0:
			return nil // what was read holds
		case err != nil:
			return err
		}
		if !f.wants(&a.entry) {
			f.end = a.end
			f.read++
			if skipped++; skipped == skipMax && until == nil {
				return nil
			}
			continue
		}
		if whole != nil {
			of := whole.Part(&a.entry)
			if len(f.batch) > 0 && of != part && until == nil {
				f.ahead = &a
				return nil
			}
			part = of
		}
		if len(f.batch) == 0 {
			full = time.Now().Add(f.spec.Batch.Wait)
			f.waits(a.entry.Time)
		}
		if fits, err := f.add(&a, until == nil); err != nil || !fits {
			return err
		}
	}
}

// add puts an entry into the batch. It reports whether more may be added; with bounded, one that is too much waits.
func (f *feed) add(a *ahead, bounded bool) (more bool, err error) {
	start := len(f.text)
	text, err := f.spec.Opener.Append(f.text, &a.entry)
	if err != nil {
		return false, fmt.Errorf("shape entry %s: %w", a.entry.ID, err)
	}
	if bounded && len(f.batch) > 0 && len(text) > f.spec.Batch.Bytes {
		f.ahead = a
		return false, nil
	}
	f.text = text
	f.batch = append(f.batch, Line{a.entry, text[start:len(text):len(text)]})
	f.end = a.end
	f.read++
	return !bounded || len(f.batch) < f.spec.Batch.Entries && len(text) < f.spec.Batch.Bytes, nil
}

// next is the next entry: the one that did not fit before, or one from the journal.
func (f *feed) next() (ahead, error) {
	if a := f.ahead; a != nil {
		f.ahead = nil
		return *a, nil
	}
	e, err := f.reader.Next()
	return ahead{e, f.reader.Position()}, err
}

// wants reports whether an entry is for the sink. Once one has the time that was asked for all later ones count, whatever
// the clock did.
func (f *feed) wants(e *ledger.Entry) bool {
	f.reached = f.reached || !e.Time.Before(f.place.Since)
	return f.reached && f.spec.Filter.takes(e)
}

// await waits for entries: for the first as long as it takes, for more in steps until full.
func (f *feed) await(full time.Time) {
	if len(f.batch) == 0 {
		f.reader.Wait(f.hasty, idleWait)
		return
	}
	f.pause(min(gatherGap, time.Until(full)))
}

// pause waits for d, unless the feed shall come to an end.
func (f *feed) pause(d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-f.hasty.Done():
	}
}

// backoff is how long to wait after the failure that try times were before.
func (f *feed) backoff(try int, err error) time.Duration {
	d := backoffMax
	if try < doublings {
		d = min(f.first<<try, backoffMax)
	}
	d = d/2 + rand.N(d/2)
	if busy, ok := errors.AsType[*BusyError](err); ok {
		d = max(d, min(busy.After, retryAfterMax))
	}
	return d
}
