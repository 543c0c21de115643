package lease

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/google/uuid"

	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/internal/postgres"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/caps"
	"github.com/tollgate/tollgate/ledger/journal"
)

const (
	// offlineDefault is how long a replica serves without contact with the database.
	offlineDefault = 5 * time.Second
	// beatShare is how many exchanges there are in that time at least: some may fail without anybody noticing.
	beatShare = 5
	// waitGap is the time between exchanges while calls wait for room, if nothing else wakes them.
	waitGap = 40 * time.Millisecond
	// starvedGap is how often the database is asked whether others starve: fast enough for a call that waits there.
	starvedGap = 100 * time.Millisecond
	// retryGap is the pause after an exchange that failed, doubled up to retryGapMax.
	retryGap    = 20 * time.Millisecond
	retryGapMax = 500 * time.Millisecond
	// openTime bounds the first look at the database's clock, askTime one question outside of exchanges.
	openTime = 5 * time.Second
	askTime  = time.Second
	// leaveTime bounds giving everything back at the end. What is not given back then returns by itself.
	leaveTime = 3 * time.Second
	// tokensMax bounds the tokens of exchanges whose answer was lost. One that was lost beyond that fences the replica.
	tokensMax = 1000
	// offLoud is how far from the database's time the shared time may be before the log says so.
	offLoud = time.Second
)

// Config says who shares what.
type Config struct {
	DB      *postgres.DB
	Dir     string        // the data directory: it keeps the replica's identity
	Offline time.Duration // how long to serve without contact with the database; 0: 5 s
	Log     *slog.Logger  // nil: slog.Default
}

// Client is one replica's connection to the pools. It implements ledger.Pools. All methods are safe for concurrent use.
type Client struct {
	store   store
	dir     durable.Dir
	lock    io.Closer // of dir
	offline time.Duration
	log     *slog.Logger
	timer   timer
	clock   clock

	contact atomic.Pointer[reading] // when the last exchange that was answered was sent; nil: not in contact
	cause   atomic.Pointer[error]   // why there is none
	kicked  chan struct{}           // capacity 1
	ctx     context.Context         // ends with Leave
	stop    context.CancelFunc
	running sync.WaitGroup

	// Those below are for the one goroutine that exchanges, and set before it runs.
	id, incarnation string
	place, zone     string
	tokens          []string
	joined, restore bool
	gone            bool // it was taken for gone, or may have been; until its rows are read again
	dead            bool // fenced: there is nothing more to say
	book            *caps.Book
	found           journal.Position // where the journal ended when it was opened
	end             func() journal.Position
	beat            reading // when the last exchange of all pools began

	mu    sync.Mutex // guards known
	known map[caps.Key]caps.Use
}

// Open takes the data directory's identity and the database's time. It fails when the database does not answer, when the
// identity cannot be read, and with durable.ErrLocked, wrapped, while another process has the directory. Nothing is shared
// before the ledger is opened with the client.
func Open(ctx context.Context, cfg Config) (*Client, error) {
	if err := migrate(ctx, cfg.DB); err != nil {
		return nil, err
	}
	dir, err := durable.Disk(cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("opening the data directory for the replica's identity: %w", err)
	}
	c := newClient(&database{db: cfg.DB}, dir, machine{time.Now()}, cfg.Offline, cfg.Log)
	if err := c.open(ctx); err != nil {
		return nil, err
	}
	c.place = place(filepath.Join(cfg.Dir, "lock"))
	return c, nil
}

func newClient(s store, dir durable.Dir, t timer, offline time.Duration, log *slog.Logger) *Client {
	c := &Client{
		store: s, dir: dir, timer: t, offline: offline, log: log, clock: clock{timer: t},
		kicked: make(chan struct{}, 1), incarnation: uuid.NewString(), known: map[caps.Key]caps.Use{},
	}
	if c.offline <= 0 {
		c.offline = offlineDefault
	}
	if c.log == nil {
		c.log = slog.Default()
	}
	c.ctx, c.stop = context.WithCancel(context.Background())
	c.because(errors.New("it has not joined them yet"))
	return c
}

func (c *Client) open(ctx context.Context) (err error) {
	if c.lock, err = c.dir.Lock(); err != nil {
		return fmt.Errorf("taking the replica's identity: %w", err)
	}
	if c.id, err = identity(c.dir); err == nil {
		err = c.firstTime(ctx)
	}
	if err != nil {
		return errors.Join(err, c.lock.Close())
	}
	return nil
}

