package peers

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestWhatIsInstalledIsInstalledOnceForEachList(t *testing.T) {
	dir := t.TempDir()
	list := filepath.Join(dir, "list.txt")
	write := func(text string) {
		if err := os.WriteFile(list, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	check := func(when string, needed bool) *freshness {
		t.Helper()
		f, err := once(dir, list)
		if err != nil || f.needed != needed {
			t.Fatalf("%s: needed %v, %v", when, f.needed, err)
		}
		return f
	}
	write("a==1")
	first := check("nothing is installed", true)
	check("nothing was finished", true)
	if err := first.done(); err != nil {
		t.Fatal(err)
	}
	check("it is installed", false)
	write("a==2")
	check("the list has changed", true)
	if _, err := once(dir, filepath.Join(dir, "missing.txt")); err == nil {
		t.Error("a list that is not there was read")
	}
}

func TestScriptsGoBesideTheirPackages(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	for name, text := range map[string]string{"a.mjs": "new", "b.mjs": "new"} {
		if err := os.WriteFile(filepath.Join(from, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(to, "a.mjs"), []byte("an older one, longer"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := copyFiles(to, from); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a.mjs", "b.mjs"} {
		if got, err := os.ReadFile(filepath.Join(to, name)); err != nil || string(got) != "new" {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
}

// A script prints JSON of what it was given on its standard input; sh stands for node and python.
func TestScriptsAreGivenAndGiveJSON(t *testing.T) {
	dir := t.TempDir()
	script := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	script("cat.sh", `cat`)
	script("fails.sh", `echo the reason >&2; exit 1`)
	script("talks.sh", `echo hello`)
	script("leads.sh", `printf '"%s"' "$OPENAI_BASE_URL$ANTHROPIC_API_KEY"`)
	t.Setenv("OPENAI_BASE_URL", "http://elsewhere.example")
	t.Setenv("ANTHROPIC_API_KEY", "real")
	var got []string
	if err := run(t.Context(), dir, "sh", "cat.sh", []string{"a", "b"}, &got); err != nil || !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("cat: %q, %v", got, err)
	}
	if err := run(t.Context(), dir, "sh", "fails.sh", nil, &got); err == nil || !strings.Contains(err.Error(), "the reason") {
		t.Errorf("fails: %v", err)
	}
	if err := run(t.Context(), dir, "sh", "talks.sh", nil, &got); err == nil || !strings.Contains(err.Error(), "no JSON") {
		t.Errorf("talks: %v", err)
	}
	led := "?"
	if err := run(t.Context(), dir, "sh", "leads.sh", nil, &led); err != nil || led != "" {
		t.Errorf("the environment would lead an SDK elsewhere: %q, %v", led, err)
	}
}

func TestAModuleIsInstalledOnceForEachVersion(t *testing.T) {
	root := t.TempDir()
	program := filepath.Join(root, ".cache", "go", "example.com", "tool@v1.0.0", "tool")
	if err := os.MkdirAll(filepath.Dir(program), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := InstallModule(t.Context(), root, os.Stderr, "example.com/tool@v1.0.0"); err != nil || got != program {
		t.Errorf("%s, %v", got, err)
	}
	if _, err := InstallModule(t.Context(), root, os.Stderr, "example.com/tool"); err == nil {
		t.Error("installed without a version")
	}
}
