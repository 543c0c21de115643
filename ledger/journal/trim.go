package journal

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"github.com/tollgate/tollgate/internal/durable"
)

const (
	// trimmedName is the file that says where the journal begins when segments were removed.
	trimmedName  = "trimmed"
	trimmedMagic = "TGTRIM01"
	// trimmedBytes is its size without the state.
	trimmedBytes = 8 + 8 + 8 + 16 + 8 + 32 + 4
)

// ErrTrimmed means that what follows a position was removed: the journal begins later.
var ErrTrimmed = errors.New("the journal begins later: retention has removed what follows this place")

// Beginning is where a journal begins. The zero Beginning is that of a journal from which nothing was removed.
type Beginning struct {
	Position Position // after the last frame that was removed
	State    []byte   // what whoever removed them keeps of them; the journal does not look into it
}

// ReadBeginning reads where the journal in dir begins.
func ReadBeginning(dir durable.Dir) (Beginning, error) {
	b, err := dir.ReadFile(trimmedName)
	if errors.Is(err, fs.ErrNotExist) {
		return Beginning{}, nil
	}
	if err != nil {
		return Beginning{}, fmt.Errorf("read where the journal begins: %w", err)
	}
	begins, err := parseBeginning(b)
	if err != nil {
		return Beginning{}, &TornError{Segment: trimmedName, Err: err}
	}
	return begins, nil
}

func (b *Beginning) append(to []byte) []byte {
	start := len(to)
	to = append(to, trimmedMagic...)
	to = binary.LittleEndian.AppendUint64(to, b.Position.Segment)
	to = binary.LittleEndian.AppendUint64(to, uint64(b.Position.Offset))
	to = append(to, b.Position.Writer[:]...)
	to = binary.LittleEndian.AppendUint64(to, b.Position.Seq)
	to = append(to, b.Position.Chain[:]...)
	to = append(to, b.State...)
	return binary.LittleEndian.AppendUint32(to, checksum(to[start:]))
}

func parseBeginning(b []byte) (Beginning, error) {
	if len(b) < trimmedBytes || string(b[:8]) != trimmedMagic {
		return Beginning{}, errors.New("it does not say where the journal begins")
	}
	body := b[:len(b)-4]
	if checksum(body) != binary.LittleEndian.Uint32(b[len(body):]) {
		return Beginning{}, errors.New("it does not match its checksum")
	}
	p := Position{
		Segment: binary.LittleEndian.Uint64(b[8:]),
		Offset:  int64(binary.LittleEndian.Uint64(b[16:])),
		Seq:     binary.LittleEndian.Uint64(b[40:]),
	}
	copy(p.Writer[:], b[24:])
	copy(p.Chain[:], b[48:])
	if p.Segment == 0 || p.Offset < headerBytes {
		return Beginning{}, errors.New("it names a place that cannot be")
	}
	return Beginning{p, body[trimmedBytes-4:]}, nil
}

// Trim removes the segments up to the one that b.Position ends. It is the caller's to know that nobody reads them any
// more and that the position is the end of a segment before the last.
//
//	replace(trimmed) remove(each segment, oldest first) fsync(directory)
//
// A crash in between leaves segments that no cursor looks at; the next Open or Trim removes them.
func (j *Journal) Trim(b Beginning) error {
	end, _ := j.Durable()
	before, err := ReadBeginning(j.dir)
	if err != nil {
		return err
	}
	if !before.Position.Before(b.Position) || b.Position.Segment >= end.Segment {
		return fmt.Errorf("journal: cannot begin after segment %d: it begins after %d and is written in %d", b.Position.Segment, before.Position.Segment, end.Segment)
	}
	if err := j.dir.Replace(trimmedName, b.append(nil)); err != nil {
		return fmt.Errorf("write where the journal begins: %w", err)
	}
	return sweep(j.dir, b.Position.Segment)
}

// sweep removes the segments up to last, and what was cut from them or put aside.
func sweep(dir durable.Dir, last uint64) error {
	names, err := dir.List()
	if err != nil {
		return err
	}
	for _, name := range names { // sorted, so oldest first
		if n := numberOf(name); n == 0 || n > last {
			continue
		}
		if err := dir.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("remove journal %s: %w", name, err)
		}
	}
	return dir.Sync()
}
