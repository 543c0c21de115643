package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tollgate/tollgate/internal/durable"
)

const (
	// segmentBytesDefault keeps the part that a start has to read again short: about 200,000 entries, under half a second.
	segmentBytesDefault = 64 << 20
	// segmentAgeDefault is how old a segment gets before the next is begun, so that the journal of a slow gateway can be
	// removed day by day.
	segmentAgeDefault = 24 * time.Hour
	// reserveBytes is how far ahead a segment is preallocated.
	reserveBytes = 4 << 20
	// spareBytes is how much of a segment stays preallocated beyond what is written. On a full disk no new work is taken, and
	// the ends of some ten thousand calls under way still go there.
	spareBytes = 4 << 20
	// gatherDefault is how long a payload that nobody waits for may wait for others before it is synced.
	gatherDefault = 20 * time.Millisecond
	// syncGap spaces the syncs that are wanted soon but waited for by nobody, so that under load groups grow instead of
	// the number of syncs.
	syncGap = time.Millisecond
	// musterMax bounds how long a sync waits for those who are about to join it: about what a fast disk takes for one.
	musterMax = 250 * time.Microsecond
	// musterQuiet is how often in a row it lets others run without anybody joining before it begins.
	musterQuiet = 3
	// tailBytesMax bounds what is kept in memory until it is synced: a disk slower than the calls, or one that fails.
	tailBytesMax = 32 << 20
	// retryGap is how long the background goroutine waits before it tries a failing disk again.
	retryGap = 100 * time.Millisecond
)

var (
	// ErrClosed means the journal was closed.
	ErrClosed = errors.New("the journal is closed")
	// ErrBehind means that too much waits for the disk.
	ErrBehind = errors.New("the disk is behind: too much is waiting to be written")
)

// Options tune a journal. The zero value is good.
type Options struct {
	Writer       Writer        // required: names this start, never used before
	SegmentBytes int64         // a new segment is begun past this size; 0: 64 MiB
	SegmentAge   time.Duration // and when entries older than this are in it; 0: a day
	Gather       time.Duration // how long a payload may wait for its sync when nobody asks; 0: 20 ms

	// SyncTook gets how long each sync of a group took, from the goroutine that syncs; nil: nobody asks.
	SyncTook func(time.Duration)
}

// Ticket is a staged payload's place.
type Ticket struct {
	Seq   uint64
	group *group
}

// group is the payloads that one sync covers. err is set before done is closed.
type group struct {
	done chan struct{}
	err  error
}

// mark is a place in the writer's sequence.
type mark struct {
	seq   uint64
	chain Chain
}

// Journal is the writer. All methods are safe for concurrent use.
//
// Three locks, taken in this order: syncing, writing, staging. The first two are held over I/O, staging never is.
type Journal struct {
	dir          durable.Dir
	lock         io.Closer
	writer       Writer
	segmentBytes int64
	segmentAge   time.Duration
	gather       time.Duration
	syncTook     func(time.Duration)

	// syncing is held by whoever forces data or changes files, so that no two syncs overlap: an error that the kernel
	// reports only once must not be lost between two of them.
	syncing sync.Mutex

	// writing guards the fields below and is held while bytes go to the kernel.
	writing  sync.Mutex
	file     durable.File // nil until the first write: a start that writes nothing leaves no segment
	segment  uint64       // its number
	reserved int64        // bytes of it that are preallocated
	cramped  error        // why there is no room for more than the spare; nil: there is
	headed   bool         // the next segment may have its header, so nothing may be added to this one
	written  mark         // the last frame the kernel has
	synced   mark         // the last frame the disk has

	// staging guards the fields below; writing is also held when base and tail move, so the holder of writing may read
	// staged bytes without staging.
	staging sync.Mutex
	base    int64  // offset in file of tail[0]: everything before is synced
	tail    []byte // frames staged and not yet synced, in order
	staged  mark   // the last frame in tail
	group   *group // of the frames staged since the last sync began
	closed  bool

	writtenBytes int           // of tail, guarded by writing
	writtenSeq   atomic.Uint64 // written.seq, to be read without a lock
	syncedSeq    atomic.Uint64
	tailBytes    atomic.Int64
	failing      atomic.Bool // the last write or sync failed; cleared by a sync of everything
	syncedEnd    atomic.Pointer[Position]

	// asked and gathering say that a sync, soon or lazily, is coming that has not begun, so nobody need wake the
	// background goroutine for it again. Each sync clears them before it looks at what is staged.
	asked, gathering atomic.Bool

	now  chan struct{} // somebody waits
	soon chan struct{} // nobody waits, but will
	lazy chan struct{} // nobody will wait
	stop chan struct{}
	done chan struct{} // the background goroutine has ended
	gone chan struct{} // Close has
}

// Stage gives payload its place at the end of the order. It is not in the kernel before Flush has returned nil. Stage
// does no I/O and fails only when the journal is closed or the payload is empty or too long.
func (j *Journal) Stage(payload []byte) (Ticket, error) {
	if len(payload) == 0 || len(payload) > PayloadBytesMax {
		return Ticket{}, fmt.Errorf("journal payload of %d bytes: between 1 and %d are possible", len(payload), PayloadBytesMax)
	}
	j.staging.Lock()
	defer j.staging.Unlock()
	if j.closed {
		return Ticket{}, ErrClosed
	}
	j.staged.seq++
	j.tail, j.staged.chain = appendFrame(j.tail, j.staged.chain, j.staged.seq, j.syncedSeq.Load(), payload)
	j.tailBytes.Store(int64(len(j.tail)))
	return Ticket{j.staged.seq, j.group}, nil
}

