package proof

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// notesMax bounds how many checkpoints from elsewhere are held against an export: some four years of one a minute.
const notesMax = 2_000_000

// ReadNotes reads signed checkpoints from a file, of one note or of lines {"checkpoint": NOTE}, or from all files *.jsonl and
// *.txt of a directory, in the order of their names: what package publish writes. Lines that are not whole are passed over:
// a crash may have left them.
func ReadNotes(path string) ([][]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read checkpoints: %w", err)
	}
	if !info.IsDir() {
		return readNotes(path)
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("read checkpoints: %w", err)
	}
	var all [][]byte
	for _, e := range entries {
		if name := e.Name(); e.IsDir() || !strings.HasSuffix(name, ".jsonl") && !strings.HasSuffix(name, ".txt") {
			continue
		}
		notes, err := readNotes(filepath.Join(path, e.Name()))
		if err != nil {
			return nil, err
		}
		if all = append(all, notes...); len(all) > notesMax {
			return nil, fmt.Errorf("read checkpoints: more than %d in %s", notesMax, path)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("read checkpoints: there are none in %s", path)
	}
	return all, nil
}

func readNotes(path string) (notes [][]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read checkpoints: %w", err)
	}
	defer f.Close()
	var first [1]byte
	if _, err := f.ReadAt(first[:], 0); err != nil && err != io.EOF {
		return nil, fmt.Errorf("read checkpoints: %w", err)
	}
	if first[0] != '{' {
		note, err := io.ReadAll(io.LimitReader(f, CheckpointBytesMax+1))
		if err == nil && len(bytes.TrimSpace(note)) == 0 {
			err = errors.New("the file is empty")
		}
		return [][]byte{note}, err
	}
	lines := NewLines(f)
	for len(notes) <= notesMax {
		line, err := lines.next()
		if err == io.EOF {
			return slices.Clip(notes), nil
		}
		if err != nil {
			return nil, fmt.Errorf("read checkpoints: %w", err)
		}
		var one struct {
			Checkpoint string `json:"checkpoint"`
		}
		if json.Unmarshal(line, &one) == nil && one.Checkpoint != "" {
			notes = append(notes, []byte(one.Checkpoint))
		}
	}
	return nil, fmt.Errorf("read checkpoints: more than %d in %s", notesMax, path)
}
