package checker

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Kind says what an entry states: the kinds that settle calls, by their numbers in the journal.
type Kind uint64

// The kinds of entries that matter here.
const (
	Denied   Kind = 1
	Reserved Kind = 2
	Posted   Kind = 3
	Voided   Kind = 4
)

// Entry is a line of a journal, as far as it matters here.
type Entry struct {
	Writer string // 32 hex digits, as all ids
	Seq    uint64

	Kind             Kind
	ID, Resolves     string
	Trace            string
	Time             int64 // Unix nanoseconds, by the ledger's clock
	Action           string
	Upstream, Target string
	Hold, Worst      int64
	HoldTokens       int64
	WorstTokens      int64
	Cost, Tokens     int64
	Estimated        bool
	Status           string
}

// Journal is what one data directory holds.
type Journal struct {
	Name    string
	Gone    bool // its replica will never start again, so calls may be open in it
	Entries []Entry
}

// The form of a segment.
const (
	magic       = "TGJRNL02"
	headerBytes = 8 + 16 + 8 + 32 + 4
	frameHead   = 4 + 4 + 8 + 8 + 32
)

// ReadJournal reads all segments of the data directory dir, and holds them to their checksums, sequences and hash chain.
func ReadJournal(dir string) ([]Entry, error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.journal"))
	if err != nil {
		return nil, err
	}
	slices.Sort(names)
	var w walk
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err == nil {
			err = w.segment(b)
		}
		if err != nil {
			return nil, fmt.Errorf("journal %s: %w", filepath.Base(name), err)
		}
	}
	return w.entries, nil
}

// walk is where a reader stands in a journal.
type walk struct {
	began   bool
	writer  [16]byte
	seq     uint64
	chain   [32]byte
	entries []Entry
}

func (w *walk) segment(b []byte) error {
	if len(bytes.Trim(b[:min(len(b), headerBytes)], "\x00")) == 0 {
		return nil // never begun
	}
	if len(b) < headerBytes || string(b[:8]) != magic {
		return errors.New("it is no segment")
	}
	if crc32.Checksum(b[:headerBytes-4], crc32.MakeTable(crc32.Castagnoli)) != binary.LittleEndian.Uint32(b[headerBytes-4:]) {
		return errors.New("its header does not match its checksum")
	}
	writer, first, before := [16]byte(b[8:24]), binary.LittleEndian.Uint64(b[24:32]), [32]byte(b[32:64])
	goesOn := writer == w.writer && first == w.seq+1 && before == w.chain
	anew := writer != w.writer && first == 1 && before == sha256.Sum256(slices.Concat([]byte(magic), writer[:], w.chain[:]))
	if w.began && !goesOn && !anew {
		return errors.New("it does not continue the one before")
	}
	w.began, w.writer, w.seq, w.chain = true, writer, first-1, before
	for b = b[headerBytes:]; len(b) >= frameHead; {
		n := int(binary.LittleEndian.Uint32(b))
		if n == 0 {
			break
		}
		if len(b) < frameHead+n {
			return fmt.Errorf("frame %d is torn", w.seq+1)
		}
		if err := w.frame(b[:frameHead+n]); err != nil {
			return fmt.Errorf("frame %d: %w", w.seq+1, err)
		}
		b = b[frameHead+n:]
	}
	return nil
}

func (w *walk) frame(f []byte) error {
	payload, seq := f[frameHead:], f[16:24]
	sum := crc32.Update(crc32.Checksum(f[:4], crc32.MakeTable(crc32.Castagnoli)), crc32.MakeTable(crc32.Castagnoli), f[8:])
	switch {
	case sum != binary.LittleEndian.Uint32(f[4:]):
		return errors.New("it does not match its checksum")
	case binary.LittleEndian.Uint64(seq) != w.seq+1:
		return errors.New("it is out of sequence")
	}
	chain := sha256.Sum256(slices.Concat(w.chain[:], seq, payload))
	if !bytes.Equal(chain[:], f[24:56]) {
		return errors.New("it does not continue the hash chain")
	}
	e, err := decode(payload)
	if err != nil {
		return err
	}
	w.seq, w.chain = w.seq+1, chain
	e.Writer, e.Seq = hex.EncodeToString(w.writer[:]), w.seq
	w.entries = append(w.entries, e)
	return nil
}

// decode reads the Protocol Buffers message Entry.
func decode(b []byte) (Entry, error) {
	var e Entry
	err := fields(b, func(field, num uint64, text []byte) error {
		switch field {
		case 1:
			e.Kind = Kind(num)
		case 2:
			e.ID = hex.EncodeToString(text)
		case 3:
			e.Time = int64(num)
		case 4:
			e.Resolves = hex.EncodeToString(text)
		case 6:
			e.Trace = hex.EncodeToString(text)
		case 13:
			e.Action = string(text)
		case 14:
			e.Upstream = string(text)
		case 15:
			e.Target = string(text)
		case 24:
			e.Hold = int64(num)
		case 25:
			e.Worst = int64(num)
		case 26:
			e.HoldTokens = int64(num)
		case 27:
			e.WorstTokens = int64(num)
		case 30:
			e.Cost = int64(num)
		case 31:
			return fields(text, func(kind, n uint64, _ []byte) error {
				if kind <= 9 {
					e.Tokens += int64(n)
				}
				return nil
			})
		case 32:
			e.Estimated = num != 0
		case 33:
			e.Status = string(text)
		}
		return nil
	})
	if err == nil && (e.Kind == 0 || e.ID == "" || e.Time == 0) {
		err = errors.New("it is no entry")
	}
	return e, err
}

// fields calls each for every field of a message: num is set for numbers, text for the rest.
func fields(b []byte, each func(field, num uint64, text []byte) error) error {
	short := errors.New("the message ends early")
	for len(b) > 0 {
		tag, n := binary.Uvarint(b)
		if n <= 0 {
			return short
		}
		b = b[n:]
		var num uint64
		var text []byte
		switch tag & 7 {
		case 0:
			if num, n = binary.Uvarint(b); n <= 0 {
				return short
			}
		case 1:
			if n = 8; len(b) < n {
				return short
			}
			num = binary.LittleEndian.Uint64(b)
		case 2:
			size, m := binary.Uvarint(b)
			if m <= 0 || size > uint64(len(b)-m) {
				return short
			}
			n = m + int(size)
			text = b[m:n]
		default:
			return fmt.Errorf("wire type %d", tag&7)
		}
		if err := each(tag>>3, num, text); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// path is what limits count the entry's call at.
func (e *Entry) path() string { return e.Upstream + "/" + e.Target }

// governed reports whether the entry is of a call to a tool or model: those that limits count.
func (e *Entry) governed() bool {
	return e.Action == "tool.call" || strings.HasPrefix(e.Action, "llm.")
}