// Ready reports whether new work may be staged. While the disk fails it tries it again first, so the call that finds it
// mended goes through.
func (j *Journal) Ready() error {
	if j.failing.Load() {
		if err := j.mend(); err != nil {
			return err
		}
	}
	if j.tailBytes.Load() > tailBytesMax {
		return ErrBehind
	}
	return nil
}

func (j *Journal) mend() error {
	j.syncing.Lock()
	defer j.syncing.Unlock()
	if !j.failing.Load() { // another caller was first
		return nil
	}
	if err := j.force(); err != nil {
		return err
	}
	return j.spread()
}

// Flush returns nil once t's payload and all before it are in the kernel. After an error the payload stays staged and is
// written with the next success.
func (j *Journal) Flush(t Ticket) error {
	if j.writtenSeq.Load() >= t.Seq {
		return nil
	}
	j.writing.Lock()
	if j.written.seq >= t.Seq {
		j.writing.Unlock()
		return nil
	}
	err := j.write()
	j.writing.Unlock()
	if errors.Is(err, errFull) {
		err = j.rotate()
	}
	return err
}

// SyncSoon asks for a sync that will be waited for later.
func (j *Journal) SyncSoon() {
	if !j.asked.Load() && j.asked.CompareAndSwap(false, true) {
		wake(j.soon)
	}
}

// SyncLazily asks for a sync within the gather time.
func (j *Journal) SyncLazily() {
	if !j.asked.Load() && !j.gathering.Load() && j.gathering.CompareAndSwap(false, true) {
		wake(j.lazy)
	}
}

func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Synced waits until t's payload is on the disk. An error means that it may not be.
func (j *Journal) Synced(ctx context.Context, t Ticket) error {
	if j.syncedSeq.Load() >= t.Seq {
		return nil
	}
	wake(j.now)
	select {
	case <-t.group.done:
		return t.group.err
	case <-j.gone: // Close has synced what it could
		if j.syncedSeq.Load() >= t.Seq {
			return nil
		}
		return ErrClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Sync waits until everything staged so far is on the disk.
func (j *Journal) Sync(ctx context.Context) error {
	j.staging.Lock()
	t := Ticket{j.staged.seq, j.group}
	j.staging.Unlock()
	return j.Synced(ctx, t)
}

// Durable is the end of what is on the disk: the limit up to which a Cursor may read, and a channel that is closed by
// the next sync.
func (j *Journal) Durable() (Position, <-chan struct{}) {
	j.staging.Lock()
	defer j.staging.Unlock()
	return *j.syncedEnd.Load(), j.group.done
}

// Close syncs, closes and gives the directory back.
func (j *Journal) Close() error {
	j.staging.Lock()
	if j.closed {
		j.staging.Unlock()
		return ErrClosed
	}
	j.closed = true
	j.staging.Unlock()
	defer close(j.gone)
	close(j.stop)
	<-j.done
	err := j.sync()
	j.syncing.Lock()
	defer j.syncing.Unlock()
	j.writing.Lock()
	defer j.writing.Unlock()
	if j.file != nil {
		if err == nil {
			err = j.file.Truncate(j.base) // gives back what was preallocated
		}
		err = errors.Join(err, j.file.Close())
	}
	return errors.Join(err, j.lock.Close())
}

// run is the one goroutine that syncs in the background.
func (j *Journal) run() {
	defer close(j.done)
	var last time.Time // end of the last sync
	gather := time.NewTimer(time.Hour)
	gather.Stop()
	age := time.NewTicker(j.segmentAge)
	defer age.Stop()
	for {
		select {
		case <-j.stop:
			return
		case <-j.now:
			j.muster()
		case <-j.soon:
			if !j.pause(syncGap - time.Since(last)) {
				return
			}
		case <-j.lazy:
			gather.Reset(j.gather)
			continue
		case <-gather.C:
		case <-age.C:
			_ = j.seclude() // an error is met again by the next sync, and the segment goes on until the next day
			continue
		}
		gather.Stop()
		if j.sync() != nil {
			if !j.pause(retryGap) {
				return
			}
			j.SyncLazily()
		}
		last = time.Now()
	}
}

// muster lets those who were released by the last sync, and are about to stage and to wait again, come into the next one:
// without it the first of them would start a sync for himself, and half of the others would wait for two. It ends when
// nobody comes any more.
func (j *Journal) muster() {
	begun, staged := time.Now(), j.tailBytes.Load()
	for quiet := 0; quiet < musterQuiet && time.Since(begun) < musterMax; quiet++ {
		runtime.Gosched()
		if now := j.tailBytes.Load(); now != staged {
			staged, quiet = now, -1
		}
	}
}

// pause waits for d or until somebody waits; it returns false when the journal is being closed.
func (j *Journal) pause(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-j.now:
	case <-j.stop:
		return false
	}
	return true
}
