package journal

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/tollgate/tollgate/internal/durable"
)

// Recovery is what a start found.
type Recovery struct {
	End      Position // of what holds: where the new writer goes on
	Segment  string   // that had a torn tail; empty: none had
	CutBytes int64    // how much was cut from it
	Reason   string   // why it did not hold
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
		segmentBytes: o.SegmentBytes, segmentAge: o.SegmentAge, gather: o.Gather,
		group: &group{done: make(chan struct{})},
		now:   make(chan struct{}, 1), soon: make(chan struct{}, 1), lazy: make(chan struct{}, 1),
		stop: make(chan struct{}), done: make(chan struct{}), gone: make(chan struct{}),
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

// tidy removes what a crash left of a removal and returns the number of the last segment.
func tidy(dir durable.Dir) (last uint64, err error) {
	b, err := ReadBeginning(dir)
	if err != nil {
		return 0, err
	}
	names, err := dir.List()
	if err != nil {
		return 0, err
	}
	all := segments(names)
	if len(all) > 0 && all[0] <= b.Position.Segment {
		err = sweep(dir, b.Position.Segment)
	}
	if len(all) == 0 {
		return b.Position.Segment, err
	}
	return all[len(all)-1], err
}

// recoverEnd walks the journal from a place to its end and cuts a torn tail.
func recoverEnd(dir durable.Dir, from Position, each func(Frame) error) (Recovery, error) {
	c := NewCursor(dir, from)
	defer c.Close()
	for {
		f, err := c.Next(Written())
		if err == nil {
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
		return rec, rec.cut(dir)
	}
}

// cut ends the last segment where it holds. What was behind, without the preallocated zeros, is kept in a file beside.
func (r *Recovery) cut(dir durable.Dir) error {
	if r.End.Segment == 0 {
		return nil
	}
	name, offset := segmentName(r.End.Segment), r.End.Offset
	f, err := dir.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil || size <= offset {
		return err
	}
	rest := make([]byte, min(size-offset, tailBytesMax+reserveBytes))
	if _, err := f.ReadAt(rest, offset); err != nil && err != io.EOF {
		return fmt.Errorf("read the torn tail of %s: %w", name, err)
	}
	for len(rest) > 0 && rest[len(rest)-1] == 0 {
		rest = rest[:len(rest)-1]
	}
	if len(rest) > 0 {
		r.Segment, r.CutBytes = name, int64(len(rest))
		if err := dir.Replace(name+".torn", rest); err != nil {
			return fmt.Errorf("keep the torn tail of %s: %w", name, err)
		}
	}
	if err := f.Truncate(offset); err != nil {
		return fmt.Errorf("cut the torn tail of %s: %w", name, err)
	}
	return f.Sync()
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
