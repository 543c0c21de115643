package journal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"
	"strings"

	"github.com/tollgate/tollgate/internal/durable"
)

// damagedSuffix is added to a segment's name for the file that keeps it as it was when the journal was salvaged.
const damagedSuffix = ".damaged"

var (
	// ErrWhole means that there is nothing to salvage.
	ErrWhole = errors.New("the journal is whole, or has a torn tail that the next start cuts")
	// ErrSalvaged means that what follows a position was damaged and put aside: whoever had read it begins anew, or goes on
	// behind it with Resume.
	ErrSalvaged = errors.New("what follows this place was damaged and put aside: the journal goes on without it")
)

// Damage is where a journal stops to hold.
type Damage struct {
	Last     Position // after the last frame that holds and continues the chain
	Err      error    // what does not hold, and where
	Segments []string // that hold something behind Last
}

// Examine reads all of a journal that nobody writes and returns where it stops to hold; ErrWhole when it does not.
func Examine(dir durable.Dir) (Damage, error) {
	c := NewCursor(dir, Position{})
	defer c.Close()
	var err error
	for err == nil {
		_, err = c.Next(Written())
	}
	d := Damage{Last: c.Position(), Err: err}
	var torn *TornError
	switch {
	case errors.As(err, &torn) && torn.Segment == trimmedName:
		return d, err // without its beginning nothing can be told of the rest
	case err == io.EOF || errors.As(err, &torn) && torn.Last:
		rec := Recovery{End: d.Last, Reason: "it lies behind the end"}
		if torn != nil {
			rec.Reason = torn.Err.Error()
		}
		if d.Err = rec.examine(dir); d.Err == nil {
			return d, ErrWhole
		}
		if !errors.As(d.Err, &torn) {
			return d, d.Err
		}
	case torn == nil:
		return d, err
	}
	d.Segments, err = behind(dir, d.Last)
	return d, err
}

// examine is cut without cutting.
func (r *Recovery) examine(dir durable.Dir) error {
	if r.End.Segment == 0 {
		return nil
	}
	f, err := dir.OpenRead(segmentName(r.End.Segment))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = r.tornTail(f)
	return err
}

// behind lists the segments that have something behind a place.
func behind(dir durable.Dir, last Position) ([]string, error) {
	names, err := dir.List()
	if err != nil {
		return nil, err
	}
	var out []string
	for _, n := range segments(names) {
		if n < last.Segment {
			continue
		}
		f, err := dir.OpenRead(segmentName(n))
		if err != nil {
			return nil, err
		}
		from := int64(0)
		if n == last.Segment {
			from = last.Offset
		}
		blank, err := blankFrom(f, from)
		f.Close()
		if err != nil {
			return nil, err
		}
		if !blank {
			out = append(out, segmentName(n))
		}
	}
	return out, nil
}

// Salvage ends a damaged journal where it still holds, so that it can go on from there. What lies behind is kept, whole
// segments with the suffix .damaged, empty files in the place of those that are missing, and stands in the journal no more: what was spent in it no longer counts. The next
// start reports it (Recovery.Damaged). forget is called before anything is changed, and only then: it removes what was made
// from the frames that are given up.
//
//	copy(each segment, .damaged) remove(each after the last that holds, last first) truncate(that)
//
// A crash in between leaves a journal that is still damaged, and a second Salvage goes on.
func Salvage(dir durable.Dir, forget func() error) (Damage, error) {
	lock, err := dir.Lock()
	if err != nil {
		return Damage{}, err
	}
	defer lock.Close()
	d, err := Examine(dir)
	if err == nil {
		err = forget()
	}
	if err != nil {
		return d, err
	}
	for _, name := range d.Segments {
		b, err := dir.ReadFile(name)
		if err == nil {
			err = dir.Replace(name+damagedSuffix, b)
		}
		if err != nil {
			return d, fmt.Errorf("keep the damaged %s: %w", name, err)
		}
	}
	names, err := dir.List()
	if err != nil {
		return d, err
	}
	all := segments(names)
	if err := markMissing(dir, names, all, d.Last.Segment); err != nil {
		return d, err
	}
	for _, n := range slices.Backward(all) {
		if n <= d.Last.Segment {
			break
		}
		if err := dir.Remove(segmentName(n)); err != nil {
			return d, fmt.Errorf("put the damaged %s aside: %w", segmentName(n), err)
		}
		if err := dir.Sync(); err != nil { // one by one, so that none is missing before a later one
			return d, err
		}
	}
	if d.Last.Segment == 0 {
		return d, nil
	}
	f, err := dir.Open(segmentName(d.Last.Segment))
	if errors.Is(err, fs.ErrNotExist) { // the journal begins behind it
		return d, nil
	}
	if err != nil {
		return d, err
	}
	defer f.Close()
	return d, cutAt(f, d.Last.Offset)
}

