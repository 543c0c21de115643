package sse

import (
	"bytes"
	"errors"
	"io"
)

// ErrTooLong means one event exceeded the limit.
var ErrTooLong = errors.New("sse: event too long")

const (
	maxDefault  = 8 << 20 // bytes of one event: an image in base64 fits, a stream that never ends an event does not
	bufferFirst = 4 << 10 // bytes of the buffer at first: most events are far shorter, and there is one for each stream
	emptyReads  = 100     // reads in a row that bring nothing and no error
	lineWindow  = 512     // bytes searched at once for a line end, so that no style of line ends costs the square
)

// Event is one dispatched block. Its slices are valid until the next call of Next.
type Event struct {
	Raw  []byte // all bytes of the block, comments, line ends and the closing blank line included
	Name []byte // event field; empty: message
	ID   []byte
	Data []byte // data lines joined by \n; nil when the block had none (a comment or keep-alive)
}

// Reader splits a stream into events. Not safe for concurrent use.
type Reader struct {
	src io.Reader
	max int
	err error // what src ended with

	buf        []byte
	start, end int // of what was read and not returned; start is that of the block being read

	begun   bool // the first line has been seen, so a byte order mark is none any more
	afterCR bool // the last line ended in a CR that was the last byte there was: an LF now belongs to it
	joined  []byte
}

// NewReader reads from r; an event longer than max bytes is an error. 0: 8 MiB.
func NewReader(r io.Reader, max int) *Reader {
	if max <= 0 {
		max = maxDefault
	}
	return &Reader{src: r, max: max}
}

// Next returns the next block. CR, LF and CRLF all end a line; a leading byte order mark is skipped in fields but kept in
// Raw. At the end it returns io.EOF; an unfinished last block is returned first, with its bytes in Raw and Data set as far
// as it came, and io.ErrUnexpectedEOF. Any other error of the stream comes with the block it cut, too. The Raw of all
// events, one after the other, are the bytes of the stream. After an error every call returns it again.
//
// An event is returned as soon as its blank line is there; an LF that still follows a CR then begins the next Raw.
func (r *Reader) Next() (Event, error) {
	var b block
	at := 0
	for {
		start, end, next, err := r.line(at)
		if err != nil {
			if end > start {
				r.field(&b, start, end)
			}
			return r.last(&b, start, err)
		}
		if end == start {
			e := r.event(&b, next)
			r.start += next
			return e, nil
		}
		r.field(&b, start, end)
		at = next
	}
}

// Buffered returns how many bytes were read and not returned yet: when it is 0, Next will wait for the upstream.
func (r *Reader) Buffered() int { return r.end - r.start }

// span is a part of the block being read, by offsets from its start.
type span struct{ from, to int }

// block is what is known of the event being read.
type block struct {
	name, id span
	data     span // of the only data line
	lines    int  // data lines so far; from the second on they are in Reader.joined
}

// last returns what is left when the stream ends with err; start is where its unfinished line begins.
func (r *Reader) last(b *block, start int, err error) (Event, error) {
	left := r.end - r.start
	if left == 0 {
		return Event{}, err
	}
	e := r.event(b, left)
	r.start = r.end
	if err == io.EOF {
		if start == left && start == 1 && e.Raw[0] == '\n' {
			return e, nil // the second half of the CRLF that ended the event before
		}
		err = io.ErrUnexpectedEOF
	}
	return e, err
}

func (r *Reader) event(b *block, size int) Event {
	raw := r.buf[r.start : r.start+size : r.start+size]
	e := Event{Raw: raw, Name: raw[b.name.from:b.name.to:b.name.to], ID: raw[b.id.from:b.id.to:b.id.to]}
	switch b.lines {
	case 0:
	case 1:
		e.Data = raw[b.data.from:b.data.to:b.data.to]
	default:
		e.Data = r.joined
	}
	return e
}

