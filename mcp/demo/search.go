package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"time"

	sdk "github.com/mark3labs/mcp-go/mcp"
	"github.com/mark3labs/mcp-go/server"
)

const (
	matchesMax       = 200       // lines of one answer
	matchesDefault   = 50        // when the caller names no number
	lineShownMax     = 300       // bytes of a line that are shown
	searchFilesMax   = 20_000    // files looked at
	searchBytesMax   = 256 << 20 // bytes read
	fileBytesMax     = 4 << 20   // larger files are data, not text
	binaryLookBytes  = 8000      // a zero byte in these makes a file binary
	searchTimeoutMax = 10 * time.Second
)

// folder is searched; os.Root holds that nothing outside of it is read, by .. or by symbolic link.
type folder struct{ root *os.Root }

func openFolder(dir string) (*folder, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open the folder to search: %w", err)
	}
	return &folder{root}, nil
}

func (f *folder) add(s *server.MCPServer) {
	addTool(s, "search_text", "Search the text files of the folder for a phrase or a regular expression. Hidden files, binary files "+
		"and files above 4 MiB are skipped.", f.search, readOnly(
		sdk.WithString("query", sdk.Required(), sdk.MinLength(1), sdk.MaxLength(500), sdk.Description("A phrase, or an RE2 expression")),
		sdk.WithBoolean("regexp", sdk.Description("The query is an expression")),
		sdk.WithBoolean("ignore_case"),
		sdk.WithString("files", sdk.MaxLength(200), sdk.Description(`Only files whose name matches this pattern, such as "*.md"`)),
		sdk.WithInteger("limit", sdk.Min(1), sdk.Max(matchesMax), sdk.Description("Lines to return; 50 if left out")))...)
}

type query struct {
	Query      string `json:"query"`
	Regexp     bool   `json:"regexp"`
	IgnoreCase bool   `json:"ignore_case"`
	Files      string `json:"files"`
	Limit      int    `json:"limit"`
}

type match struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Text string `json:"text"`
}

type matches struct {
	Matches  []match `json:"matches"`
	Files    int     `json:"files"`             // looked at
	Complete bool    `json:"complete"`          // false: a limit ended the search
	Stopped  string  `json:"stopped,omitempty"` // which
}

// errStop ends a search whose limit is reached.
type errStop string

func (e errStop) Error() string { return string(e) }

func (f *folder) search(ctx context.Context, q query) (matches, error) {
	out := matches{Matches: []match{}}
	text := q.Query
	if !q.Regexp {
		text = regexp.QuoteMeta(text)
	}
	if q.IgnoreCase {
		text = "(?i)" + text
	}
	want, err := regexp.Compile(text) // RE2: linear in what is searched
	if err != nil {
		return out, errors.New("the query is no regular expression that RE2 knows")
	}
	if _, err := path.Match(q.Files, ""); err != nil {
		return out, errors.New(`the pattern of files is malformed: write it like "*.md"`)
	}
	if q.Limit <= 0 || q.Limit > matchesMax {
		q.Limit = matchesDefault
	}
	ctx, cancel := context.WithTimeout(ctx, searchTimeoutMax)
	defer cancel()
	s := &search{folder: f, query: q, want: want, out: &out}
	err = fs.WalkDir(f.root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		if ctx.Err() != nil {
			return errStop("the time is over")
		}
		return s.visit(name, d, err)
	})
	var stop errStop
	switch {
	case errors.As(err, &stop):
		out.Stopped = string(stop)
	case err != nil:
		return out, errors.New("the folder cannot be read")
	default:
		out.Complete = true
	}
	return out, nil
}

// search is one search under way.
type search struct {
	folder *folder
	query  query
	want   *regexp.Regexp
	out    *matches
	bytes  int64
}

func (s *search) visit(name string, d fs.DirEntry, err error) error {
	switch {
	case err != nil && name == ".":
		return err
	case err != nil:
		return nil // one folder that cannot be read hides no other
	case name != "." && strings.HasPrefix(path.Base(name), "."):
		if d.IsDir() {
			return fs.SkipDir // .git, and files like .env that are nobody's business
		}
		return nil
	case !d.Type().IsRegular():
		return nil
	}
	if ok, _ := path.Match(s.query.Files, path.Base(name)); s.query.Files != "" && !ok {
		return nil
	}
	if s.out.Files >= searchFilesMax || s.bytes >= searchBytesMax {
		return errStop("too many files: narrow the search by a pattern of files")
	}
	s.out.Files++
	text := s.read(name)
	s.bytes += int64(len(text))
	return s.lines(name, text)
}

// read returns the text of a file, or nothing if it is none.
func (s *search) read(name string) []byte {
	f, err := s.folder.root.Open(name)
	if err != nil {
		return nil
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, fileBytesMax+1))
	if err != nil || len(text) > fileBytesMax || bytes.IndexByte(text[:min(len(text), binaryLookBytes)], 0) >= 0 {
		return nil
	}
	return text
}

func (s *search) lines(name string, text []byte) error {
	n := 0
	for line := range bytes.Lines(text) {
		n++
		line = bytes.TrimRight(line, "\r\n")
		if !s.want.Match(line) {
			continue
		}
		if len(s.out.Matches) == s.query.Limit {
			return errStop("the limit of lines is reached")
		}
		shown := strings.ToValidUTF8(string(line[:min(len(line), lineShownMax)]), "")
		s.out.Matches = append(s.out.Matches, match{File: name, Line: n, Text: shown})
	}
	return nil
}
