package proof

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// fileBytesMax is where the next file of an export in a directory begins.
const fileBytesMax = 64 << 20

// Split writes an export into files export-NNNNNN.jsonl of a directory. It is for one goroutine.
type Split struct {
	dir   string
	max   int64
	count int
	bytes int64
	file  *os.File
	out   *bufio.Writer
}

// NewSplit makes the directory, which must not have an export already.
func NewSplit(dir string) (*Split, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the export: %w", err)
	}
	return &Split{dir: dir, max: fileBytesMax}, nil
}

// Write writes whole lines; they are never cut between files.
func (s *Split) Write(lines []byte) (int, error) {
	if s.file == nil || s.bytes >= s.max {
		if err := s.next(); err != nil {
			return 0, err
		}
	}
	s.bytes += int64(len(lines))
	return s.out.Write(lines)
}

func (s *Split) next() error {
	if err := s.Close(); err != nil {
		return err
	}
	// O_EXCL: an export never mixes with what an earlier one left.
	f, err := os.OpenFile(filepath.Join(s.dir, fmt.Sprintf("export-%06d.jsonl", s.count)), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("make the export: %w", err)
	}
	s.count++
	s.file, s.bytes, s.out = f, 0, bufio.NewWriterSize(f, bufferBytes)
	return nil
}

// Close brings what was written to the disk.
func (s *Split) Close() error {
	if s.file == nil {
		return nil
	}
	err := s.out.Flush()
	if err == nil {
		err = s.file.Sync()
	}
	err = errors.Join(err, s.file.Close())
	s.file = nil
	return err
}
