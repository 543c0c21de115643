package journal

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/tollgate/tollgate/internal/durable"
)

// Recovery is what a start found.
type Recovery struct {
	End      Position // of what holds: where the new writer goes on
	Segment  string   // that had a torn tail; empty: none had
	CutBytes int64    // how much was cut from it
	Reason   string   // why it did not hold
	Earlier  bool     // it was cut by an earlier start, which wrote nothing to the journal
	Damaged  []string // files that Salvage has put aside since the last start that wrote
}

// Open takes the directory, cuts a torn tail and returns the journal ready for a new writer, whose first segment is made
// with its first payload. from is a place to start reading at, such as the one a checkpoint was made at; what lies before
// it is taken as it is. each, when not nil, gets every frame after from.
func Open(dir durable.Dir, from Position, o Options, each func(Frame) error) (*Journal, Recovery, error) {
	lock, err := dir.Lock()
	if err != nil {
		return nil, Recovery{}, err
	}
	j, rec, err := open(dir, from, o, each)
	if err != nil {
		lock.Close()
		return nil, rec, err
	}
	j.lock = lock
	go j.run()
	return j, rec, nil
}

func open(dir durable.Dir, from Position, o Options, each func(Frame) error) (*Journal, Recovery, error) {
	rec, err := recoverEnd(dir, from, each)
	if err != nil {
		return nil, rec, err
	}
	last, err := tidy(dir)
	if err != nil {
		return nil, rec, err
	}
	j := &Journal{
		dir: dir, writer: o.Writer, segment: last,
		segmentBytes: o.SegmentBytes, segmentAge: o.SegmentAge, gather: o.Gather, syncTook: o.SyncTook,
		group: &group{done: make(chan struct{})},
		now:   make(chan struct{}, 1), soon: make(chan struct{}, 1), lazy: make(chan struct{}, 1),
		stop: make(chan struct{}), done: make(chan struct{}), gone: make(chan struct{}),
	}
	if j.syncTook == nil {
		j.syncTook = func(time.Duration) {}
	}
	if j.segmentBytes <= 0 {
		j.segmentBytes = segmentBytesDefault
	}
	if j.segmentAge <= 0 {
		j.segmentAge = segmentAgeDefault
	}
	if j.gather <= 0 {
		j.gather = gatherDefault
	}
	j.staged = mark{0, begin(o.Writer, rec.End.Chain)}
	j.written, j.synced = j.staged, j.staged
	end := rec.End
	j.syncedEnd.Store(&end)
	return j, rec, nil
}

// tidy removes what a crash left of a removal and returns the highest number that a segment has or had.
func tidy(dir durable.Dir) (last uint64, err error) {
	b, err := ReadBeginning(dir)
	if err != nil {
		return 0, err
	}
	names, err := dir.List()
	if err != nil {
		return 0, err
	}
	last, stale := b.Position.Segment, false
	for _, name := range names {
		n := numberOf(name)
		last = max(last, n)
		stale = stale || n > 0 && n <= b.Position.Segment
	}
	if stale {
		err = sweep(dir, b.Position.Segment)
	}
	return last, err
}

// recoverEnd walks the journal from a place to its end, cuts a torn tail and makes sure that what is left is on the disk.
func recoverEnd(dir durable.Dir, from Position, each func(Frame) error) (Recovery, error) {
	c := NewCursor(dir, from)
	defer c.Close()
	var open unsynced
	for {
		f, err := c.Next(Written())
		if err == nil {
			open.add(&f)
			if each == nil {
				continue
			}
			if err := each(f); err != nil {
				return Recovery{}, err
			}
			continue
		}
		rec := Recovery{End: c.Position()}
		var torn *TornError
		switch {
		case errors.Is(err, io.EOF):
			rec.Reason = "it lies behind the end"
		case errors.As(err, &torn) && torn.Last && errors.Is(err, errTorn):
			rec.Reason = torn.Err.Error()
		default:
			return rec, err
		}
		if err := rec.cut(dir); err != nil {
			return rec, err
		}
		names, err := dir.List()
		if err != nil {
			return rec, err
		}
		rec.Damaged = putAside(names, rec.End.Segment)
		return rec, open.force(dir, from, rec.End)
	}
}

// unsynced is the part of a segment that may be with the kernel only: the process that wrote it died, or closed after a
// sync that failed. What the kernel shows of it is not what the power leaves of it.
type unsynced struct {
	segment uint64
	first   uint64  // sequence of the first frame that is not known to be on the disk
	starts  []int64 // where that and the following begin
}

// add takes the next frame, and from it what was on the disk by then.
func (u *unsynced) add(f *Frame) {
	if u.segment != f.End.Segment {
		*u = unsynced{segment: f.End.Segment, first: f.Seq, starts: u.starts[:0]}
	}
	u.starts = append(u.starts, f.End.Offset-int64(len(f.Bytes)))
	for u.first <= f.Synced && len(u.starts) > 1 {
		u.first++
		u.starts = u.starts[1:]
	}
}

