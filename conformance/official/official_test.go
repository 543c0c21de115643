package official

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// left writes a run's checks as the suite does: by scenario, as status after status.
func left(t *testing.T, scenarios map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, statuses := range scenarios {
		d := filepath.Join(dir, name+"-2026-11-24T19-51-10-264Z")
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
		var checks []string
		for _, s := range strings.Fields(statuses) {
			checks = append(checks, `{"id":"a-check","status":"`+s+`","errorMessage":"why"}`)
		}
		if err := os.WriteFile(filepath.Join(d, "checks.json"), []byte("["+strings.Join(checks, ",")+"]"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestChecksAreJudged(t *testing.T) {
	r, err := read(left(t, map[string]string{
		"server-good": "SUCCESS INFO", "server-bad": "SUCCESS FAILURE", "server-warned": "SUCCESS WARNING",
		"server-empty": "", "server-extra": "FAILURE", "auth/login": "FAILURE",
	}), []string{"good", "bad", "warned", "empty", "absent", "auth/login"})
	if err != nil {
		t.Fatal(err)
	}
	r, left := r.Without("auth/")
	if passed, all := r.Count(true); passed != 2 || all != 5 || left != 1 {
		t.Errorf("%d of %d passed, %d left out", passed, all, left)
	}
	if passed, all := r.Count(false); passed != 0 || all != 1 {
		t.Errorf("%d of %d unscored passed", passed, all)
	}
	want := []string{"absent failed: it was not run", "empty failed: ", "good passes: take it from the list of expected failures", "gone is expected to fail and is no scored scenario"}
	if got := r.Unexpected([]string{"bad", "good", "gone"}); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for _, line := range []string{"scored 2/5, unscored 0/1", "✗ bad\n      a-check: why", "! warned", "✗ extra (unscored)"} {
		if !strings.Contains(r.String(), line) {
			t.Errorf("no %q in\n%s", line, r)
		}
	}
}

func TestARunThatLeftNothingIsAnError(t *testing.T) {
	if _, err := read(t.TempDir(), []string{"good"}); err == nil {
		t.Error("read")
	}
	s := &Suite{Command: []string{"false"}, Package: t.TempDir()}
	if _, err := s.Run(t.Context(), Server, "2025-11-25", "http://127.0.0.1:1", t.TempDir()); err == nil {
		t.Error("ran without requirements")
	}
}

func TestEveryExpectedFailureSaysWhy(t *testing.T) {
	file := filepath.Join(t.TempDir(), "list.yaml")
	for text, want := range map[string]string{
		"server:\n  # why\n  - a\n  - b # why\n": "",
		"server: []\n":                           "",
		"server:\n  # why\n  - a\n  - b\n":       "b has no comment",
		"client: []\n":                           "no list named server",
	} {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Expected(file, Server); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	lists, err := filepath.Glob("*.yaml")
	if err != nil || len(lists) != 6 {
		t.Fatalf("%v %v", lists, err)
	}
	for _, list := range lists {
		role := Server
		if strings.HasPrefix(list, "client-") {
			role = Client
		}
		if _, err := Expected(list, role); err != nil {
			t.Error(err)
		}
	}
}
