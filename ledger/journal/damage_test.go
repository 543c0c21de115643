package journal

import (
	"context"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/internal/durabletest"
)

// The layout of the journal that is damaged: 18 payloads of 10 bytes, five to a segment, each synced before the next.
const (
	damagedFrame = frameBytes + 10
	damagedSeal  = headerBytes + 5*damagedFrame
)

// frameAt is where the i-th frame of a segment begins.
func frameAt(i int) int { return headerBytes + i*damagedFrame }

func toDamage(t *testing.T) *durabletest.Disk {
	t.Helper()
	disk := durabletest.New()
	j, _, _ := start(t, disk, Options{Writer: Writer{7}, SegmentBytes: damagedSeal})
	for i := range 18 {
		ticket, err := put(j, fmt.Sprintf("payload %02d", i+1))
		if err == nil {
			err = j.Synced(context.Background(), ticket)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
	return disk
}

// edit changes a segment as somebody with an editor does.
func edit(n uint64, change func(b []byte) []byte) func(*durabletest.Disk) error {
	return func(d *durabletest.Disk) error {
		b, err := d.ReadFile(segmentName(n))
		if err != nil {
			return err
		}
		return d.Replace(segmentName(n), change(b))
	}
}

func flip(n uint64, offset int) func(*durabletest.Disk) error {
	return edit(n, func(b []byte) []byte { b[offset] ^= 1; return b })
}

func cutTo(n uint64, size int) func(*durabletest.Disk) error {
	return edit(n, func(b []byte) []byte { return b[:size] })
}

func wipe(n uint64, from, to int) func(*durabletest.Disk) error {
	return edit(n, func(b []byte) []byte { clear(b[from:to]); return b })
}

// forgeHeader changes a header and makes its checksum right again.
func forgeHeader(n uint64, change func(h *header)) func(*durabletest.Disk) error {
	return edit(n, func(b []byte) []byte {
		h, err := parseHeader(b)
		if err != nil {
			panic(err)
		}
		change(&h)
		return append(h.append(nil), b[headerBytes:]...)
	})
}

// forgePayload changes a payload and makes the frame's checksum right again, and its chain value if rechained.
func forgePayload(n uint64, i int, rechained bool) func(*durabletest.Disk) error {
	return edit(n, func(b []byte) []byte {
		f := b[frameAt(i):frameAt(i+1)]
		copy(f[frameBytes:], "forged")
		if rechained {
			var before Chain
			copy(before[:], b[frameAt(i-1)+24:])
			chain := next(before, binary.LittleEndian.Uint64(f[16:]), f[frameBytes:])
			copy(f[24:], chain[:])
		}
		binary.LittleEndian.PutUint32(f[4:], checksum(f[:4], f[8:]))
		return b
	})
}

// insert puts a frame that is whole in itself before the i-th.
func insert(n uint64, i int, seq uint64) func(*durabletest.Disk) error {
	return edit(n, func(b []byte) []byte {
		f, _ := appendFrame(nil, Chain{9}, seq, 0, []byte("payload XX"))
		return append(append(b[:frameAt(i):frameAt(i)], f...), b[frameAt(i):]...)
	})
}

func swap(a, b uint64) func(*durabletest.Disk) error {
	return func(d *durabletest.Disk) error {
		first, err := d.ReadFile(segmentName(a))
		if err != nil {
			return err
		}
		second, err := d.ReadFile(segmentName(b))
		if err != nil {
			return err
		}
		if err := d.Replace(segmentName(a), second); err != nil {
			return err
		}
		return d.Replace(segmentName(b), first)
	}
}

func copied(from, to uint64) func(*durabletest.Disk) error {
	return func(d *durabletest.Disk) error {
		b, err := d.ReadFile(segmentName(from))
		if err != nil {
			return err
		}
		return d.Replace(segmentName(to), b)
	}
}

func lost(n uint64) func(*durabletest.Disk) error {
	return func(d *durabletest.Disk) error { return d.Remove(segmentName(n)) }
}

// damages are what can happen to files, or be done to them, and what is said of it. None of it is a torn tail.
var damages = []struct {
	what   string
	damage func(*durabletest.Disk) error
	want   string // without "journal 00000000000"
}{
	{"bit of a length", flip(2, frameAt(2)),
		"2.journal is damaged at byte 200: the frame does not hold: it does not match its checksum"},
	{"high bit of a length", flip(2, frameAt(2)+3),
		"2.journal is damaged at byte 200: the frame does not hold: a length of 16777226 bytes"},
	{"bit of a checksum", flip(2, frameAt(2)+4),
		"2.journal is damaged at byte 200: the frame does not hold: it does not match its checksum"},
	{"bit of what was synced", flip(2, frameAt(2)+8),
		"2.journal is damaged at byte 200: the frame does not hold: it does not match its checksum"},
	{"bit of a sequence", flip(2, frameAt(2)+16),
		"2.journal is damaged at byte 200: the frame does not hold: it does not match its checksum"},
	{"bit of a chain value", flip(2, frameAt(2)+24),
		"2.journal is damaged at byte 200: the frame does not hold: it does not match its checksum"},
	{"bit of a payload", flip(2, frameAt(2)+frameBytes),
		"2.journal is damaged at byte 200: the frame does not hold: it does not match its checksum"},
	{"bit of the first frame", flip(1, frameAt(0)+frameBytes),
		"1.journal is damaged at byte 68: the frame does not hold: it does not match its checksum"},
	{"bit of a segment's last frame", flip(3, damagedSeal-1),
		"3.journal is damaged at byte 332: the frame does not hold: it does not match its checksum"},
	{"payload edited, checksum made right", forgePayload(2, 2, false),
		"2.journal is damaged at byte 200: the frame does not hold: it does not continue the hash chain"},
	{"payload edited, chain made right", forgePayload(2, 2, true),
		"2.journal is damaged at byte 266: the frame does not hold: it does not continue the hash chain"},
	{"last payload edited, chain made right", forgePayload(2, 4, true),
		"3.journal is damaged at byte 0: it does not continue segment 2: one of the two was changed or exchanged, or the end of the other was cut"},
	{"frame inserted", insert(2, 2, 8),
		"2.journal is damaged at byte 200: the frame does not hold: it does not continue the hash chain"},
	{"frame inserted with another sequence", insert(2, 2, 99),
		"2.journal is damaged at byte 200: the frame does not hold: sequence 99 where 8 belongs"},
	{"frame added to a sealed segment", insert(2, 5, 11),
		"2.journal is damaged at byte 398: the frame does not hold: it does not continue the hash chain"},
	{"frame removed", edit(2, func(b []byte) []byte { return append(b[:frameAt(2):frameAt(2)], b[frameAt(3):]...) }),
		"2.journal is damaged at byte 200: the frame does not hold: sequence 9 where 8 belongs"},
	{"frames exchanged", edit(2, func(b []byte) []byte {
		return append(append(append(b[:frameAt(1):frameAt(1)], b[frameAt(2):frameAt(3)]...), b[frameAt(1):frameAt(2)]...), b[frameAt(3):]...)
	}),
		"2.journal is damaged at byte 134: the frame does not hold: sequence 8 where 7 belongs"},
	{"frame wiped", wipe(2, frameAt(2), frameAt(3)),
		"2.journal is damaged at byte 200: frames are missing: it ends with sequence 7, and segment 3 goes on with 11"},
	{"end of a segment wiped", wipe(2, frameAt(3), damagedSeal),
		"2.journal is damaged at byte 266: frames are missing: it ends with sequence 8, and segment 3 goes on with 11"},

	{"bit of the magic", flip(2, 0),
		`2.journal is damaged at byte 0: not a journal segment: it begins with "UGJRNL02"`},
	{"bit of the writer", flip(2, 8),
		"2.journal is damaged at byte 0: the segment header does not match its checksum"},
	{"bit of the first sequence", flip(2, 24),
		"2.journal is damaged at byte 0: the segment header does not match its checksum"},
	{"bit of the chain before", flip(2, 32),
		"2.journal is damaged at byte 0: the segment header does not match its checksum"},
	{"bit of the header's checksum", flip(2, 64),
		"2.journal is damaged at byte 0: the segment header does not match its checksum"},
	{"header wiped", wipe(2, 0, headerBytes),
		"2.journal is damaged at byte 0: its header was wiped"},
	{"header with another writer", forgeHeader(2, func(h *header) { h.writer[0]++ }),
		"2.journal is damaged at byte 0: it does not continue segment 1: one of the two was changed or exchanged, or the end of the other was cut"},
	{"header with a later sequence", forgeHeader(2, func(h *header) { h.first++ }),
		"1.journal is damaged at byte 398: frames are missing: it ends with sequence 5, and segment 2 goes on with 7"},
	{"header with an earlier sequence", forgeHeader(2, func(h *header) { h.first-- }),
		"2.journal is damaged at byte 0: it does not continue segment 1: one of the two was changed or exchanged, or the end of the other was cut"},
	{"header with another chain", forgeHeader(2, func(h *header) { h.before[0]++ }),
		"2.journal is damaged at byte 0: it does not continue segment 1: one of the two was changed or exchanged, or the end of the other was cut"},
	{"first header with another chain", forgeHeader(1, func(h *header) { h.before[0]++ }),
		"1.journal is damaged at byte 0: it is not the beginning of a journal"},

	{"segment cut in a frame", cutTo(2, frameAt(3)+7),
		"2.journal is damaged at byte 266: the frame does not hold: 7 of 66 bytes"},
	{"segment cut between frames", cutTo(2, frameAt(3)),
		"2.journal is damaged at byte 266: frames are missing: it ends with sequence 8, and segment 3 goes on with 11"},
	{"segment cut in its header", cutTo(2, 20),
		"1.journal is damaged at byte 398: frames are missing: it ends with sequence 5, and segment 3 goes on with 11"},
	{"segment emptied", cutTo(2, 0),
		"1.journal is damaged at byte 398: frames are missing: it ends with sequence 5, and segment 3 goes on with 11"},
	{"first segment missing", lost(1),
		"1.journal is damaged at byte 0: it is missing"},
	{"segment missing", lost(2),
		"2.journal is damaged at byte 0: it is missing"},
	{"segment before the last missing", lost(3),
		"3.journal is damaged at byte 0: it is missing"},
	{"segments exchanged", swap(2, 3),
		"1.journal is damaged at byte 398: frames are missing: it ends with sequence 5, and segment 2 goes on with 11"},
	{"segment copied over the next", copied(2, 3),
		"3.journal is damaged at byte 0: it does not continue segment 2: one of the two was changed or exchanged, or the end of the other was cut"},
	{"segment copied behind the last", copied(2, 5),
		"5.journal is damaged at byte 0: it does not continue segment 4: one of the two was changed or exchanged, or the end of the other was cut"},

	{"bit of the last segment's first frame", flip(4, frameAt(0)+frameBytes),
		"4.journal is damaged at byte 68: the frame does not hold: it does not match its checksum, and it is no torn tail: sequence 17 behind it was written when this was on the disk"},
	{"bit of the frame before the last", flip(4, frameAt(1)+frameBytes),
		"4.journal is damaged at byte 134: the frame does not hold: it does not match its checksum, and it is no torn tail: sequence 18 behind it was written when this was on the disk"},
	{"first frame of the last segment wiped", wipe(4, frameAt(0), frameAt(1)),
		"4.journal is damaged at byte 68: it lies behind the end, and it is no torn tail: sequence 17 behind it was written when this was on the disk"},
	{"first frame of the last segment removed", edit(4, func(b []byte) []byte { return append(b[:frameAt(0):frameAt(0)], b[frameAt(1):]...) }),
		"4.journal is damaged at byte 68: the frame does not hold: sequence 17 where 16 belongs, and it is no torn tail: sequence 17 behind it was written when this was on the disk"},
	{"bit of the last segment's header", flip(4, 30),
		"4.journal is damaged at byte 0: the segment header does not match its checksum"},
	{"last segment's header wiped", wipe(4, 0, headerBytes),
		"4.journal is damaged at byte 0: its header was wiped"},
}

// Damage that is no torn tail is refused by a start, in words that name the file and the byte, and changes nothing.
func TestDamageIsRefusedAndNamed(t *testing.T) {
	for _, tt := range damages {
		t.Run(tt.what, func(t *testing.T) {
			disk := toDamage(t)
			if err := tt.damage(disk); err != nil {
				t.Fatal(err)
			}
			before := content(t, disk)
			j, _, err := Open(disk, Position{}, Options{Writer: Writer{9}}, nil)
			if err == nil {
				j.Close()
				t.Fatal("it is passed over")
			}
			if got := strings.TrimPrefix(err.Error(), "journal 00000000000"); got != tt.want {
				t.Errorf("\n got %s\nwant %s", got, tt.want)
			}
			if after := content(t, disk); after != before {
				t.Error("the refused start has changed the files")
			}
		})
	}
}

func content(t *testing.T, disk *durabletest.Disk) string {
	t.Helper()
	names, err := disk.List()
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, name := range names {
		b, err := disk.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&all, "%s %q\n", name, b)
	}
	return all.String()
}

// torn are what a machine that died leaves, or cannot be told from it: a start cuts it, says how much, and keeps it.
var torn = []struct {
	what   string
	damage func(*durabletest.Disk) error
	frames int // that are left
	bytes  int64
	reason string
}{
	{"nothing", func(*durabletest.Disk) error { return nil }, 18, 0, ""},
	{"last frame cut short", cutTo(4, frameAt(2)+30), 17, 30, "the frame does not hold: 30 of 66 bytes"},
	{"last frame's length cut", cutTo(4, frameAt(2)+2), 17, 1, "it lies behind the end"},
	{"bit of the last frame", flip(4, frameAt(2)+frameBytes), 17, damagedFrame, "the frame does not hold: it does not match its checksum"},
	{"start of the last frame not there", wipe(4, frameAt(2), frameAt(2)+8), 17, damagedFrame, "it lies behind the end"},
	{"last frame twice", edit(4, func(b []byte) []byte { return append(b, b[frameAt(2):]...) }), 18, damagedFrame, "the frame does not hold: sequence 18 where 19 belongs"},
	{"garbage behind the end", edit(4, func(b []byte) []byte { return append(b, "garbage"...) }), 18, 7, "the frame does not hold: a length of 1651663207 bytes"},
	{"zeros behind the end", edit(4, func(b []byte) []byte { return append(b, make([]byte, 5000)...) }), 18, 0, ""},
	{"segment without a header", func(d *durabletest.Disk) error { return d.Replace(segmentName(5), make([]byte, 300)) }, 18, 0, ""},
	{"segment with a part of a header", func(d *durabletest.Disk) error {
		return d.Replace(segmentName(5), append([]byte(magic+"xy"), make([]byte, 300)...))
	}, 18, 0, ""},
	{"empty segment", func(d *durabletest.Disk) error { return d.Replace(segmentName(5), nil) }, 18, 0, ""},
}

func TestTornTailIsCutAndReported(t *testing.T) {
	for _, tt := range torn {
		t.Run(tt.what, func(t *testing.T) {
			disk := toDamage(t)
			if err := tt.damage(disk); err != nil {
				t.Fatal(err)
			}
			for i := range 2 { // a start that writes nothing leaves it to the next to tell of it
				j, rec, found := start(t, disk, Options{})
				if len(found) != tt.frames || rec.CutBytes != tt.bytes || rec.Earlier != (i > 0 && tt.bytes > 0) {
					t.Errorf("start %d: %d frames, %+v", i, len(found), rec)
				}
				if tt.bytes > 0 && (rec.Segment != segmentName(4) || !rec.Earlier && rec.Reason != tt.reason) {
					t.Errorf("start %d: cut from %q because %q", i, rec.Segment, rec.Reason)
				}
				if i > 0 {
					if _, err := put(j, "next"); err != nil {
						t.Fatal(err)
					}
				}
				if err := j.Close(); err != nil {
					t.Fatal(err)
				}
			}
			j, rec, found := start(t, disk, Options{})
			if len(found) != tt.frames+1 || rec.CutBytes != 0 {
				t.Errorf("then: %d frames, %+v", len(found), rec)
			}
			j.Close()
		})
	}
}
