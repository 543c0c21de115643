package entry

import (
	"encoding/hex"
	"math/rand/v2"
	"time"

	"github.com/google/uuid"
)

// ID names an entry: a UUID, version 7, so ids sort by the time they were made at. The zero ID is none.
type ID [16]byte

// NewID makes an ID for the time now. Two of one millisecond sort in any order; the journal's order is the order.
func NewID(now time.Time) ID {
	var id ID
	ms := uint64(now.UnixMilli())
	a, b := rand.Uint64(), rand.Uint64() // both halves; uniqueness matters here, not secrecy
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	id[6], id[7] = 0x70|byte(a>>8)&0x0f, byte(a)
	for i := range 8 {
		id[8+i] = byte(b >> (56 - 8*i))
	}
	id[8] = id[8]&0x3f | 0x80
	return id
}

// ParseID reads an ID as String writes it.
func ParseID(s string) (ID, error) {
	u, err := uuid.Parse(s)
	return ID(u), err
}

// IsZero reports whether id is none.
func (id ID) IsZero() bool { return id == ID{} }

func (id ID) String() string {
	if id.IsZero() {
		return ""
	}
	return uuid.UUID(id).String()
}

// MarshalText writes nothing for the zero ID.
func (id ID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (id *ID) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*id = ID{}
		return nil
	}
	parsed, err := ParseID(string(b))
	*id = parsed
	return err
}

// TraceID is a W3C trace id. The zero TraceID is none.
type TraceID [16]byte

// ParseTrace reads 32 hex digits; anything else is no trace.
func ParseTrace(s string) (t TraceID) {
	if len(s) == 2*len(t) {
		if _, err := hex.Decode(t[:], []byte(s)); err != nil {
			return TraceID{}
		}
	}
	return t
}

func (t TraceID) String() string {
	if t == (TraceID{}) {
		return ""
	}
	return hex.EncodeToString(t[:])
}

// MarshalText writes nothing for the zero TraceID.
func (t TraceID) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (t *TraceID) UnmarshalText(b []byte) error { *t = ParseTrace(string(b)); return nil }
