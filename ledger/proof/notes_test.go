package proof

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

func TestCheckpointsFromElsewhere(t *testing.T) {
	l := twoReplicas(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	line := func(i int) string {
		b, err := json.Marshal(map[string]string{"checkpoint": string(l.notes[i].msg)})
		if err != nil {
			t.Fatal(err)
		}
		return string(b) + "\n"
	}
	one := write("a.txt", string(l.notes[0].msg))
	write("b.jsonl", line(1)+`{"checkpoint":"to`+"\n"+line(2)+`{"che`)
	write("c.other", "x")
	for path, want := range map[string]int{one: 1, filepath.Join(dir, "b.jsonl"): 2, dir: 3} {
		notes, err := ReadNotes(path)
		if err != nil || len(notes) != want {
			t.Errorf("%s: %d checkpoints, %v", path, len(notes), err)
			continue
		}
		if got := verifyLines(t, l.export(0, 700), Options{Outside: notes}); got.Bad != nil || got.Checkpoints != 3+want {
			t.Errorf("%s: %+v, %v", path, got, got.Bad)
		}
	}
	for _, path := range []string{filepath.Join(dir, "none"), t.TempDir(), write("empty", "")} {
		if _, err := ReadNotes(path); err == nil {
			t.Errorf("%s has checkpoints", path)
		}
	}
}
