package proof

import (
	"encoding/json"
	"strings"
	"testing"
)

// Who changes what is spelled out cannot have the comparison left out by naming another form of it.
func TestUnknownFormIsNotTaken(t *testing.T) {
	l := twoReplicas(t)
	lines := l.export(0, 700)
	lines[0] = strings.Replace(lines[0], rendering(), "00000000", 1)
	at := entryAt(lines, 5)
	lines[at] = strings.Replace(lines[at], "tool-5", "tool-6", 1)
	if got := verifyLines(t, lines, Options{}); got.Bad == nil || got.Bad.Kind != Malformed {
		t.Errorf("%+v", got)
	}
	if got := verifyLines(t, lines, Options{FramesOnly: true}); got.Bad != nil || got.Spelled || got.Entries != 700 {
		t.Errorf("the frames alone: %+v, %v", got, got.Bad)
	}
	p := Proof{Version: formatVersion, Checkpoint: string(l.notes[2].msg), Rendering: "00000000", Entries: []Included{{Entry: json.RawMessage("{}")}}}
	document, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := VerifyProof(document, trusting(t, l.key), false); err != nil || got.Bad == nil || got.Bad.Kind != Malformed {
		t.Errorf("a proof: %+v, %v", got, err)
	}
}

// A key that was replaced, as a checkpoint from elsewhere says, does not count in an export that leaves the replacement out.
func TestReplacedKeyDoesNotCount(t *testing.T) {
	first, second := testKey(t, 1), testKey(t, 2)
	l := newTestLog(t)
	l.write("a", 1, 10)
	l.sign(first)
	l.write("a", 1, 10)
	introduced := l.signAt(20, second.Verifier(), first, second)
	l.write("a", 1, 10)
	l.notes = l.notes[:1]
	l.sign(first)
	for _, keys := range [][]Key{{first}, {first, second}} {
		got := verifyLines(t, l.export(0, 30), Options{Trust: trusting(t, keys...), Outside: [][]byte{introduced}})
		if got.Bad == nil || got.Bad.Kind != WrongKey {
			t.Errorf("%d keys: %+v", len(keys), got)
		}
	}
	l.notes = l.notes[:1]
	l.signAt(30, "", second)
	if got := verifyLines(t, l.export(0, 30), Options{Trust: trusting(t, first), Outside: [][]byte{introduced}}); got.Bad != nil {
		t.Errorf("the key in force: %v", got.Bad)
	}
}

// An export of nothing, which no checkpoint covers, proves nothing.
func TestEmptyExportNeedsACheckpoint(t *testing.T) {
	l := twoReplicas(t)
	lines := l.export(700, 700)
	if got := verifyLines(t, lines[:1], Options{}); got.Bad == nil || got.Bad.Kind != Uncovered {
		t.Errorf("%+v", got)
	}
}