// firstTime reads the database's clock, a few times for a good measure.
func (c *Client) firstTime(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	for range 3 {
		sent, _ := c.timer.read()
		t, err := c.store.now(ctx)
		if err != nil {
			return fmt.Errorf("reading the database's clock: %w", err)
		}
		received, _ := c.timer.read()
		c.clock.sample(sent, received, t)
	}
	return nil
}

// ReplicaID names this replica. It is the same after a restart.
func (c *Client) ReplicaID() string { return c.id }

// Now implements ledger.Pools: the database's time, carried on by the monotonic clock.
func (c *Client) Now() time.Time { return c.clock.now() }

// Elapsed implements ledger.Pools.
func (c *Client) Elapsed() time.Time {
	m, _ := c.timer.read()
	return time.Unix(0, 0).Add(m)
}

// Alive implements ledger.Pools: nil while the database has answered within the last Offline. It costs one look at the
// clock.
func (c *Client) Alive() error {
	contact := c.contact.Load()
	if contact == nil {
		return fmt.Errorf("%w: %w", ledger.ErrOffline, *c.cause.Load())
	}
	if contact.since(c.timer) > c.offline {
		return fmt.Errorf("%w: the database has not answered for %s", ledger.ErrOffline, c.offline)
	}
	return nil
}

func (c *Client) because(err error) { c.cause.Store(&err) }

// Serve implements ledger.Pools.
func (c *Client) Serve(book *caps.Book, zone string, found journal.Position, end func() journal.Position) {
	c.book, c.zone, c.found, c.end = book, zone, found, end
	book.Wake(c.kick)
	c.running.Go(func() { c.run(c.ctx) })
	c.running.Go(func() { c.watch(c.ctx) })
	c.running.Go(func() { c.reap(c.ctx) })
}

// kick has an exchange begin soon.
func (c *Client) kick() {
	select {
	case c.kicked <- struct{}{}:
	default:
	}
}

