package journal

import (
	"bytes"
	"testing"

	"github.com/tollgate/tollgate/internal/durabletest"
)

// What a cursor hands on as bytes is what ReadRaw reads, and the chain holds over it.
func TestFramesKeptElsewhere(t *testing.T) {
	disk := durabletest.New()
	j, _, err := Open(disk, Position{}, Options{Writer: Writer{1}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, payload := range []string{"one", "two", "three"} {
		if _, err := j.Stage([]byte(payload)); err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	var kept []byte
	c := NewCursor(disk, Position{})
	for {
		f, err := c.Next(Written())
		if err != nil {
			break
		}
		kept = append(kept, f.Bytes...)
	}
	chain := Begin(Writer{1}, Chain{})
	var again []byte
	for seq, rest := uint64(1), kept; len(rest) > 0; seq++ {
		var r Raw
		if r, rest, err = ReadRaw(rest); err != nil {
			t.Fatal(err)
		}
		if r.Seq != seq || !r.Follows(chain) {
			t.Errorf("frame %d: sequence %d, follows %v", seq, r.Seq, r.Follows(chain))
		}
		again, chain = AppendRaw(again, chain, seq, r.Payload)
	}
	if len(kept) == 0 || !bytes.Equal(kept, again) {
		t.Errorf("%x, made again %x", kept, again)
	}
	for i := range kept[:frameBytes+3] {
		bad := bytes.Clone(kept[:frameBytes+3])
		bad[i] ^= 0x10
		if _, _, err := ReadRaw(bad); err == nil {
			t.Errorf("a flipped bit in byte %d is not seen", i)
		}
		if _, _, err := ReadRaw(kept[:i]); err == nil {
			t.Errorf("a frame cut to %d bytes is read", i)
		}
	}
}
