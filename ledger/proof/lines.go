package proof

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/google/uuid"

	"github.com/tollgate/tollgate/ledger/journal"
)

// lineBytesMax bounds a line: a frame in base64 and the same spelled out, in which each byte may have become six.
const lineBytesMax = 8 * journal.PayloadBytesMax

// Lines reads an export. It is for one goroutine.
type Lines struct {
	paths []string // not yet opened
	file  io.Closer
	in    *bufio.Reader
	name  string
	line  int
	long  []byte // a line that the buffer does not hold
}

// OpenLines reads the export at path: a file, or a directory of files export-NNNNNN.jsonl.
func OpenLines(path string) (*Lines, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read the export: %w", err)
	}
	if !info.IsDir() {
		return &Lines{paths: []string{path}}, nil
	}
	paths, err := filepath.Glob(filepath.Join(escapeGlob(path), "export-*.jsonl"))
	if err != nil {
		return nil, err
	}
	if len(paths) == 0 {
		return nil, fmt.Errorf("read the export: %s has no export-NNNNNN.jsonl", path)
	}
	slices.Sort(paths)
	return &Lines{paths: paths}, nil
}

func escapeGlob(path string) string {
	return strings.NewReplacer(`*`, `[*]`, `?`, `[?]`, `[`, `[[]`).Replace(path)
}

// NewLines reads an export from r.
func NewLines(r io.Reader) *Lines {
	return &Lines{in: bufio.NewReaderSize(r, bufferBytes), name: "export"}
}

// bufferBytes holds most lines whole.
const bufferBytes = 64 << 10

// Close closes the open file.
func (l *Lines) Close() error {
	l.paths, l.in = nil, nil
	if l.file == nil {
		return nil
	}
	return l.file.Close()
}

// Place is where the line that next returned stands.
func (l *Lines) Place() string { return fmt.Sprintf("%s:%d", l.name, l.line) }

// next returns the next line without its end, valid until the next call, or io.EOF.
func (l *Lines) next() ([]byte, error) {
	for {
		if l.in == nil {
			if err := l.open(); err != nil {
				return nil, err
			}
		}
		line, err := l.read()
		switch {
		case err == nil || len(line) > 0 && err == io.EOF:
			l.line++
			return bytes.TrimSuffix(line, []byte("\n")), nil
		case err != io.EOF:
			return nil, err
		}
		l.in = nil
		if len(l.paths) == 0 {
			return nil, io.EOF
		}
	}
}

func (l *Lines) open() error {
	if len(l.paths) == 0 {
		return io.EOF
	}
	if l.file != nil {
		_ = l.file.Close()
	}
	f, err := os.Open(l.paths[0])
	if err != nil {
		return fmt.Errorf("read the export: %w", err)
	}
	l.name, l.line = filepath.Base(l.paths[0]), 0
	l.paths = l.paths[1:]
	l.file, l.in = f, bufio.NewReaderSize(f, bufferBytes)
	return nil
}

func (l *Lines) read() ([]byte, error) {
	part, err := l.in.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		return part, err
	}
	l.long = append(l.long[:0], part...)
	for errors.Is(err, bufio.ErrBufferFull) {
		part, err = l.in.ReadSlice('\n')
		l.long = append(l.long, part...)
		if len(l.long) > lineBytesMax {
			return nil, fmt.Errorf("%s:%d: a line of more than %d MiB", l.name, l.line+1, lineBytesMax>>20)
		}
	}
	return l.long, err
}

// record is a parsed line: one of its parts is set.
type record struct {
	entry      *entryLine
	header     *Header
	begun      *Begun
	checkpoint []byte
}

// parseLine reads a line. into holds an entry's line.
func parseLine(line []byte, into *entryLine) (record, error) {
	if bytes.HasPrefix(line, []byte(`{"index":`)) {
		return record{entry: into}, parseEntry(line, into)
	}
	var other struct {
		Export     *Header `json:"export"`
		Writer     *Begun  `json:"writer"`
		Checkpoint *string `json:"checkpoint"`
	}
	if err := decodeStrictly(line, &other); err != nil {
		return record{}, fmt.Errorf("not a line of an export: %w", err)
	}
	switch {
	case other.Export != nil && other.Writer == nil && other.Checkpoint == nil:
		return record{header: other.Export}, nil
	case other.Writer != nil && other.Export == nil && other.Checkpoint == nil:
		return record{begun: other.Writer}, nil
	case other.Checkpoint != nil && other.Export == nil && other.Writer == nil:
		return record{checkpoint: []byte(*other.Checkpoint)}, nil
	}
	return record{}, errors.New("not a line of an export")
}

// decodeStrictly reads one JSON value whose every field is known.
func decodeStrictly(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more follows the value")
	}
	return nil
}

var errEntryLine = errors.New("not an entry's line: it is not written as an export writes it")

// parseEntry reads an entry's line, which has one form only.
func parseEntry(line []byte, into *entryLine) error {
	rest, ok := bytes.CutPrefix(line, []byte(`{"index":`))
	digits, rest, ok2 := bytes.Cut(rest, []byte(`,"writer":"`))
	writer, rest, ok3 := bytes.Cut(rest, []byte(`","hash":"`))
	hash, rest, ok4 := bytes.Cut(rest, []byte(`","frame":"`))
	frame, rest, ok5 := bytes.Cut(rest, []byte(`","entry":`))
	entry, ok6 := bytes.CutSuffix(rest, []byte("}"))
	if !ok || !ok2 || !ok3 || !ok4 || !ok5 || !ok6 {
		return errEntryLine
	}
	index, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil || index < 0 {
		return errEntryLine
	}
	into.index = index
	id, err := uuid.ParseBytes(writer)
	if err != nil || len(writer) != len(id.String()) {
		return errEntryLine
	}
	into.writer = journal.Writer(id)
	if base64.StdEncoding.DecodedLen(len(hash)) != len(into.hash)+1 {
		return errEntryLine
	}
	var sum [len(into.hash) + 1]byte
	if n, err := base64.StdEncoding.Strict().Decode(sum[:], hash); err != nil || n != len(into.hash) {
		return errEntryLine
	}
	copy(into.hash[:], sum[:])
	into.frame, err = base64.StdEncoding.Strict().AppendDecode(into.frame[:0], frame)
	if err != nil {
		return errEntryLine
	}
	into.entry = entry
	return nil
}
