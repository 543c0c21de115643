package ledger

import (
	"fmt"
	"hash/crc32"
	"testing"
	"time"

	"github.com/tollgate/tollgate/ledger/journal"
	"github.com/tollgate/tollgate/ledger/limits"
	"github.com/tollgate/tollgate/policy"
)

// FuzzCheckpoint reads stored balances of any content. What is read is stored again as the same.
func FuzzCheckpoint(f *testing.F) {
	b := newBook(time.UTC)
	who := Who{Customer: "acme", Key: "bot", KeyID: "k1"}
	e := Entry{ID: NewID(time.Unix(1, 0)), Time: time.Unix(1, 0), Kind: Reserved, Who: who, Action: policy.ToolCall, Counted: true, Limits: []string{"a/key"}, Hold: 3}
	if err := b.apply(&e); err != nil {
		f.Fatal(err)
	}
	b.account(principalKey(&who)).lane(laneKey{policy.ToolCall, "tracker", "search"}).history.Add(1, 1, limits.Amounts{Nano: 1}, time.UTC)
	whole, err := b.checkpoint(journal.Position{Segment: 3, Offset: 70}).encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole[9:])
	f.Add([]byte(`{"Version":1,"Open":[{"Rules":[["x","","","",""]]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := decodeCheckpoint(fmt.Appendf(nil, "%08x\n%s", crc32.Checksum(body, crc32.MakeTable(crc32.Castagnoli)), body))
		if err != nil {
			return
		}
		b := c.book(time.UTC)
		stored, err := b.checkpoint(c.End).encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodeCheckpoint(stored)
		if err != nil {
			t.Fatal(err)
		}
		if d := again.book(time.UTC).differs(b); d != "" {
			t.Fatal(d)
		}
	})
}
