package journal

import (
	"errors"
	"io/fs"
)

// Stats is how a journal stands with its disk.
type Stats struct {
	WaitingBytes int64 // staged, and not yet on the disk
	Segments     int   // files
	Bytes        int64 // of all segments, with what is preallocated of the last
	FreeBytes    int64 // left on the disk; -1: the system does not say
}

// Stats looks at the files.
func (j *Journal) Stats() (Stats, error) {
	s := Stats{WaitingBytes: j.tailBytes.Load(), FreeBytes: -1}
	if free, err := j.dir.Free(); err == nil {
		s.FreeBytes = free
	} else if !errors.Is(err, errors.ErrUnsupported) {
		return s, err
	}
	names, err := j.dir.List()
	if err != nil {
		return s, err
	}
	for _, n := range segments(names) {
		f, err := j.dir.OpenRead(segmentName(n))
		if errors.Is(err, fs.ErrNotExist) { // removed meanwhile
			continue
		}
		if err != nil {
			return s, err
		}
		size, err := f.Size()
		f.Close()
		if err != nil {
			return s, err
		}
		s.Segments++
		s.Bytes += size
	}
	return s, nil
}