// run exchanges, one at a time, until ctx ends or the replica is fenced.
func (c *Client) run(ctx context.Context) {
	t := time.NewTimer(0)
	defer t.Stop()
	gap := retryGap
	for !c.dead {
		select {
		case <-ctx.Done():
			return
		case <-c.kicked:
		case <-t.C:
		}
		next, err := c.exchange(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			c.log.Debug("an exchange with the database failed", "err", err)
			if !sleep(ctx, gap) {
				return
			}
			gap = min(2*gap, retryGapMax)
			next = 0
		default:
			gap = retryGap
		}
		t.Reset(next)
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// exchange says and hears what there is, and returns when the next exchange is due.
func (c *Client) exchange(ctx context.Context) (next time.Duration, err error) {
	r := c.request()
	beat := c.offline / beatShare
	if c.joined && !c.restore {
		all := c.beat == reading{} || c.beat.since(c.timer) >= beat
		if all {
			c.beat = readAll(c.timer)
		}
		r.changes, r.readings = c.book.Plan(all)
	}
	r.join, r.restore = !c.joined, c.joined && c.restore
	if r.join {
		r.end = c.found // what this start wrote itself says nothing of what was there
	}
	got, sent, err := c.send(ctx, r)
	if err != nil {
		return 0, err
	}
	if got.verdict != done {
		c.book.Lost(r.changes)
		return c.refused(got)
	}
	if r.join || r.restore {
		c.took(got)
		c.contact.Store(&sent) // not before: what it held may be its own no more
		return 0, nil
	}
	c.book.Answer(r.changes, got.results, got.others)
	c.contact.Store(&sent)
	if c.book.Waiting() {
		return waitGap, nil
	}
	return max(0, beat-c.beat.since(c.timer)), nil
}

func (c *Client) request() *request {
	return &request{
		id: c.id, incarnation: c.incarnation, tokens: c.tokens, next: uuid.NewString(), place: c.place, zone: c.zone,
		silence: c.offline + margin, end: c.end(),
	}
}

// send carries one request to the database, and says when. After an error its outcome is not known, and the rows are to be
// read again.
func (c *Client) send(ctx context.Context, r *request) (*reply, reading, error) {
	sent := readAll(c.timer)
	within, cancel := context.WithTimeout(ctx, min(askTime, c.offline/beatShare*2))
	defer cancel()
	got, err := c.store.exchange(within, r)
	if err != nil {
		c.restore = true
		if maybeDone(err) {
			c.gone = c.gone || r.join || r.restore                              // that it was gone is said only once
			if c.tokens = append(c.tokens, r.next); len(c.tokens) > tokensMax { // the first is the one that is known
				c.tokens = append(c.tokens[:1], c.tokens[2:]...)
			}
		}
		if len(r.changes) > 0 {
			c.book.Lost(r.changes)
		}
		return nil, sent, err
	}
	received, _ := c.timer.read()
	if off := c.clock.sample(sent.monotonic, received, got.now); off.Abs() > offLoud {
		c.log.Warn("the database's clock moved: the shared time follows", "by", off)
	}
	if got.verdict == done {
		c.tokens = []string{r.next}
	}
	return got, sent, nil
}

// took begins from what the database has for the replica.
func (c *Client) took(got *reply) {
	c.joined, c.restore = true, false
	gone := got.gone || c.gone
	c.gone = false
	for _, k := range c.book.Restore(got.have, gone) {
		c.log.Error("the database has lost what it had granted: was it restored, or has a standby without all of its data taken over?", "limit", k.Limit)
	}
}

// refused takes a verdict, and returns when to try again.
func (c *Client) refused(got *reply) (time.Duration, error) {
	switch got.verdict {
	case mustJoin:
		c.joined, c.gone = false, true
	case mustRestore:
		c.log.Warn("this replica was silent for so long that the others took it for gone; it begins anew")
		c.restore, c.gone = true, true
	case mustWait:
		c.because(errors.New("a process that had this data directory may still serve; this one waits until it cannot"))
		return min(got.wait, time.Second), nil
	case otherZone:
		c.because(errors.New("the other replicas have another timezone: in the config: all need the same, as their calendar windows are shared"))
		return time.Second, nil
	case rolledBack:
		c.log.Warn("the journal is shorter than this replica said it was: the data directory is a copy or was restored. It goes on as a new replica; what the old one held of limits stays spent")
		id, err := newIdentity(c.dir)
		if err != nil {
			return 0, err
		}
		c.id, c.tokens = id, nil
	case fenced:
		c.dead = true
		c.because(errors.New("another process runs with a copy of this data directory; this one serves no more"))
		c.contact.Store(nil)
		c.log.Error("another process runs with this replica's identity: this one serves no more. Give each replica a data directory of its own")
	}
	return 0, nil
}

// watch hears of others that starve, by notification and by asking.
func (c *Client) watch(ctx context.Context) {
	heard := make(chan struct{}, 1)
	c.running.Go(func() {
		c.store.watch(ctx, c.id, func(starved bool) {
			if !starved {
				c.kick()
				return
			}
			select {
			case heard <- struct{}{}:
			default:
			}
		})
	})
	t := time.NewTicker(starvedGap)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-heard:
		case <-t.C:
		}
		contact := c.contact.Load()
		if contact == nil {
			continue
		}
		if contact.sleptSince(c.timer) > c.offline { // Alive does not look at the clock that counts a sleep
			c.because(errors.New("the machine slept"))
			c.contact.CompareAndSwap(contact, nil)
			continue
		}
		asking, cancel := context.WithTimeout(ctx, askTime)
		keys, err := c.store.starved(asking, c.id)
		cancel()
		if err == nil && len(keys) > 0 {
			c.book.Tighten(keys)
		}
	}
}

// reap declares replicas gone that are silent and removes what has had its time, while the duty is this replica's.
func (c *Client) reap(ctx context.Context) {
	w := watched{}
	for sleep(ctx, max(c.offline, offlineDefault)/beatShare) {
		within, cancel := context.WithTimeout(ctx, askTime)
		m, _ := c.timer.read()
		if err := c.store.reap(within, c.incarnation, w, m); err != nil {
			c.log.Debug("silent replicas could not be looked for", "err", err)
		}
		cancel()
	}
}

// Others implements ledger.Pools.
func (c *Client) Others() (map[caps.Key]caps.Use, error) {
	ctx, cancel := context.WithTimeout(c.ctx, askTime)
	defer cancel()
	uses, err := c.store.uses(ctx, c.id)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err == nil {
		c.known = uses
	}
	return c.known, err
}

// Leave implements ledger.Pools.
func (c *Client) Leave() {
	c.stop()
	c.running.Wait()
	c.contact.Store(nil)
	c.because(errors.New("this replica has left"))
	if !c.joined || c.dead {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	for {
		r := c.request()
		r.leave, r.changes = true, c.book.Finish()
		got, _, err := c.send(ctx, r)
		if err == nil {
			if got.verdict != done {
				c.log.Warn("this replica could not give back what it held of limits: it had been taken for gone")
			}
			return
		}
		if !sleep(ctx, retryGap) {
			c.log.Warn("this replica could not give back what it held of limits: it returns by itself", "err", err)
			return
		}
	}
}

// Close gives the data directory back. The ledger is closed before.
func (c *Client) Close() error {
	c.stop()
	c.running.Wait()
	return c.lock.Close()
}
