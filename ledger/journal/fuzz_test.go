package journal

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"testing"

	"github.com/tollgate/tollgate/internal/durabletest"
)

// FuzzCursor reads a journal of any bytes: two segments and perhaps a beginning. It never yields a frame that does not
// verify, and never takes more memory than a frame may have. What a start keeps of it is what a cursor reads, and a second
// start finds nothing more to mend.
func FuzzCursor(f *testing.F) {
	disk := durabletest.New()
	j, _, err := Open(disk, Position{}, Options{Writer: Writer{1}, SegmentBytes: 300}, nil)
	if err != nil {
		f.Fatal(err)
	}
	for i := range 6 {
		if _, err := put(j, fmt.Sprintf("payload %d", i)); err != nil {
			f.Fatal(err)
		}
	}
	j.Close()
	first, _ := disk.ReadFile(segmentName(1))
	second, _ := disk.ReadFile(segmentName(2))
	h, err := parseHeader(second)
	if err != nil {
		f.Fatal(err)
	}
	begins := Beginning{Position{1, int64(len(first)), h.writer, h.first - 1, h.before}, []byte("state")}
	trimmed := begins.append(nil)
	f.Add(first, second, []byte(nil))
	f.Add(first, second[:len(second)-5], []byte(nil))
	f.Add(first[:len(first)-5], second, []byte(nil))
	f.Add([]byte(nil), second, trimmed)
	f.Add([]byte(magic), []byte(nil), trimmed[:20])
	f.Fuzz(func(t *testing.T, first, second, trimmed []byte) {
		disk := durabletest.New()
		for name, b := range map[string][]byte{segmentName(1): first, segmentName(2): second, trimmedName: trimmed} {
			if name == trimmedName && len(b) == 0 {
				continue
			}
			if err := disk.Replace(name, b); err != nil {
				t.Fatal(err)
			}
		}
		readAny(t, disk, max(len(first), len(second)))
		j, rec, err := Open(disk, Position{}, Options{Writer: Writer{2}}, nil)
		if err != nil {
			return
		}
		if err := j.Close(); err != nil {
			t.Fatal(err)
		}
		again, rec2, err := Open(disk, Position{}, Options{Writer: Writer{3}}, nil)
		if err != nil || rec2.CutBytes != 0 && !rec2.Earlier || rec2.End != rec.End {
			t.Fatalf("second start: %+v, %v", rec2, err)
		}
		again.Close()
	})
}

// readAny reads all a cursor yields and verifies it by the package comment alone.
func readAny(t *testing.T, disk *durabletest.Disk, size int) {
	c := NewCursor(disk, Position{})
	defer c.Close()
	before := map[Writer]uint64{}
	for {
		fr, err := c.Next(Written())
		if err != nil {
			return
		}
		h := sha256.New()
		h.Write(fr.Before[:])
		binary.Write(h, binary.LittleEndian, fr.Seq)
		h.Write(fr.Payload)
		if Chain(h.Sum(nil)) != fr.End.Chain || string(fr.Bytes[24:frameBytes]) != string(fr.End.Chain[:]) {
			t.Fatalf("a frame that does not verify: %+v", fr)
		}
		if last := before[fr.Writer]; last != 0 && fr.Seq != last+1 || len(fr.Payload) == 0 || fr.End.Offset > int64(size) {
			t.Fatalf("after sequence %d: %+v", last, fr)
		}
		before[fr.Writer] = fr.Seq
		if cap(c.buf) > 2*(readBytes+frameBytes+PayloadBytesMax) {
			t.Fatalf("a buffer of %d bytes", cap(c.buf))
		}
	}
}

// FuzzBeginning reads where a journal begins. What is read is what would be written.
func FuzzBeginning(f *testing.F) {
	whole := Beginning{Position{3, 400, Writer{1}, 5, Chain{2}}, []byte("state")}
	f.Add(whole.append(nil))
	f.Add([]byte(trimmedMagic))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) >= 4 { // most inputs fail on the checksum alone
			binary.LittleEndian.PutUint32(b[len(b)-4:], checksum(b[:len(b)-4]))
		}
		begins, err := parseBeginning(b)
		if err != nil {
			return
		}
		if again := begins.append(nil); string(again) != string(b) {
			t.Fatalf("%x is read as %x", b, again)
		}
	})
}
