package proof

import (
	"strings"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/journal"
)

// broken is an export of a log in which a second writer begins behind the third of five entries of the first; tells says
// whether its first entry is that of a salvage.
func broken(t *testing.T, tells bool) []string {
	l := newTestLog(t)
	l.write("a", 1, 3)
	third := l.ends["a"]
	l.write("a", 1, 2)
	l.ends["a"] = third
	l.write("a", 2, 0)
	if tells {
		e := ledger.Entry{ID: ledger.ID{9}, Time: noon, Kind: ledger.Admin, Action: ledger.SalvageAction, Status: ledger.OK}
		w := journal.Writer{2}
		b, chain := journal.AppendRaw(nil, l.chains[w], 1, e.Append(nil))
		raw, _, err := journal.ReadRaw(b)
		if err != nil {
			t.Fatal(err)
		}
		l.seqs[w], l.chains[w] = 1, chain
		l.entries = append(l.entries, signed{w, raw})
	}
	l.write("a", 2, 2)
	l.sign()
	lines := l.export(0, int64(len(l.entries)))
	for i, line := range lines { // its announcement stands behind the third entry
		if strings.Contains(line, `"writer":{`) && i > 2 {
			copy(lines[6:i+1], lines[5:i])
			lines[5] = line
		}
	}
	return lines
}

func TestOnlyASalvageBreaksALine(t *testing.T) {
	if got := verifyLines(t, broken(t, true), Options{}); got.Bad != nil || got.Salvages != 1 || got.Entries != 8 {
		t.Errorf("%+v, %v", got, got.Bad)
	}
	if got := verifyLines(t, broken(t, false), Options{}); got.Bad == nil || got.Bad.Kind != Inserted || got.Bad.Index != 5 {
		t.Errorf("a fork that does not say that it is a salvage: %v", got.Bad)
	}
	lines := broken(t, true)
	if got := verifyLines(t, append(lines[:6:6], lines[8:]...), Options{}); got.Bad == nil {
		t.Error("what a salvage gave up was left out")
	}
}

func TestLostEntriesAreTold(t *testing.T) {
	l := newTestLog(t)
	l.write("a", 1, 5)
	l.sign()
	lines := l.export(0, 5)
	var h Hasher
	second := entryLine{index: 1, writer: journal.Writer{1}, hash: h.Leaf(journal.Writer{1}, l.entries[1].raw.Bytes)}
	lines[3] = string(appendEntry(nil, &second, []byte("null")))
	if got := verifyLines(t, lines, Options{AcceptLost: true}); got.Bad != nil || got.Lost != 1 || got.Entries != 4 {
		t.Errorf("%+v, %v", got, got.Bad)
	}
	if got := verifyLines(t, lines, Options{}); got.Bad == nil || got.Bad.Kind != Lost || got.Bad.Index != 1 {
		t.Errorf("nobody said that lost entries are accepted: %v", got.Bad)
	}
	second.hash = tlog.Hash{1}
	lines[3] = string(appendEntry(nil, &second, []byte("null")))
	if got := verifyLines(t, lines, Options{AcceptLost: true}); got.Bad == nil {
		t.Error("another hash in the place of a lost entry")
	}
}