// line finds the line that begins at offset at of the block: its content is [start, end), the next one begins at next.
// When the stream ends, what there is of the line comes with the error.
func (r *Reader) line(at int) (start, end, next int, err error) {
	if r.afterCR {
		if r.start+at == r.end {
			if err := r.fill(); err != nil {
				return at, at, at, err
			}
		}
		r.afterCR = false
		if r.buf[r.start+at] == '\n' {
			at++
		}
	}
	for from := at; ; {
		if i := lineEnd(r.buf[r.start+from : r.end]); i >= 0 {
			end = from + i
			return r.afterMark(at), end, r.afterEnd(end), nil
		}
		from = r.end - r.start
		if err := r.fill(); err != nil {
			return min(r.afterMark(at), from), from, from, err
		}
	}
}

// afterMark returns at, or on the very first line the offset behind a byte order mark.
func (r *Reader) afterMark(at int) int {
	if !r.begun {
		r.begun = true
		if bytes.HasPrefix(r.buf[r.start+at:r.end], []byte("\xef\xbb\xbf")) {
			return at + 3
		}
	}
	return at
}

// afterEnd returns the offset behind the line end at end.
func (r *Reader) afterEnd(end int) int {
	i := r.start + end
	if r.buf[i] == '\n' {
		return end + 1
	}
	if i+1 == r.end {
		r.afterCR = true
		return end + 1
	}
	if r.buf[i+1] == '\n' {
		return end + 2
	}
	return end + 1
}

// lineEnd returns the offset of the first CR or LF in b, or -1.
func lineEnd(b []byte) int {
	for at := 0; at < len(b); at += lineWindow {
		window := b[at:min(at+lineWindow, len(b))]
		i := bytes.IndexByte(window, '\n')
		if i >= 0 {
			window = window[:i]
		}
		if j := bytes.IndexByte(window, '\r'); j >= 0 {
			i = j
		}
		if i >= 0 {
			return at + i
		}
	}
	return -1
}

// field takes one line of the block into b, by the rules of the standard: unknown fields and comments say nothing.
func (r *Reader) field(b *block, start, end int) {
	line := r.buf[r.start+start : r.start+end]
	name, value := line, span{end, end}
	if colon := bytes.IndexByte(line, ':'); colon >= 0 {
		name = line[:colon]
		value.from = start + colon + 1
		if value.from < end && line[colon+1] == ' ' {
			value.from++
		}
	}
	switch string(name) {
	case "data":
		r.addData(b, value)
	case "event":
		b.name = value
	case "id":
		if bytes.IndexByte(line, 0) < 0 {
			b.id = value
		}
	}
}

func (r *Reader) addData(b *block, value span) {
	b.lines++
	if b.lines == 1 {
		b.data = value
		return
	}
	if b.lines == 2 {
		r.joined = append(r.joined[:0], r.buf[r.start+b.data.from:r.start+b.data.to]...)
	}
	r.joined = append(r.joined, '\n')
	r.joined = append(r.joined, r.buf[r.start+value.from:r.start+value.to]...)
}

// fill reads once more behind what is there, after making room for it.
func (r *Reader) fill() error {
	if r.err != nil {
		return r.err
	}
	if r.end == len(r.buf) {
		if err := r.makeRoom(); err != nil {
			r.err = err
			return err
		}
	}
	for range emptyReads {
		n, err := r.src.Read(r.buf[r.end:])
		r.end += n
		r.err = err
		if n > 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
	r.err = io.ErrNoProgress
	return r.err
}

// makeRoom moves the block to the front of the buffer, or grows the buffer up to the limit.
func (r *Reader) makeRoom() error {
	if r.start > 0 {
		r.end = copy(r.buf, r.buf[r.start:r.end])
		r.start = 0
		return nil
	}
	if len(r.buf) >= r.max {
		return ErrTooLong
	}
	grown := make([]byte, min(max(2*len(r.buf), bufferFirst), r.max))
	r.end = copy(grown, r.buf[:r.end])
	r.buf = grown
	return nil
}
