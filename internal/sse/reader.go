package sse

import (
	"errors"
	"io"
)

// ErrTooLong means one event exceeded the limit.
var ErrTooLong = errors.New("sse: event too long")

// Event is one dispatched block. Its slices are valid until the next call of Next.
type Event struct {
	Raw  []byte // all bytes of the block, comments, line ends and the closing blank line included
	Name []byte // event field; empty: message
	ID   []byte
	Data []byte // data lines joined by \n; nil when the block had none (a comment or keep-alive)
}

// Reader splits a stream into events. Not safe for concurrent use.
type Reader struct{}

// NewReader reads from r; an event longer than max bytes is an error. 0: 8 MiB.
func NewReader(r io.Reader, max int) *Reader { return &Reader{} }

// Next returns the next block. CR, LF and CRLF all end a line; a leading byte order mark is skipped in fields but kept in
// Raw. At the end it returns io.EOF; an unfinished last block is returned first, with its bytes in Raw and Data set as far
// as it came, and io.ErrUnexpectedEOF.
func (r *Reader) Next() (Event, error) { return Event{}, io.EOF }
