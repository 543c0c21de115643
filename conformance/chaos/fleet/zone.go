package fleet

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"time"
)

// zoneName is the time zone of a run.
const zoneName = "Chaos/Midnight"

// Zone is a time zone made for one run: a day of its calendar ends in the midst of it, so that windows of the calendar are
// crossed. A gateway finds it by Env, as it would find any other.
type Zone struct {
	Offset time.Duration // east of UTC
	dir    string
}

// NewZone makes a zone, with its file below dir, in which midnight is at midnight.
func NewZone(dir string, midnight time.Time) (*Zone, error) {
	const day = 24 * time.Hour
	into := midnight.Sub(midnight.UTC().Truncate(day)).Truncate(time.Second)
	z := &Zone{Offset: day - into, dir: dir}
	if z.Offset > day/2 {
		z.Offset -= day
	}
	path := filepath.Join(dir, filepath.FromSlash(zoneName))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	return z, os.WriteFile(path, z.tzif(), 0o644)
}

// tzif is the zone in the file format of RFC 9636, version 1: no transitions, one type, its name.
func (z *Zone) tzif() []byte {
	const name = "CHAOS\x00"
	b := bytes.NewBuffer(make([]byte, 0, 64))
	b.WriteString("TZif")
	b.Write(make([]byte, 16))
	for _, n := range []uint32{0, 0, 0, 0, 1, uint32(len(name))} {
		_ = binary.Write(b, binary.BigEndian, n) // to memory
	}
	_ = binary.Write(b, binary.BigEndian, int32(z.Offset/time.Second))
	b.Write([]byte{0, 0})
	b.WriteString(name)
	return b.Bytes()
}

// Name is what the config file calls the zone.
func (z *Zone) Name() string { return zoneName }

// Env lets a process find the zone.
func (z *Zone) Env() string { return "ZONEINFO=" + z.dir }
