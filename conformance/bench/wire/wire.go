package wire

import (
	"bytes"
	"errors"
	"strconv"
)

// ErrMalformed means the peer does not speak the HTTP that this package reads.
var ErrMalformed = errors.New("wire: not the HTTP/1.1 expected here")

// Head is the start line of a message and what its headers say of the body.
type Head struct {
	First, Second []byte // method and path, or version and status; valid as long as the buffer is
	Length        int64  // of the body; 0 when nothing is said
	Chunked       bool
}

// Status returns the status code of a response's head.
func (h *Head) Status() int {
	n, _ := strconv.Atoi(string(h.Second)) // does not allocate: the compiler sees that Atoi keeps nothing
	return n
}

var (
	headEnd       = []byte("\r\n\r\n")
	contentLength = []byte("content-length")
	transferCode  = []byte("transfer-encoding")
	chunkedCode   = []byte("chunked")
)

// ParseHead reads the head at the start of b. n is its length, 0 while it is incomplete.
func ParseHead(b []byte) (h Head, n int, err error) {
	end := bytes.Index(b, headEnd)
	if end < 0 {
		return h, 0, nil
	}
	line, rest, _ := bytes.Cut(b[:end], headEnd[:2])
	first, after, ok := bytes.Cut(line, []byte(" "))
	if !ok {
		return h, 0, ErrMalformed
	}
	h.First = first
	h.Second, _, _ = bytes.Cut(after, []byte(" "))
	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, headEnd[:2])
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			return h, 0, ErrMalformed
		}
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, contentLength):
			if h.Length, err = strconv.ParseInt(string(value), 10, 64); err != nil || h.Length < 0 {
				return h, 0, ErrMalformed
			}
		case bytes.EqualFold(name, transferCode):
			h.Chunked = bytes.EqualFold(value, chunkedCode)
		}
	}
	return h, end + len(headEnd), nil
}

// Body takes a message body apart as it arrives.
type Body struct {
	left    int64 // of the fixed body, or of the chunk
	chunked bool
	part    part
	done    bool
}

// part is where in a chunked body the next byte belongs.
type part uint8

const (
	sizeLine part = iota
	content
	contentEnd
	trailer
)

// NewBody returns a reader for the body that h announces.
func NewBody(h *Head) Body {
	return Body{left: h.Length, chunked: h.Chunked, done: !h.Chunked && h.Length == 0}
}

// Done reports whether the whole body has been read.
func (b *Body) Done() bool { return b.done }

// Next takes one piece of the body from the start of in: data is part of in, n is how much of in is used up. When it
// returns n = 0 it needs more.
func (b *Body) Next(in []byte) (data []byte, n int, err error) {
	if b.done || len(in) == 0 {
		return nil, 0, nil
	}
	if !b.chunked {
		data = b.take(in)
		b.done = b.left == 0
		return data, len(data), nil
	}
	if b.part == content {
		data = b.take(in)
		if b.left == 0 {
			b.part = contentEnd
		}
		return data, len(data), nil
	}
	end := bytes.IndexByte(in, '\n')
	if end < 0 {
		return nil, 0, nil
	}
	return nil, end + 1, b.line(bytes.TrimRight(in[:end], "\r"))
}

func (b *Body) take(in []byte) []byte {
	data := in[:min(int64(len(in)), b.left)]
	b.left -= int64(len(data))
	return data
}

// line reads a line between the chunks.
func (b *Body) line(line []byte) error {
	switch b.part {
	case contentEnd:
		if len(line) != 0 {
			return ErrMalformed
		}
		b.part = sizeLine
	case trailer:
		b.done = len(line) == 0
	default:
		size, _, _ := bytes.Cut(line, []byte(";"))
		n, err := strconv.ParseInt(string(size), 16, 64)
		if err != nil || n < 0 {
			return ErrMalformed
		}
		b.left, b.part = n, content
		if n == 0 {
			b.part = trailer
		}
	}
	return nil
}

// AppendChunk appends data as one chunk.
func AppendChunk(b, data []byte) []byte {
	b = strconv.AppendInt(b, int64(len(data)), 16)
	b = append(append(append(b, "\r\n"...), data...), "\r\n"...)
	return b
}

// LastChunk ends a chunked body.
const LastChunk = "0\r\n\r\n"
