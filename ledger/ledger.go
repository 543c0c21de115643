package ledger

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/ledger/caps"
	"github.com/tollgate/tollgate/ledger/digest"
	"github.com/tollgate/tollgate/ledger/entry"
	"github.com/tollgate/tollgate/ledger/journal"
	"github.com/tollgate/tollgate/ledger/limits"
	"github.com/tollgate/tollgate/ledger/refusals"
	"github.com/tollgate/tollgate/ledger/retention"
	"github.com/tollgate/tollgate/policy"
)

// Durability says when an entry must be on disk.
type Durability string

// See DESIGN: overlap lets the call leave at once and holds its answer until the group is synced.
const (
	Overlap Durability = "overlap"
	Strict  Durability = "strict"
	Relaxed Durability = "relaxed"
)

// relaxedGather is how long an entry may wait for the disk with Relaxed.
const relaxedGather = 100 * time.Millisecond

// Config opens a ledger.
type Config struct {
	Dir        string
	Durability Durability     // empty: Overlap
	Location   *time.Location // of calendar windows; nil: UTC
	DigestKey  []byte         // keys the digests of what calls carry; empty: one is made and kept in Dir
	Subjects   Subjects       // what stands in entries for users; nil: their names do
	Now        func() time.Time
	Pools      Pools // what limits are shared through by several replicas; nil: this process is alone

	Storage      durable.Dir // what Dir stands for; tests break it. nil: the disk
	SegmentBytes int64       // size of the journal's files; 0: 64 MiB

	SyncTook func(time.Duration) // gets how long each sync of the disk took; nil: nobody asks
}

// Level is where on a principal's path a limit is attached.
type Level string

// The levels, outermost first. RuleLevel is for limits laid by policy.
const (
	CustomerLevel Level = "customer"
	TeamLevel     Level = "team"
	KeyLevel      Level = "key" // Name is the KeyID
	UserLevel     Level = "user"
	RuleLevel     Level = "rule"
)

// Scope names what a limit is attached to.
type Scope struct {
	Level Level
	Name  string
}

func (s Scope) String() string { return string(s.Level) + " " + s.Name }

// Recovery is what Open found and mended.
type Recovery struct {
	Interrupted int              // reservations that were open and are now posted, estimated
	Journal     journal.Recovery // where the journal ended, and what was cut from it
}

// Ledger is one process's ledger. All methods are safe for concurrent use.
type Ledger struct {
	cfg      Config
	dir      durable.Dir
	journal  *journal.Journal
	recovery Recovery
	digests  *digest.Keys
	drafts   sync.Pool // *draft
	turned   *refusals.Sums
	keeps    retention.Keeps
	walking  sync.Mutex                        // held by whoever walks segments in the background
	limited  atomic.Pointer[map[string]string] // by the names of users with limits: the pseudonyms those are attached to
	setting  sync.Mutex                        // held by SetLimits, before mu
	given    map[Scope][]Limit                 // to SetLimits last; guarded by setting
	closing  chan struct{}                     // closed by Close
	once     sync.Once                         // for closing
	kept     chan struct{}                     // closed when the goroutine that stores checkpoints has ended

	// mu guards all below. It is never held over I/O: an entry is staged under it, so that the journal has entries in
	// the order their limits were checked in, and written after.
	mu       sync.Mutex
	book     *book
	shared   *caps.Book           // what this replica may take of limits; nil: all
	named    map[Scope]string     // the names of users that limits are attached to, under which their use stands in journals of old
	counters map[Scope][]*counter // by what they are attached to, limits first, in the order of the config
	readings map[Scope]*reading   // for Spend, made when first asked for
	rules    map[policy.RuleLimit]*ruleLimit
}

