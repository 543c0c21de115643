package proof

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/google/uuid"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/journal"
)

const testOrigin = "tollgate/test"

var noon = time.Date(2026, 11, 14, 12, 0, 0, 0, time.UTC)

// signed is an entry of a log as it was written.
type signed struct {
	writer journal.Writer
	raw    journal.Raw
}

// testLog is a log in memory: what was written, in order, and what was signed.
type testLog struct {
	t       testing.TB
	key     Key
	entries []signed
	begun   map[journal.Writer]Begun
	ends    map[string]Last // by replica
	seqs    map[journal.Writer]uint64
	chains  map[journal.Writer]journal.Chain
	notes   []signedNote
}

type signedNote struct {
	size int64
	msg  []byte
}

func testKey(t testing.TB, n byte) Key {
	t.Helper()
	k, err := NewKey(testOrigin, bytes.Repeat([]byte{n}, KeyBytes))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newTestLog(t testing.TB) *testLog {
	return &testLog{t: t, key: testKey(t, 1), begun: map[journal.Writer]Begun{}, ends: map[string]Last{}, seqs: map[journal.Writer]uint64{}, chains: map[journal.Writer]journal.Chain{}}
}

func testEntry(n int) []byte {
	at := noon.Add(time.Duration(n) * time.Second)
	e := ledger.Entry{ID: ledger.ID{0: 1, 14: byte(n >> 8), 15: byte(n)}, Time: at, Kind: ledger.Denied, Action: "tool.call", Upstream: "tracker", Target: fmt.Sprintf("tool-%d", n)}
	return e.Append(nil)
}

// write appends entries of a replica's writer.
func (l *testLog) write(replica string, w byte, count int) {
	writer := journal.Writer{w}
	if _, ok := l.begun[writer]; !ok {
		l.begun[writer] = Begun{Writer: uuid.UUID(writer), Replica: replica, After: l.ends[replica]}
		l.chains[writer] = journal.Begin(writer, journal.Chain(l.ends[replica].Chain))
	}
	for range count {
		l.seqs[writer]++
		var b []byte
		b, l.chains[writer] = journal.AppendRaw(nil, l.chains[writer], l.seqs[writer], testEntry(len(l.entries)))
		raw, _, err := journal.ReadRaw(b)
		if err != nil {
			l.t.Fatal(err)
		}
		l.entries = append(l.entries, signed{writer, raw})
		l.ends[replica] = Last{uuid.UUID(writer), raw.Seq, tlog.Hash(raw.Chain)}
	}
}

func (l *testLog) leaves() []tlog.Hash {
	var h Hasher
	var out []tlog.Hash
	for _, e := range l.entries {
		out = append(out, h.Leaf(e.writer, e.raw.Bytes))
	}
	return out
}

// subtree computes a root from leaves the slow way.
func subtree(leaves []tlog.Hash) tlog.Hash {
	if len(leaves) == 1 {
		return leaves[0]
	}
	k := 1
	for k*2 < len(leaves) {
		k *= 2
	}
	return tlog.NodeHash(subtree(leaves[:k]), subtree(leaves[k:]))
}

// sign signs all entries so far.
func (l *testLog) sign(keys ...Key) []byte { return l.signAt(len(l.entries), "", keys...) }

func (l *testLog) signAt(size int, next string, keys ...Key) []byte {
	if len(keys) == 0 {
		keys = []Key{l.key}
	}
	c := Checkpoint{Origin: testOrigin, Size: int64(size), Root: subtree(l.leaves()[:size]), Time: noon.Add(time.Duration(size) * time.Second), Next: next}
	msg, err := c.Sign(keys...)
	if err != nil {
		l.t.Fatal(err)
	}
	l.notes = append(l.notes, signedNote{int64(size), msg})
	return msg
}

// export writes the entries of a range; the last checkpoint must be over the whole log.
func (l *testLog) export(from, to int64) []string {
	l.t.Helper()
	leaves := l.leaves()
	h := Header{Origin: testOrigin, From: from, To: to, Size: int64(len(leaves))}
	roots := func(a, b int64) []tlog.Hash {
		var out []tlog.Hash
		for _, s := range Between(a, b) {
			out = append(out, subtree(leaves[s.N<<s.Level:(s.N+1)<<s.Level]))
		}
		return out
	}
	h.Left, h.Right = roots(0, from), roots(to, h.Size)
	var out bytes.Buffer
	e, err := NewExport(&out, h)
	if err != nil {
		l.t.Fatal(err)
	}
	check := func(err error) {
		if err != nil {
			l.t.Fatal(err)
		}
	}
	begun := map[journal.Writer]bool{}
	lasts := map[journal.Writer]Last{}
	for i, s := range l.entries {
		if int64(i) >= from && int64(i) < to {
			if !begun[s.writer] {
				b := l.begun[s.writer]
				if last, ok := lasts[s.writer]; ok {
					b.After = last
				}
				check(e.Begin(b))
				begun[s.writer] = true
			}
			check(e.Entry(int64(i), s.writer, s.raw))
		}
		lasts[s.writer] = Last{uuid.UUID(s.writer), s.raw.Seq, tlog.Hash(s.raw.Chain)}
		for _, n := range l.notes {
			if n.size == int64(i)+1 && n.size >= from && (n.size <= to || n.size == h.Size && int64(i) == h.Size-1) {
				check(e.Checkpoint(n.msg))
			}
		}
	}
	lines := strings.SplitAfter(out.String(), "\n")
	return lines[:len(lines)-1]
}

func verifyLines(t testing.TB, lines []string, o Options) Report {
	t.Helper()
	if o.Trust == nil {
		o.Trust = trusting(t, testKey(t, 1))
	}
	r, err := Verify(context.Background(), NewLines(strings.NewReader(strings.Join(lines, ""))), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func trusting(t testing.TB, keys ...Key) *Trust {
	t.Helper()
	var texts []string
	for _, k := range keys {
		texts = append(texts, k.Verifier())
	}
	trust, err := NewTrust(texts...)
	if err != nil {
		t.Fatal(err)
	}
	return trust
}