// gapMax bounds the segments that are taken for missing: one with a number beyond is not of this journal.
const gapMax = 1 << 16

// markMissing puts an empty file in the place of each segment after last that is not there or has nothing in it.
func markMissing(dir durable.Dir, names []string, all []uint64, last uint64) error {
	if len(all) == 0 || all[len(all)-1] <= last {
		return nil
	}
	end := all[len(all)-1]
	if end-last > gapMax {
		return fmt.Errorf("%s is far from segment %d: it is not of this journal; move it away", segmentName(end), last)
	}
	for n := last + 1; n <= end; n++ {
		if wasPutAside(names, n) {
			continue
		}
		if err := dir.Replace(segmentName(n)+damagedSuffix, nil); err != nil {
			return err
		}
	}
	return nil
}

// putAside lists the segments that were salvaged, from a number on.
func putAside(names []string, from uint64) []string {
	var out []string
	for _, name := range names {
		if segment, ok := strings.CutSuffix(name, damagedSuffix); ok {
			if n := segments([]string{segment}); len(n) == 1 && n[0] >= from {
				out = append(out, name)
			}
		}
	}
	return out
}

// wasPutAside reports whether segment n was salvaged.
func wasPutAside(names []string, n uint64) bool {
	return slices.Contains(names, segmentName(n)+damagedSuffix)
}

// Resume moves a cursor whose place was salvaged, as ErrSalvaged says, to where the journal ended by that: what was written
// since follows. io.EOF: nothing was yet.
func (c *Cursor) Resume() error {
	names, err := c.dir.List()
	if err != nil {
		return fmt.Errorf("list journal: %w", err)
	}
	begins, err := ReadBeginning(c.dir)
	if err != nil {
		return err
	}
	last := begins.Position
	for _, n := range segments(names) {
		if n <= begins.Position.Segment {
			continue
		}
		f, err := c.dir.OpenRead(segmentName(n))
		if err != nil {
			return fmt.Errorf("open journal: %w", err)
		}
		h, err := readHeader(f)
		f.Close()
		switch {
		case errors.Is(err, errNoHeader):
			continue
		case err != nil:
			return &TornError{Segment: segmentName(n), Err: err}
		case n > c.pos.Segment:
			return c.resumeAfter(last)
		}
		last = Position{Segment: n, Offset: headerBytes, Writer: h.writer, Seq: h.first - 1, Chain: h.before}
	}
	return io.EOF
}

// resumeAfter moves the cursor to the end of a segment that nobody writes to any more.
func (c *Cursor) resumeAfter(begin Position) error {
	end := NewCursor(c.dir, begin)
	defer end.Close()
	for {
		if _, err := end.Next(Position{Segment: begin.Segment, Offset: math.MaxInt64}); err == io.EOF {
			break
		} else if err != nil {
			return err
		}
	}
	if err := c.Close(); err != nil {
		return err
	}
	c.pos = end.pos
	return nil
}

// Kept reads up to max bytes of a segment from an offset on, whatever holds of them: as it was before a salvage, when it
// was put aside. fs.ErrNotExist: there is neither.
func Kept(dir durable.Dir, segment uint64, offset int64, max int) (b []byte, aside bool, err error) {
	f, err := dir.OpenRead(segmentName(segment) + damagedSuffix)
	if aside = err == nil; errors.Is(err, fs.ErrNotExist) {
		f, err = dir.OpenRead(segmentName(segment))
	}
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil || size <= offset {
		return nil, aside, err
	}
	b = make([]byte, min(size-offset, int64(max)))
	n, err := f.ReadAt(b, offset)
	if err == io.EOF {
		err = nil
	}
	return b[:n], aside, err
}