// Open recovers the journal in cfg.Dir (cuts a torn tail, posts open reservations as Interrupted) and starts a new
// writer. It returns durable.ErrLocked, wrapped, while another process has the directory.
func Open(cfg Config) (*Ledger, error) {
	l, err := prepare(cfg)
	if err != nil {
		return nil, fmt.Errorf("open ledger %s: %w", cfg.Dir, err)
	}
	gather := time.Duration(0)
	if l.cfg.Durability == Relaxed {
		gather = relaxedGather
	}
	options := journal.Options{Writer: journal.Writer(NewID(l.cfg.Now())), SegmentBytes: cfg.SegmentBytes, Gather: gather, SyncTook: cfg.SyncTook}
	var from journal.Position
	if l.book, from, err = restored(l.dir, l.cfg.Location); err != nil {
		return nil, fmt.Errorf("open ledger %s: %w", cfg.Dir, err)
	}
	decoder := entry.NewDecoder()
	l.journal, l.recovery.Journal, err = journal.Open(l.dir, from, options, func(f journal.Frame) error { return l.replay(&decoder, f) })
	if err != nil {
		return nil, fmt.Errorf("open ledger %s: %w", cfg.Dir, advised(err))
	}
	if err := l.postInterrupted(); err != nil {
		return nil, errors.Join(fmt.Errorf("open ledger %s: post the calls that were cut: %w", cfg.Dir, err), l.journal.Close())
	}
	if now := l.cfg.Now().UnixNano(); l.book.last-now > int64(clockStep) { // set back since
		l.book.last = now
	}
	go l.keepCheckpoints()
	if l.shared != nil {
		l.cfg.Pools.Serve(l.shared, l.cfg.Location.String(), l.recovery.Journal.End, l.End)
	}
	return l, nil
}

// prepare fills the defaults and makes an empty ledger.
func prepare(cfg Config) (*Ledger, error) {
	switch cfg.Durability {
	case "":
		cfg.Durability = Overlap
	case Overlap, Strict, Relaxed:
	default:
		return nil, fmt.Errorf("durability %q: one of overlap, strict, relaxed", cfg.Durability)
	}
	if cfg.Location == nil {
		cfg.Location = time.UTC
	}
	switch {
	case cfg.Now != nil:
	case cfg.Pools != nil:
		cfg.Now = cfg.Pools.Now
	default:
		cfg.Now = time.Now
	}
	dir := cfg.Storage
	if dir == nil {
		if cfg.Dir == "" {
			return nil, errors.New("no directory is given")
		}
		var err error
		if dir, err = durable.Disk(cfg.Dir); err != nil {
			return nil, err
		}
	}
	if len(cfg.DigestKey) == 0 {
		key, err := digestKey(dir)
		if err != nil {
			return nil, err
		}
		cfg.DigestKey = key
	}
	l := &Ledger{
		cfg: cfg, dir: dir,
		book:     newBook(cfg.Location),
		counters: map[Scope][]*counter{},
		readings: map[Scope]*reading{},
		rules:    map[policy.RuleLimit]*ruleLimit{},
		closing:  make(chan struct{}),
		kept:     make(chan struct{}),
	}
	if cfg.Pools != nil {
		l.shared = caps.NewBook(&l.mu, l.tick, cfg.Pools.Elapsed, l.meet)
	}
	l.digests = digest.New(cfg.DigestKey)
	// An error means that the disk fails, which the calls of those who have a key tell louder.
	l.turned = refusals.New(cfg.Now, func(e Entry) { _ = l.append(&draft{entry: e}) })
	l.drafts.New = func() any { return &draft{wire: make([]byte, 0, 1024)} }
	return l, nil
}

// digestKeyName is the file that keeps the key of argument digests when the config gives none.
const digestKeyName = "digest.key"

