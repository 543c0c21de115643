package index

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"github.com/tollgate/tollgate/ledger/index/store"
)

// FilterError says what is wrong with what was asked for, and how to write it.
type FilterError struct{ text string }

func (e *FilterError) Error() string { return e.text }

func wrong(format string, args ...any) error { return &FilterError{fmt.Sprintf(format, args...)} }

// Cursors are given to clients as they are, and taken back from them: what they hold is checked like any other input. The
// first byte says what they are of.
const (
	newestFirst byte = 1
	oldestFirst byte = 2
)

func wayOf(oldest bool) byte {
	if oldest {
		return oldestFirst
	}
	return newestFirst
}

// cursorAfter is the page after p.
func cursorAfter(p store.Place, oldest bool) string {
	b := binary.AppendVarint([]byte{wayOf(oldest)}, p.At)
	return base64.RawURLEncoding.EncodeToString(binary.AppendVarint(b, p.Feed))
}

// readCursor reads what cursorAfter wrote for the same order.
func readCursor(text string, oldest bool) (p store.Place, err error) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) == 0 || b[0] != newestFirst && b[0] != oldestFirst {
		return p, wrong("%q is not a cursor that was given out: give the next of the page before", text)
	}
	if b[0] != wayOf(oldest) {
		return p, wrong("the cursor %q was given out for a list in the other order", text)
	}
	var n, m int
	p.At, n = binary.Varint(b[1:])
	if n > 0 {
		p.Feed, m = binary.Varint(b[1+n:])
	}
	if n <= 0 || m <= 0 || 1+n+m != len(b) {
		return p, wrong("%q is not a cursor that was given out: give the next of the page before", text)
	}
	return p, nil
}

// usageCursor is where a page of use ends.
type usageCursor struct {
	By     []string `json:"b"`
	Cost   int64    `json:"c,omitempty"` // of lists by cost
	Calls  int64    `json:"n,omitempty"`
	Values []string `json:"v"` // of the last group; times in hours or months
}

func (c *usageCursor) String() string {
	b, err := json.Marshal(c)
	if err != nil {
		panic(err) // texts and numbers
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

func readUsageCursor(text string, by []string) (*usageCursor, error) {
	c := &usageCursor{}
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err == nil {
		err = json.Unmarshal(b, c)
	}
	if err != nil || !slices.Equal(c.By, by) || len(c.Values) != len(by) {
		return nil, wrong("%q is not a cursor of use by %v: give the next of the page before", text, by)
	}
	return c, nil
}

// arguments are the values of the last group as the database compares them.
func (c *usageCursor) arguments() ([]any, error) {
	out := make([]any, len(c.By))
	for i, name := range c.By {
		if !groups[name].time {
			out[i] = c.Values[i]
			continue
		}
		n, err := strconv.ParseInt(c.Values[i], 10, 64)
		if err != nil {
			return nil, wrong("the cursor was changed: give the next of the page before")
		}
		out[i] = n
	}
	return out, nil
}