// force writes that part again, to the same place, and syncs it: a sync alone would not cover what an earlier one that
// failed has dropped. What lies before begun, where the reading began, is on the disk; a segment without a frame is written
// from its header on.
func (u *unsynced) force(dir durable.Dir, begun, end Position) error {
	if end.Segment == 0 || begun == end {
		return nil
	}
	f, err := dir.Open(segmentName(end.Segment))
	if errors.Is(err, fs.ErrNotExist) { // the journal begins behind it
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	from := int64(0)
	if u.segment == end.Segment {
		from = u.starts[0]
	}
	b := make([]byte, end.Offset-from)
	if _, err = f.ReadAt(b, from); err != nil && err != io.EOF {
		return fmt.Errorf("read the last segment of the journal: %w", err)
	}
	if _, err = f.WriteAt(b, from); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = dir.Sync()
	}
	if err != nil {
		return fmt.Errorf("bring the last segment of the journal to the disk: %w", err)
	}
	return nil
}

// cut ends the last segment where it holds. What was behind, without the preallocated zeros, is kept in a file beside. It
// refuses to cut what was on the disk.
func (r *Recovery) cut(dir durable.Dir) error {
	if r.End.Segment == 0 {
		return nil
	}
	name, offset := segmentName(r.End.Segment), r.End.Offset
	f, err := dir.Open(name)
	if errors.Is(err, fs.ErrNotExist) { // the journal begins here, and nothing was written since
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	rest, err := r.tornTail(f)
	if err != nil {
		return err
	}
	if len(rest) == 0 {
		return errors.Join(cutAt(f, offset), r.cutBefore(dir, name))
	}
	r.Segment, r.CutBytes = name, int64(len(rest))
	if err := dir.Replace(name+tornSuffix, rest); err != nil {
		return fmt.Errorf("keep the torn tail of %s: %w", name, err)
	}
	return cutAt(f, offset)
}

// cutAt cuts a segment where it ends, and with it what was preallocated.
func cutAt(f durable.File, offset int64) error {
	size, err := f.Size()
	if err != nil || size <= offset {
		return err
	}
	if err := f.Truncate(offset); err != nil {
		return fmt.Errorf("cut the last segment of the journal: %w", err)
	}
	return f.Sync()
}

// tornTail is what lies behind the end in the last segment, f. It is an error when that was on the disk.
func (r *Recovery) tornTail(f durable.File) ([]byte, error) {
	name := segmentName(r.End.Segment)
	rest, err := tail(f, r.End.Offset)
	if err != nil {
		return nil, fmt.Errorf("read the torn tail of %s: %w", name, err)
	}
	if seq, later := syncedIn(rest, r.End.Seq+1); later {
		return nil, &TornError{Segment: name, Offset: r.End.Offset,
			Err: fmt.Errorf("%s, and it is no torn tail: sequence %d behind it was written when this was on the disk", r.Reason, seq)}
	}
	return rest, nil
}

// tornSuffix is added to a segment's name for the file that keeps what was cut from it.
const tornSuffix = ".torn"

// cutBefore finds out whether a start before this one has cut the last segment: each start that writes begins a segment
// of its own.
func (r *Recovery) cutBefore(dir durable.Dir, name string) error {
	kept, err := dir.ReadFile(name + tornSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read what was cut from %s: %w", name, err)
	}
	r.Segment, r.CutBytes, r.Reason, r.Earlier = name, int64(len(kept)), "an earlier start has cut it", true
	return nil
}

// tail is what a file has from offset on, without the preallocated zeros at its end.
func tail(f durable.File, offset int64) ([]byte, error) {
	size, err := f.Size()
	if err != nil || size <= offset {
		return nil, err
	}
	rest := make([]byte, size-offset)
	n, err := f.ReadAt(rest, offset)
	if err != nil && err != io.EOF {
		return nil, err
	}
	rest = rest[:n]
	for len(rest) > 0 && rest[len(rest)-1] == 0 {
		rest = rest[:len(rest)-1]
	}
	return rest, nil
}

// syncedIn looks in what lies behind the end for a frame that was made when the one with sequence lost was on the disk
// already: then it was not the power that took it, and to cut it would be to lose what was promised.
func syncedIn(rest []byte, lost uint64) (seq uint64, found bool) {
	for i := range rest {
		f := rest[i:]
		if len(f) < frameBytes {
			break
		}
		seq := binary.LittleEndian.Uint64(f[16:])
		if seq <= lost || seq > lost+uint64(len(rest)) || binary.LittleEndian.Uint64(f[8:]) < lost {
			continue
		}
		if raw, _, err := ReadRaw(f); err == nil {
			return raw.Seq, true
		}
	}
	return 0, false
}

// Wait returns once a sync went beyond p, or after d, or with ctx, or when the journal is closed.
func (j *Journal) Wait(ctx context.Context, p Position, d time.Duration) {
	end, synced := j.Durable()
	if p.Before(end) {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-synced:
	case <-t.C:
	case <-ctx.Done():
	case <-j.done:
	}
}