func digestKey(dir durable.Dir) ([]byte, error) {
	key, err := dir.ReadFile(digestKeyName)
	if err == nil && len(key) > 0 {
		return key, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key = make([]byte, 32)
	rand.Read(key)
	return key, dir.Replace(digestKeyName, key)
}

// replay takes an entry that the journal holds.
func (l *Ledger) replay(d *entry.Decoder, f journal.Frame) error {
	e, err := d.Decode(f.Payload)
	if err != nil {
		return fmt.Errorf("journal frame %d of segment %d: %w", f.Seq, f.End.Segment, err)
	}
	return l.book.apply(&e)
}

// postInterrupted ends the reservations that the last process left open: it may have sent the call, so its hold is taken
// as spent. When the journal was cut, an entry says so before. A crash in here leaves the rest to the next start.
func (l *Ledger) postInterrupted() error {
	open := make([]*hold, 0, len(l.book.open))
	for _, h := range l.book.open {
		open = append(open, h)
	}
	slices.SortFunc(open, func(a, b *hold) int { return slices.Compare(a.id[:], b.id[:]) })
	now := l.cfg.Now()
	told := l.recovery.entries(now)
	for i := range told { // first, so that a segment behind a cut one begins with them: see journal.Recovery.Earlier
		if _, err := l.journal.Stage(told[i].Append(nil)); err != nil {
			return err
		}
	}
	for _, h := range open {
		full := h.full()
		var e Entry
		h.entry(&e, Posted, now)
		e.Cost, e.Quantities, e.Estimated = Nano(full.Nano), heldQuantities(full), true
		e.Status, e.Detail = Interrupted, "the process ended before the call did"
		if _, err := l.journal.Stage(e.Append(nil)); err != nil {
			return err
		}
		l.book.settle(h, settled(&e, h), now.UnixNano())
	}
	l.recovery.Interrupted = len(open)
	if len(open) == 0 && len(told) == 0 {
		return nil
	}
	return l.journal.Sync(context.Background())
}

// heldQuantities states a hold of tokens as quantities: it does not know their kinds and calls all of them output.
func heldQuantities(a limits.Amounts) Quantities {
	return Quantities{OutputTokens: a.Tokens, Calls: a.Calls}
}

// entries are what the ledger itself tells of a journal that was cut or salvaged.
func (r *Recovery) entries(now time.Time) (out []Entry) {
	j := &r.Journal
	tell := func(action policy.Action, target, detail string) {
		out = append(out, Entry{ID: NewID(now), Time: now, Kind: Admin, Action: action, Who: Who{Key: byItself}, Target: target, Status: OK,
			Detail: clip(fmt.Sprintf("behind sequence %d of the writer before: %s", j.End.Seq, detail))})
	}
	if len(j.Damaged) > 0 { // first: by it the proof knows why this writer does not go on where the one before ended
		tell(SalvageAction, j.Damaged[0], "what was damaged was put aside as "+strings.Join(j.Damaged, ", "))
	}
	if j.CutBytes > 0 {
		tell(RecoverAction, j.Segment, fmt.Sprintf("%d bytes that did not hold were cut: %s", j.CutBytes, j.Reason))
	}
	return out
}

// advised adds to damage what can be done about it.
func advised(err error) error {
	if _, damaged := errors.AsType[*journal.TornError](err); damaged {
		return fmt.Errorf("%w; restore the directory from a backup, or give up what follows by `tollgate audit salvage`", err)
	}
	return err
}

// Recovery is what Open found.
func (l *Ledger) Recovery() Recovery { return l.recovery }

// Ready returns nil, or an error wrapping ErrUnwritable that says why no call can be recorded now.
func (l *Ledger) Ready() error { return l.unwritable(l.journal.Ready()) }

// Stats is how the journal stands with its disk.
func (l *Ledger) Stats() (journal.Stats, error) { return l.journal.Stats() }

// Sync waits until all entries so far are on disk.
func (l *Ledger) Sync(ctx context.Context) error { return l.unwritable(l.journal.Sync(ctx)) }

// Close syncs and closes. Reservations still open are left to the next start. What this replica may take of shared limits
// is given back, but for what its calls have taken.
func (l *Ledger) Close() error {
	l.turned.Flush()
	l.once.Do(func() { close(l.closing) })
	<-l.kept
	if err := l.journal.Close(); err != nil {
		return l.unwritable(err)
	}
	if l.shared != nil {
		l.cfg.Pools.Leave()
	}
	end, _ := l.journal.Durable() // all there is
	l.mu.Lock()
	c := l.book.checkpoint(end)
	l.mu.Unlock()
	_ = c.save(l.dir) // without it the next start takes longer, no more
	return nil
}

// unwritable marks an error of the journal as one that forbids the call. It is for the operator: callers are told only
// that nothing can be recorded.
func (l *Ledger) unwritable(err error) error {
	switch {
	case err == nil || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return err
	case durable.IsFull(err):
		return fmt.Errorf("%w: the disk of %s is full: make room there, and calls go on by themselves: %w", ErrUnwritable, cmp.Or(l.cfg.Dir, "the ledger"), err)
	}
	return fmt.Errorf("%w: %w", ErrUnwritable, err)
}

// draft is an entry being made and its wire form, reused from call to call: both are too large for each call to make anew.
type draft struct {
	entry Entry
	wire  []byte
	lack  lack
}

func (d *draft) encode() []byte {
	d.wire = d.entry.Append(d.wire[:0])
	return d.wire
}

func (l *Ledger) draft() *draft { return l.drafts.Get().(*draft) }

// discard takes a draft back. Nothing of it may be in use.
func (l *Ledger) discard(d *draft) { l.drafts.Put(d) }

// append stages d's entry and hands it to the kernel.
func (l *Ledger) append(d *draft) error {
	if err := l.journal.Ready(); err != nil {
		return l.unwritable(err)
	}
	t, err := l.journal.Stage(d.encode())
	if err == nil {
		err = l.journal.Flush(t)
		l.journal.SyncLazily()
	}
	return l.unwritable(err)
}
