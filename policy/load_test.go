package policy

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const (
	oneRule  = `{version: 1, rules: [{id: all, effect: allow, tools: ["*"]}]}`
	commit   = "3f2a5c7d9e0142b68fa1c3d5e7f90a1b2c3d4e5f"
	oneHash  = 32
	longHash = "1111111111111111111111111111111111111111111111111111111111111111"
)

func TestLoadReadsPolicyFilesOnly(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.yaml": oneRule, "b.yml": `{version: 1, rules: [{id: b, effect: deny, tools: ["x/*"]}]}`,
		"a_test.yaml": "not: [a policy", "b_test.yml": "x", "README.md": "x", ".hidden.yaml": "x", "below/c.yaml": "x", "yaml": "x",
	} {
		writeFile(t, filepath.Join(dir, name), []byte(text))
	}
	if err := os.Symlink("a.yaml", filepath.Join(dir, ".a-link")); err != nil {
		t.Fatal(err)
	}
	s, err := Load(dir, Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range s.Rules() {
		got = append(got, r.File+" "+r.ID)
	}
	if !slices.Equal(got, []string{"a.yaml all", "b.yml b"}) {
		t.Errorf("got %v", got)
	}
}

func TestLoadRefuses(t *testing.T) {
	dir := t.TempDir()
	if _, err := Load(filepath.Join(dir, "missing"), Options{}); err == nil || !strings.Contains(err.Error(), "reading policies") {
		t.Errorf("no directory: %v", err)
	}
	writeFile(t, filepath.Join(dir, "good.yaml"), []byte(oneRule))
	writeFile(t, filepath.Join(dir, "bad.yaml"), []byte(`{version: 1, rules: [{id: b, effect: den, tools: ["x/*"]}]}`))
	if s, err := Load(dir, Options{}); err == nil || s != nil || !strings.HasPrefix(err.Error(), "bad.yaml:1: ") {
		t.Errorf("one bad file of two: %v, %v", s, err)
	}
	if err := os.Remove(filepath.Join(dir, "bad.yaml")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "dir.yaml"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir, Options{}); err == nil || !strings.Contains(err.Error(), "not a regular file") {
		t.Errorf("a directory of that name: %v", err)
	}
}

func TestLoadTakesLinkedFiles(t *testing.T) {
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "..data", "x"), []byte(oneRule))
	if err := os.Symlink(filepath.Join("..data", "x"), filepath.Join(dir, "x.yaml")); err != nil {
		t.Fatal(err)
	}
	if s, err := Load(dir, Options{}); err != nil || len(s.Rules()) != 1 {
		t.Errorf("%v", err)
	}
}

// The revision changes with every byte and name that was read, and with nothing else.
func TestRevisionIsOfTheContent(t *testing.T) {
	base := map[string]string{"a.yaml": oneRule}
	load := func(files map[string]string) string {
		t.Helper()
		dir := t.TempDir()
		for name, text := range files {
			writeFile(t, filepath.Join(dir, name), []byte(text))
		}
		s, err := Load(dir, Options{})
		if err != nil {
			t.Fatal(err)
		}
		return s.Revision()
	}
	with := func(name, text string) map[string]string {
		out := maps.Clone(base)
		out[name] = text
		return out
	}
	first := load(base)
	if len(first) != oneHash || load(base) != first || load(with("x_test.yaml", "x")) != first {
		t.Errorf("the same rules have other revisions: %q", first)
	}
	for _, other := range []map[string]string{with("a.yaml", oneRule+"\n"), with("b.yaml", "version: 1"), {"b.yaml": oneRule}} {
		if load(other) == first {
			t.Errorf("%v has the same revision", other)
		}
	}
}

func TestRevisionNamesTheCommit(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string // of the repository
		want  string            // before the +
	}{
		"branch":          {map[string]string{".git/HEAD": "ref: refs/heads/main\n", ".git/refs/heads/main": commit + "\n"}, commit[:12]},
		"detached":        {map[string]string{".git/HEAD": commit + "\n"}, commit[:12]},
		"sha-256":         {map[string]string{".git/HEAD": longHash + "\n"}, longHash[:12]},
		"packed":          {map[string]string{".git/HEAD": "ref: refs/heads/a/b\n", ".git/packed-refs": "# pack-refs with: peeled\n" + longHash[:40] + " refs/heads/a\n^" + longHash[:40] + "\n" + commit + " refs/heads/a/b\n"}, commit[:12]},
		"loose wins":      {map[string]string{".git/HEAD": "ref: refs/heads/m\n", ".git/refs/heads/m": commit, ".git/packed-refs": longHash[:40] + " refs/heads/m\n"}, commit[:12]},
		"no commit yet":   {map[string]string{".git/HEAD": "ref: refs/heads/main\n"}, ""},
		"too short":       {map[string]string{".git/HEAD": "3f2a5c"}, ""},
		"garbage":         {map[string]string{".git/HEAD": "<html>"}, ""},
		"leads out":       {map[string]string{".git/HEAD": "ref: ../outside\n", "outside": commit}, ""},
		"empty directory": {map[string]string{".git/config": ""}, ""},
		"worktree": {map[string]string{
			".git": "gitdir: main/.git/worktrees/w\n", "main/.git/worktrees/w/HEAD": "ref: refs/heads/w\n",
			"main/.git/worktrees/w/commondir": "../..\n", "main/.git/refs/heads/w": commit + "\n"}, commit[:12]},
		"broken worktree": {map[string]string{".git": "nothing"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for file, text := range c.files {
				writeFile(t, filepath.Join(dir, file), []byte(text))
			}
			writeFile(t, filepath.Join(dir, "deep", "policies", "a.yaml"), []byte(oneRule))
			s, err := Load(filepath.Join(dir, "deep", "policies"), Options{})
			if err != nil {
				t.Fatal(err)
			}
			before, _, found := strings.Cut(s.Revision(), "+")
			if !found {
				before = ""
			}
			if before != c.want {
				t.Errorf("got %q, want %q before the +", s.Revision(), c.want)
			}
		})
	}
}

// Two files whose joined bytes are equal are still told apart.
func TestContentHashKeepsParts(t *testing.T) {
	a := contentHash(map[string][]byte{"a": []byte("bc")})
	b := contentHash(map[string][]byte{"ab": []byte("c")})
	if a == b {
		t.Error("names and contents run together")
	}
}
