package file

import (
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tollgate/tollgate/ledger/sink"
)

func lines(texts ...string) []sink.Line {
	out := make([]sink.Line, len(texts))
	for i, text := range texts {
		out[i].Text = []byte(text)
	}
	return out
}

func open(t *testing.T, cfg Config) *receiver {
	t.Helper()
	r, err := cfg.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r.(*receiver)
}

func send(t *testing.T, r *receiver, texts ...string) {
	t.Helper()
	if err := r.Send(t.Context(), lines(texts...)); err != nil {
		t.Fatal(err)
	}
}

func holds(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s: %q, %v, want %q", filepath.Base(path), got, err, want)
	}
}

// Whatever a crash left of a last line is cut, at any place, and nothing before it.
func TestTornLineIsCut(t *testing.T) {
	long := strings.Repeat("x", tailBytes+10)
	for found, want := range map[string]string{
		"": "", "a\n": "a\n", "a\nb": "a\n", "torn": "", "a\n" + long: "a\n", long + "\n" + long: long + "\n", "a\n\n": "a\n\n",
	} {
		path := filepath.Join(t.TempDir(), "out.jsonl")
		if err := os.WriteFile(path, []byte(found), 0o600); err != nil {
			t.Fatal(err)
		}
		r := open(t, Config{Path: path})
		send(t, r, "next")
		holds(t, path, want+"next\n")
	}
}

func TestRotation(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "out.jsonl")
	r := open(t, Config{Path: path, RotateBytes: 10, Gzip: true})
	for i := range 6 { // several within a second: their names differ all the same
		send(t, r, fmt.Sprintf("line %d ...", i))
	}
	names, err := filepath.Glob(filepath.Join(dir, "out.*.jsonl.gz"))
	if err != nil || len(names) != 5 {
		t.Fatalf("%q, %v", names, err)
	}
	all := ""
	for _, name := range names {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(z)
		if err != nil {
			t.Fatal(err)
		}
		f.Close()
		all += string(text)
	}
	for i := range 5 {
		if strings.Count(all, fmt.Sprintf("line %d", i)) != 1 {
			t.Errorf("line %d in %q", i, all)
		}
	}
	holds(t, path, "line 5 ...\n")
	if left, _ := filepath.Glob(filepath.Join(dir, "*.new")); len(left) != 0 {
		t.Errorf("left over: %q", left)
	}

	aged := open(t, Config{Path: filepath.Join(dir, "aged.jsonl"), RotateAge: time.Hour})
	send(t, aged, "old")
	aged.begun = aged.begun.Add(-2 * time.Hour)
	send(t, aged, "new")
	holds(t, filepath.Join(dir, "aged.jsonl"), "new\n")
}

// A file that was moved away or cut by another program is not written to any more.
func TestFileThatAnotherMoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sub", "out.jsonl")
	r := open(t, Config{Path: path})
	send(t, r, "one")
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	send(t, r, "two")
	holds(t, path+".1", "one\n")
	holds(t, path, "two\n")
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	send(t, r, "three")
	holds(t, path, "three\n")
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	send(t, r, "four")
	holds(t, path, "four\n")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

// A disk that takes no more is an error, and what was half written is not there when it does again.
func TestPathThatIsNoFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "out.jsonl")
	r := open(t, Config{Path: path})
	send(t, r, "one")
	if err := r.file.Close(); err != nil { // as a disk that fails
		t.Fatal(err)
	}
	if err := r.Send(t.Context(), lines("two")); err == nil {
		t.Fatal("sent to a file that is closed")
	}
	send(t, r, "two")
	holds(t, path, "one\ntwo\n")
	if _, err := (Config{Path: t.TempDir()}).Open(t.Context()); err == nil {
		t.Error("opened a directory")
	}
}
