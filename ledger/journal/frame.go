package journal

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
	"strconv"
	"strings"
)

// PayloadBytesMax bounds one payload, so that a length damaged on the disk cannot make a reader allocate at will. An
// entry takes a few hundred bytes.
const PayloadBytesMax = 1 << 20

const (
	magic       = "TGJRNL02"
	magicBefore = "TGJRNL01"
	headerBytes = 8 + 16 + 8 + 32 + 4
	frameBytes  = 4 + 4 + 8 + 8 + 32 // before the payload
)

// Writer names one start of one process.
type Writer [16]byte

// Chain is a value of the hash chain.
type Chain [sha256.Size]byte

// header opens a segment.
type header struct {
	writer Writer
	first  uint64
	before Chain
}

// castagnoli has its own instruction on common processors; MakeTable returns a shared table.
func checksum(parts ...[]byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	var sum uint32
	for _, p := range parts {
		sum = crc32.Update(sum, table, p)
	}
	return sum
}

func (h *header) append(b []byte) []byte {
	start := len(b)
	b = append(b, magic...)
	b = append(b, h.writer[:]...)
	b = binary.LittleEndian.AppendUint64(b, h.first)
	b = append(b, h.before[:]...)
	return binary.LittleEndian.AppendUint32(b, checksum(b[start:]))
}

// errNoHeader means the segment was never begun: its process died before it wrote to it, or while it wrote the header.
var errNoHeader = errors.New("no segment header")

func parseHeader(b []byte) (header, error) {
	var h header
	if len(b) < headerBytes || isZero(b[:headerBytes]) {
		return h, errNoHeader
	}
	if string(b[:8]) == magicBefore {
		return h, errors.New("it is of a form from before the first release, which is not read: keep the directory for the records and begin in a new one")
	}
	if string(b[:8]) != magic {
		return h, fmt.Errorf("not a journal segment: it begins with %q", b[:8])
	}
	if checksum(b[:headerBytes-4]) != binary.LittleEndian.Uint32(b[headerBytes-4:]) {
		return h, errors.New("the segment header does not match its checksum")
	}
	copy(h.writer[:], b[8:])
	h.first = binary.LittleEndian.Uint64(b[24:])
	copy(h.before[:], b[32:])
	return h, nil
}

func isZero(b []byte) bool { return !slices.ContainsFunc(b, func(c byte) bool { return c != 0 }) }

// begin is the chain value before a new writer's first frame.
func begin(w Writer, last Chain) Chain {
	var b [len(magic) + len(w) + len(last)]byte
	n := copy(b[:], magic)
	n += copy(b[n:], w[:])
	copy(b[n:], last[:])
	return sha256.Sum256(b[:])
}

// appendFrame appends the frame of payload to b and returns the new chain value. synced is the last sequence that is on
// the disk.
//
// The chain's input (chain before ‖ sequence ‖ payload) is laid out where the frame goes, so that one call hashes it
// without a copy: the sequence and chain fields of the frame are then put in their places before the payload.
func appendFrame(b []byte, before Chain, seq, synced uint64, payload []byte) ([]byte, Chain) {
	start := len(b)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(payload)))
	b = append(b, 0, 0, 0, 0) // checksum
	b = binary.LittleEndian.AppendUint64(b, synced)
	b = append(b, before[:]...)
	b = binary.LittleEndian.AppendUint64(b, seq)
	b = append(b, payload...)
	f := b[start:]
	chain := Chain(sha256.Sum256(f[16:]))
	binary.LittleEndian.PutUint64(f[16:], seq)
	copy(f[24:], chain[:])
	binary.LittleEndian.PutUint32(f[4:], checksum(f[:4], f[8:]))
	return b, chain
}

var (
	// errEnd is where the written part of a segment ends.
	errEnd = errors.New("end of segment")
	// errTorn is a frame that does not hold.
	errTorn = errors.New("the frame does not hold")
)

// parseFrame reads the frame at the start of b, which must be the one after (seq-1, before). more is how many bytes are
// needed when b is too short to tell.
func parseFrame(b []byte, before Chain, seq uint64) (payload []byte, chain Chain, more int, err error) {
	if len(b) < 4 {
		return nil, chain, 4, errEnd
	}
	length := int(binary.LittleEndian.Uint32(b))
	switch {
	case length == 0:
		return nil, chain, 0, errEnd
	case length > PayloadBytesMax:
		return nil, chain, 0, fmt.Errorf("%w: a length of %d bytes", errTorn, length)
	case len(b) < frameBytes+length:
		return nil, chain, frameBytes + length, fmt.Errorf("%w: %d of %d bytes", errTorn, len(b), frameBytes+length)
	}
	f := b[:frameBytes+length]
	payload = f[frameBytes:]
	if checksum(f[:4], f[8:]) != binary.LittleEndian.Uint32(f[4:]) {
		return nil, chain, 0, fmt.Errorf("%w: it does not match its checksum", errTorn)
	}
	if got := binary.LittleEndian.Uint64(f[16:]); got != seq {
		return nil, chain, 0, fmt.Errorf("%w: sequence %d where %d belongs", errTorn, got, seq)
	}
	copy(chain[:], f[24:])
	if chain != next(before, seq, payload) {
		return nil, chain, 0, fmt.Errorf("%w: it does not continue the hash chain", errTorn)
	}
	return payload, chain, 0, nil
}

// next is the chain value of a payload.
func next(before Chain, seq uint64, payload []byte) Chain {
	h := sha256.New()
	h.Write(before[:])
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], seq)
	h.Write(b[:])
	h.Write(payload)
	var c Chain
	h.Sum(c[:0])
	return c
}

const suffix = ".journal"

func segmentName(n uint64) string { return fmt.Sprintf("%012d%s", n, suffix) }

// segments picks the numbers of segments from the names in a directory, in order.
func segments(names []string) []uint64 {
	var out []uint64
	for _, name := range names {
		digits, ok := strings.CutSuffix(name, suffix)
		if !ok {
			continue
		}
		if n, err := strconv.ParseUint(digits, 10, 64); err == nil && segmentName(n) == name {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	return out
}

// numberOf is the number of the segment that a file is, or was made from: what was cut from it, what was put aside. It is
// zero for other files.
func numberOf(name string) uint64 {
	if i := strings.Index(name, suffix); i >= 0 {
		for _, n := range segments([]string{name[:i+len(suffix)]}) {
			return n
		}
	}
	return 0
}
