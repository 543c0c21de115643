package proof

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// An export in a directory is the same lines, and harm at the edges of its files is found.
func TestExportInADirectory(t *testing.T) {
	l := twoReplicas(t)
	sound := l.export(0, 700)
	write := func(t *testing.T) (dir string, files []string) {
		dir = filepath.Join(t.TempDir(), "a[1]*")
		s, err := NewSplit(dir)
		if err != nil {
			t.Fatal(err)
		}
		s.max = 20_000
		for _, line := range sound {
			if _, err := s.Write([]byte(line)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			files = append(files, filepath.Join(dir, e.Name()))
		}
		return dir, files
	}
	firstEntry := func(t *testing.T, path string) int64 {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			var l entryLine
			if parseEntry([]byte(strings.TrimSuffix(line, "\n")), &l) == nil {
				return l.index
			}
		}
		t.Fatalf("%s has no entry", path)
		return 0
	}
	for _, tt := range []struct {
		name string
		harm func(t *testing.T, files []string) int64 // returns the first bad entry; -1: none
		want []Kind
	}{
		{"none", func(*testing.T, []string) int64 { return -1 }, nil},
		{"a file removed", func(t *testing.T, files []string) int64 {
			bad := firstEntry(t, files[5])
			if err := os.Remove(files[5]); err != nil {
				t.Fatal(err)
			}
			return bad
		}, []Kind{Removed}},
		{"the last file removed", func(t *testing.T, files []string) int64 {
			bad := firstEntry(t, files[len(files)-1])
			if err := os.Remove(files[len(files)-1]); err != nil {
				t.Fatal(err)
			}
			return bad
		}, []Kind{Truncated}},
		{"the first file removed", func(t *testing.T, files []string) int64 {
			if err := os.Remove(files[0]); err != nil {
				t.Fatal(err)
			}
			return -2
		}, []Kind{Malformed}},
		{"two files exchanged", func(t *testing.T, files []string) int64 {
			bad := firstEntry(t, files[3])
			if err := os.Rename(files[3], files[3]+".x"); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(files[4], files[3]); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(files[3]+".x", files[4]); err != nil {
				t.Fatal(err)
			}
			return bad
		}, []Kind{Reordered}},
		{"the last file cut in a line", func(t *testing.T, files []string) int64 {
			bad := firstEntry(t, files[len(files)-1])
			if err := os.Truncate(files[len(files)-1], 100); err != nil {
				t.Fatal(err)
			}
			return bad
		}, []Kind{Malformed}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir, files := write(t)
			if len(files) < 8 {
				t.Fatalf("only %d files", len(files))
			}
			bad := tt.harm(t, files)
			lines, err := OpenLines(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer lines.Close()
			got, err := Verify(context.Background(), lines, Options{Trust: trusting(t, l.key)})
			switch {
			case err != nil:
				t.Fatal(err)
			case tt.want == nil && (got.Bad != nil || got.Entries != 700):
				t.Errorf("%+v, %v", got, got.Bad)
			case tt.want != nil && (got.Bad == nil || got.Bad.Kind != tt.want[0] || bad >= 0 && got.Bad.Index != bad || got.Bad.Place == ""):
				t.Errorf("%v, want %v at %d", got.Bad, tt.want, bad)
			}
		})
	}
	if _, err := OpenLines(t.TempDir()); err == nil {
		t.Error("an empty directory is an export")
	}
	dir, _ := write(t)
	if s, err := NewSplit(dir); err == nil {
		if _, err := s.Write([]byte("x\n")); err == nil {
			t.Error("an export is written over another")
		}
	}
}
