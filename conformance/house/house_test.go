package house

import (
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/tools/txtar"
)

func TestRepositoryKeepsItsRules(t *testing.T) {
	findings, err := Check(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range findings {
		t.Error(f)
	}
}

// Each archive in testdata is a small tree; the lines of its comment that start with "finds " say what must be found,
// as a part of the finding's text, and nothing else may be.
func TestPlantedBreakagesAreFound(t *testing.T) {
	archives, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(archives) == 0 {
		t.Fatalf("no archives: %v", err)
	}
	for _, name := range archives {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			compare(t, wanted(string(archive.Comment)), tree(archive))
		})
	}
}

func wanted(comment string) []string {
	var want []string
	for line := range strings.Lines(comment) {
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "finds "); ok {
			want = append(want, text)
		}
	}
	return want
}

func tree(archive *txtar.Archive) fs.FS {
	fsys := fstest.MapFS{}
	for _, f := range archive.Files {
		fsys[f.Name] = &fstest.MapFile{Data: f.Data}
	}
	return fsys
}

func compare(t *testing.T, want []string, fsys fs.FS) {
	t.Helper()
	findings, err := Check(fsys)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range findings {
		got = append(got, f.String())
	}
	sort.Strings(want)
	sort.Strings(got)
	for _, w := range want {
		if !takeContaining(&got, w) {
			t.Errorf("not found: %s", w)
		}
	}
	for _, g := range got {
		t.Errorf("found, but not expected: %s", g)
	}
}

// takeContaining removes the first text of list that contains part.
func takeContaining(list *[]string, part string) bool {
	for i, text := range *list {
		if strings.Contains(text, part) {
			*list = append((*list)[:i:i], (*list)[i+1:]...)
			return true
		}
	}
	return false
}
