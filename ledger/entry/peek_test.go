package entry

import (
	"testing"
	"time"
)

func TestPeekReadsWhatDecodingReads(t *testing.T) {
	now := time.Date(2026, 11, 14, 12, 0, 0, 7, time.UTC)
	call := NewID(now)
	for _, e := range []Entry{
		{Kind: Denied, ID: call, Time: now, Detail: "x"},
		{Kind: Posted, ID: NewID(now), Time: now, Resolves: call, Status: OK, Latency: 3},
	} {
		p, err := Peek(e.Append(nil))
		if err != nil || p.ID != e.ID || p.Resolves != e.Resolves || !p.Time.Equal(now) || p.Call() != e.Call() {
			t.Errorf("%+v: %+v, %v", e, p, err)
		}
	}
	for _, bad := range []string{"", "x", "\x08\x01", "\x12\xff"} {
		if p, err := Peek([]byte(bad)); err == nil {
			t.Errorf("%q is read as %+v", bad, p)
		}
	}
}
