package journal

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"slices"

	"github.com/tollgate/tollgate/internal/durable"
)

// readBytes is how much a cursor reads at once: some hundred entries.
const readBytes = 128 << 10

// Position is a place between two frames. The zero Position is the start of the journal.
type Position struct {
	Segment uint64
	Offset  int64
	Writer  Writer
	Seq     uint64 // of the frame before
	Chain   Chain  // of the frame before
}

// Before reports whether p lies before q in the journal.
func (p Position) Before(q Position) bool {
	return p.Segment < q.Segment || p.Segment == q.Segment && p.Offset < q.Offset
}

// Written is the limit for a cursor that reads a journal nobody writes: all there is.
func Written() Position { return Position{Segment: math.MaxUint64, Offset: math.MaxInt64} }

// Frame is one payload and where it stands.
type Frame struct {
	Writer  Writer
	Seq     uint64
	Synced  uint64   // the writer's last frame that was on the disk when this one was made
	Payload []byte   // valid until the next call of Next
	Bytes   []byte   // the whole frame that Payload stands in, valid as long
	Before  Chain    // chain value before the frame
	End     Position // after the frame
}

// TornError is a frame that does not hold, and where.
type TornError struct {
	Segment string
	Offset  int64
	Err     error
	Last    bool // nothing follows: the tail of a machine that died, which the next Open cuts
}

func (e *TornError) Error() string {
	return fmt.Sprintf("journal %s is damaged at byte %d: %v", e.Segment, e.Offset, e.Err)
}

func (e *TornError) Unwrap() error { return e.Err }

// Cursor reads frames in order and verifies each one: checksum, sequence and hash chain. It is for one goroutine.
type Cursor struct {
	dir  durable.Dir
	pos  Position
	file durable.File
	buf  []byte // bytes of the file from pos.Offset on, not yet parsed
	at   int    // start of those in buf
}

// NewCursor returns a cursor that begins at from.
func NewCursor(dir durable.Dir, from Position) *Cursor { return &Cursor{dir: dir, pos: from} }

// Position is where the cursor stands.
func (c *Cursor) Position() Position { return c.pos }

// Close releases the open file.
func (c *Cursor) Close() error {
	if c.file == nil {
		return nil
	}
	err := c.file.Close()
	c.file, c.buf, c.at = nil, nil, 0
	return err
}

// Next returns the next frame before limit, or io.EOF when there is none yet; later calls with a later limit go on. On a
// journal that is being written, limit must be one that Journal.Durable returned: beyond it bytes are still in flux.
func (c *Cursor) Next(limit Position) (Frame, error) {
	for c.pos.Before(limit) {
		if c.file == nil {
			if err := c.open(limit); err != nil {
				return Frame{}, err
			}
		}
		f, err := c.frame(limit)
		switch {
		case err == nil:
			return f, nil
		case errors.Is(err, errEnd):
			if err := c.leave(limit); err != nil {
				return Frame{}, err
			}
		default:
			return Frame{}, err
		}
	}
	return Frame{}, io.EOF
}

// frame parses the frame at the cursor and steps over it.
func (c *Cursor) frame(limit Position) (Frame, error) {
	for {
		payload, chain, more, err := parseFrame(c.buf[c.at:], c.pos.Chain, c.pos.Seq+1)
		if err == nil {
			n := frameBytes + len(payload)
			whole, before := c.buf[c.at:c.at+n], c.pos.Chain
			c.at += n
			c.pos.Offset += int64(n)
			c.pos.Seq++
			c.pos.Chain = chain
			return Frame{
				Writer: c.pos.Writer, Seq: c.pos.Seq, Synced: binary.LittleEndian.Uint64(whole[8:]),
				Payload: payload, Bytes: whole, Before: before, End: c.pos,
			}, nil
		}
		if more > 0 {
			grown, readErr := c.fill(more, limit)
			if readErr != nil {
				return Frame{}, readErr
			}
			if grown {
				continue
			}
		}
		if errors.Is(err, errEnd) {
			return Frame{}, err
		}
		last, listErr := c.last()
		if listErr != nil {
			return Frame{}, listErr
		}
		return Frame{}, &TornError{segmentName(c.pos.Segment), c.pos.Offset, err, last}
	}
}

// fill reads on until at least want bytes are buffered, or all there are before limit. It reports whether it read any.
func (c *Cursor) fill(want int, limit Position) (bool, error) {
	have := len(c.buf) - c.at
	offset := c.pos.Offset + int64(have)
	room := int64(max(want, readBytes) - have)
	if c.pos.Segment == limit.Segment {
		room = min(room, limit.Offset-offset)
	}
	if room <= 0 {
		return false, nil
	}
	c.buf = append(c.buf[:0], c.buf[c.at:]...)
	c.at = 0
	c.buf = slices.Grow(c.buf, int(room))
	n, err := c.file.ReadAt(c.buf[have:have+int(room)], offset)
	c.buf = c.buf[:have+n]
	if err != nil && err != io.EOF {
		return false, fmt.Errorf("read journal %s: %w", segmentName(c.pos.Segment), err)
	}
	return n > 0, nil
}

// open opens the segment the cursor stands in.
func (c *Cursor) open(limit Position) error {
	if c.pos.Segment == 0 {
		return c.begin(limit)
	}
	f, err := c.dir.OpenRead(segmentName(c.pos.Segment))
	if errors.Is(err, fs.ErrNotExist) {
		return c.begin(limit)
	}
	if err != nil {
		return fmt.Errorf("open journal: %w", err)
	}
	if size, err := f.Size(); err != nil || size < c.pos.Offset {
		f.Close()
		return c.gone(fmt.Errorf("it ends before the place to read from: %w", cmp.Or(err, io.ErrUnexpectedEOF)))
	}
	c.file, c.buf, c.at = f, c.buf[:0], 0
	return nil
}

