package proof

import (
	"strings"
	"testing"
)

// Whatever an export says: reading it ends, and nothing verifies but what was signed.
func FuzzExport(f *testing.F) {
	l := newTestLog(f)
	l.write("a", 1, 3)
	l.sign()
	l.write("b", 2, 2)
	l.sign()
	sound := l.export(0, 5)
	f.Add(strings.Join(sound, ""))
	f.Add(strings.Join(l.export(2, 4), ""))
	f.Add(strings.Join(sound[:4], ""))
	f.Add(`{"export":{"version":1,"from":9223372036854775807,"to":9223372036854775807,"size":9223372036854775807}}`)
	f.Add(`{"export":{"version":1,"from":0,"to":0,"size":9223372036854775807}}`)
	genuine := map[string]bool{}
	for _, line := range sound {
		if strings.HasPrefix(line, `{"index":`) {
			genuine[strings.TrimSuffix(line, "\n")] = true
		}
	}
	f.Fuzz(func(t *testing.T, text string) {
		r := verifyLines(t, strings.SplitAfter(text, "\n"), Options{})
		if r.Bad != nil || !r.Spelled {
			return
		}
		for line := range strings.Lines(text) {
			if line = strings.TrimSuffix(line, "\n"); strings.HasPrefix(line, `{"index":`) && !genuine[line] {
				t.Errorf("an entry that was never signed is believed: %s", line)
			}
		}
	})
}

func FuzzCheckpoint(f *testing.F) {
	l := newTestLog(f)
	l.write("a", 1, 3)
	msg := l.sign()
	f.Add(string(msg))
	f.Add(strings.Replace(string(msg), "time", "tide", 1))
	f.Add(string(l.signAt(3, testKey(f, 2).Verifier(), testKey(f, 1), testKey(f, 2))))
	f.Fuzz(func(t *testing.T, text string) {
		c, err := trusting(t, testKey(t, 1)).Open([]byte(text))
		if err == nil && (c.Size != 3 || c.Origin != testOrigin) {
			t.Errorf("a checkpoint that was never signed is believed: %q", text)
		}
		if c, err := ReadCheckpoint([]byte(text)); err == nil {
			again, err := parseCheckpoint(c.text())
			if err != nil || again != c {
				t.Errorf("%+v is written and read as %+v, %v", c, again, err)
			}
		}
	})
}

func FuzzProof(f *testing.F) {
	l := newTestLog(f)
	l.write("a", 1, 1)
	p := Proof{Checkpoint: string(l.sign()), Entries: []Included{Include(0, l.entries[0].writer, l.entries[0].raw, nil)}}
	sound, err := p.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(sound))
	f.Add(`{"tollgate_proof":1,"checkpoint":"","entries":[{"index":0,"frame":"AAAA"}]}`)
	f.Add(`{"tollgate_proof":1,"checkpoint":"x","older":"y","hashes":["AAAA"]}`)
	f.Fuzz(func(t *testing.T, text string) {
		r, err := VerifyProof([]byte(text), trusting(t, testKey(t, 1)), false)
		if err == nil && r.Bad == nil && (r.Size != 1 || r.Origin != testOrigin) {
			t.Errorf("believed: %s", text)
		}
	})
}
