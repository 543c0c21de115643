package catalog

import (
	"encoding/base64"
	"slices"
	"strings"
)

// The bounds of one page. They are wide, since many clients read only the first.
const (
	pageItemsMax   = 1000
	pageBytesMax   = 4 << 20
	cursorBytesMax = 4 << 10
)

// AppendPage appends the array of the definitions behind cursor (empty: from the start) and returns the cursor of the
// next page, empty when there is none. ok is false for a cursor that is not one of this list.
//
// A cursor names the last entry of the page before and carries no state: it stays good when the list, the policy or the
// process changes in between, skips nothing that stayed and repeats nothing.
func (v *View) AppendPage(b []byte, k Kind, cursor string, legacy bool) (page []byte, next string, ok bool) {
	list := v.lists[k]
	prefixed := v.Space.Prefixed
	if cursor != "" {
		after, ok := readCursor(k, cursor)
		if !ok {
			return b, "", false
		}
		i, found := slices.BinarySearchFunc(list, after, func(e *Entry, key string) int { return strings.Compare(e.key(prefixed), key) })
		if found {
			i++
		}
		list = list[i:]
	}
	b = append(slices.Grow(b, v.size(list, legacy)), '[')
	start := len(b)
	for i, e := range list {
		raw := e.raw(prefixed, legacy)
		if i == pageItemsMax || i > 0 && len(b)-start+len(raw) > pageBytesMax {
			next = writeCursor(k, list[i-1].key(prefixed))
			break
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = append(b, raw...)
	}
	return append(b, ']'), next, true
}

func writeCursor(k Kind, key string) string {
	return base64.RawURLEncoding.EncodeToString(append([]byte{byte('a' + k)}, key...))
}

func readCursor(k Kind, cursor string) (key string, ok bool) {
	if len(cursor) > cursorBytesMax {
		return "", false
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || len(b) < 2 || b[0] != byte('a'+k) {
		return "", false
	}
	return string(b[1:]), true
}

// size is how much the first page of list takes.
func (v *View) size(list []*Entry, legacy bool) int {
	n := 2
	for _, e := range list[:min(len(list), pageItemsMax)] {
		n += len(e.raw(v.Space.Prefixed, legacy)) + 1
	}
	return min(n, pageBytesMax) + pageTail
}

// pageTail is room for what a result has beside its page.
const pageTail = 512