// gone is the error of a cursor whose place is not there: why, unless it was salvaged.
func (c *Cursor) gone(why error) error {
	names, err := c.dir.List()
	if err != nil {
		return err
	}
	if wasPutAside(names, c.pos.Segment) {
		return ErrSalvaged
	}
	return &TornError{Segment: segmentName(c.pos.Segment), Offset: c.pos.Offset, Err: why}
}

// begin enters the first segment that was not removed, for a cursor at the start of the journal or at the place where it
// begins now.
func (c *Cursor) begin(limit Position) error {
	b, err := ReadBeginning(c.dir)
	switch at := b.Position; {
	case err != nil:
		return err
	case c.pos.Segment == 0 || c.pos == at:
		c.pos = at
	case c.pos.Segment <= at.Segment:
		return ErrTrimmed
	default:
		return c.gone(errMissing)
	}
	if err := c.enter(limit); err != io.EOF || c.pos.Segment == 0 || c.pos.Segment >= limit.Segment {
		return err
	}
	names, err := c.dir.List()
	if err != nil {
		return err
	}
	if wasPutAside(names, c.pos.Segment+1) {
		return io.EOF
	}
	return &TornError{Segment: segmentName(c.pos.Segment + 1), Err: errMissing}
}

// leave goes from the end of a segment to the next one, or returns io.EOF.
func (c *Cursor) leave(limit Position) error {
	if c.pos.Segment >= limit.Segment {
		return io.EOF
	}
	return c.enter(limit)
}

// enter opens the first segment after the cursor's that was begun, and checks that it continues the chain.
func (c *Cursor) enter(limit Position) error {
	names, err := c.dir.List()
	if err != nil {
		return fmt.Errorf("list journal: %w", err)
	}
	due := c.pos.Segment + 1
	for _, n := range segments(names) {
		if n <= c.pos.Segment || n > limit.Segment {
			continue
		}
		for due < n && wasPutAside(names, due) {
			due++
		}
		if n != due {
			return &TornError{Segment: segmentName(due), Err: errMissing}
		}
		due++
		f, err := c.dir.OpenRead(segmentName(n))
		if err != nil {
			return fmt.Errorf("open journal: %w", err)
		}
		h, err := readHeader(f)
		if errors.Is(err, errNoHeader) {
			f.Close()
			continue
		}
		if err == nil {
			err = c.continues(n, h)
		} else {
			err = &TornError{Segment: segmentName(n), Err: err}
		}
		if err != nil {
			f.Close()
			return err
		}
		if c.file != nil {
			c.file.Close()
		}
		c.file, c.buf, c.at = f, c.buf[:0], 0
		c.pos = Position{Segment: n, Offset: headerBytes, Writer: h.writer, Seq: h.first - 1, Chain: h.before}
		return nil
	}
	return io.EOF
}

// continues checks that segment n with header h may follow the cursor's place.
func (c *Cursor) continues(n uint64, h header) error {
	switch {
	case h.writer == c.pos.Writer && h.first == c.pos.Seq+1 && h.before == c.pos.Chain:
		return nil
	case h.writer != c.pos.Writer && h.first == 1 && h.before == begin(h.writer, c.pos.Chain):
		return nil
	case h.writer == c.pos.Writer && h.first > c.pos.Seq+1:
		return &TornError{Segment: segmentName(c.pos.Segment), Offset: c.pos.Offset,
			Err: fmt.Errorf("frames are missing: it ends with sequence %d, and segment %d goes on with %d", c.pos.Seq, n, h.first)}
	}
	if c.pos.Segment == 0 {
		return &TornError{Segment: segmentName(n), Err: errors.New("it is not the beginning of a journal")}
	}
	return &TornError{Segment: segmentName(n),
		Err: fmt.Errorf("it does not continue segment %d: one of the two was changed or exchanged, or the end of the other was cut", c.pos.Segment)}
}

// errMissing is a segment that is not there.
var errMissing = errors.New("it is missing")

// last reports whether no begun segment follows the cursor's.
func (c *Cursor) last() (bool, error) {
	names, err := c.dir.List()
	if err != nil {
		return false, err
	}
	for _, n := range segments(names) {
		if n <= c.pos.Segment {
			continue
		}
		f, err := c.dir.OpenRead(segmentName(n))
		if err != nil {
			return false, err
		}
		_, err = readHeader(f)
		f.Close()
		if !errors.Is(err, errNoHeader) {
			return false, nil
		}
	}
	return true, nil
}

// readHeader reads the header of a segment, or errNoHeader when there is none and nothing behind it either.
func readHeader(f durable.File) (header, error) {
	var b [headerBytes]byte
	n, err := f.ReadAt(b[:], 0)
	if err != nil && err != io.EOF {
		return header{}, err
	}
	h, err := parseHeader(b[:n])
	if err == nil {
		return h, nil
	}
	// Frames are written once the header is on the disk: with nothing behind it, it was torn and the segment never begun.
	blank, readErr := blankFrom(f, headerBytes)
	switch {
	case readErr != nil:
		return h, readErr
	case blank:
		return h, errNoHeader
	case errors.Is(err, errNoHeader):
		return h, errors.New("its header was wiped")
	}
	return h, err
}

// blankFrom reports whether a file has nothing but zeros from offset on.
func blankFrom(f durable.File, offset int64) (bool, error) {
	b := make([]byte, readBytes)
	for {
		n, err := f.ReadAt(b, offset)
		if !isZero(b[:n]) {
			return false, nil
		}
		if err == io.EOF {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		offset += int64(n)
	}
}
