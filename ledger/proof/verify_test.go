package proof

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/tollgate/tollgate/ledger/journal"
)

// twoReplicas is a log of 700 entries of two replicas, the first of which was started again, with some checkpoints.
func twoReplicas(t testing.TB) *testLog {
	l := newTestLog(t)
	l.write("a", 1, 200)
	l.write("b", 2, 56)
	l.sign()
	l.write("a", 1, 100)
	l.write("a", 3, 150)
	l.sign()
	l.write("b", 2, 94)
	l.write("a", 3, 100)
	l.sign()
	return l
}

func TestSoundExportsVerify(t *testing.T) {
	l := twoReplicas(t)
	for _, r := range [][2]int64{{0, 700}, {0, 1}, {0, 255}, {0, 256}, {256, 700}, {300, 400}, {511, 513}, {699, 700}, {256, 256}} {
		got := verifyLines(t, l.export(r[0], r[1]), Options{})
		if got.Bad != nil || got.Entries != r[1]-r[0] || got.To != r[1] || got.Size != 700 || !got.Spelled || got.Checkpoints == 0 {
			t.Errorf("%v: %+v, %v", r, got, got.Bad)
		}
	}
	for _, n := range l.notes {
		if got := verifyLines(t, l.export(0, 700), Options{Outside: [][]byte{n.msg}}); got.Bad != nil || got.Checkpoints != 4 || got.Unchecked != 0 {
			t.Errorf("against the checkpoint over %d: %+v, %v", n.size, got, got.Bad)
		}
	}
	if got := verifyLines(t, l.export(300, 400), Options{Outside: [][]byte{l.notes[0].msg}}); got.Bad != nil || got.Unchecked != 1 {
		t.Errorf("a checkpoint before the range: %+v, %v", got, got.Bad)
	}
}

// entryAt is the number of the line of an entry.
func entryAt(lines []string, index int) int {
	for i, line := range lines {
		if strings.HasPrefix(line, fmt.Sprintf(`{"index":%d,`, index)) {
			return i
		}
	}
	return -1
}

// resealed makes an entry's line anew around a changed frame: checksum and hash fit, the chain value stays unless chain.
func resealed(t testing.TB, line string, before *journal.Chain, payload func([]byte) []byte) (string, journal.Chain) {
	t.Helper()
	var l entryLine
	if err := parseEntry([]byte(strings.TrimSuffix(line, "\n")), &l); err != nil {
		t.Fatal(err)
	}
	raw, _, err := journal.ReadRaw(l.frame)
	if err != nil {
		t.Fatal(err)
	}
	changed := payload(bytes.Clone(raw.Payload))
	prior := journal.Chain{}
	if before != nil {
		prior = *before
	}
	frame, chain := journal.AppendRaw(nil, prior, raw.Seq, changed)
	if before == nil { // keep the old chain value, with a checksum that fits
		chain = raw.Chain
		frame = withChain(frame, chain)
	}
	made, _, err := journal.ReadRaw(frame)
	if err != nil {
		t.Fatal(err)
	}
	return lineOf(l.index, l.writer, made), chain
}

func lineOf(index int64, w journal.Writer, raw journal.Raw) string {
	var h Hasher
	var r renderer
	l := entryLine{index: index, writer: w, hash: h.Leaf(w, raw.Bytes), frame: raw.Bytes}
	return string(appendEntry(nil, &l, r.entry(w, &raw)))
}

func edit(payload []byte) []byte {
	return bytes.Replace(payload, []byte("tracker"), []byte("TRACKER"), 1)
}

// renumbered gives the entries from a line on the indexes that follow.
func renumbered(t testing.TB, lines []string) []string {
	t.Helper()
	next := int64(0)
	out := append([]string(nil), lines...)
	for i, line := range out {
		if !strings.HasPrefix(line, `{"index":`) {
			continue
		}
		_, rest, _ := strings.Cut(line, ",")
		out[i] = fmt.Sprintf(`{"index":%d,%s`, next, rest)
		next++
	}
	return out
}

func header(t testing.TB, line string, change func(*Header)) string {
	t.Helper()
	var h struct {
		Export Header `json:"export"`
	}
	if err := json.Unmarshal([]byte(line), &h); err != nil {
		t.Fatal(err)
	}
	change(&h.Export)
	b, err := json.Marshal(h)
	if err != nil {
		t.Fatal(err)
	}
	return string(b) + "\n"
}

// Every kind of harm at every kind of place is found and the first bad entry named.
func TestHarmIsFoundAndNamed(t *testing.T) {
	l := twoReplicas(t)
	sound := l.export(0, 700)
	lines := func() []string { return slices.Clone(sound) }
	drop := func(s []string, i, n int) []string { return append(append([]string(nil), s[:i]...), s[i+n:]...) }
	put := func(s []string, i int, line ...string) []string {
		return append(append(append([]string(nil), s[:i]...), line...), s[i:]...)
	}
	// The first and last entry, the edges of blocks and of writers, both sides of a checkpoint, and some in the middle.
	places := []int{0, 1, 100, 199, 200, 254, 255, 256, 257, 355, 356, 505, 506, 511, 512, 599, 600, 698, 699}
	type result struct {
		kinds []Kind
		index []int64
	}
	is := func(k Kind, i int) result { return result{[]Kind{k}, []int64{int64(i)}} }
	lastSigned := func(i int) int64 { // the size of the last checkpoint before entry i
		size := int64(0)
		for _, n := range l.notes {
			if n.size <= int64(i) {
				size = n.size
			}
		}
		return size
	}
	sameWriter := func(i int) bool { return i+1 < len(l.entries) && l.entries[i].writer == l.entries[i+1].writer }
	for _, tt := range []struct {
		name string
		harm func(s []string, at, i int) ([]string, result)
	}{
		{"a field of the frame", func(s []string, at, i int) ([]string, result) {
			var e entryLine
			if err := parseEntry([]byte(strings.TrimSuffix(s[at], "\n")), &e); err != nil {
				t.Fatal(err)
			}
			raw := l.entries[i].raw
			raw.Bytes = edit(bytes.Clone(raw.Bytes))
			s[at] = lineOf(int64(i), e.writer, raw)
			return s, is(Edited, i)
		}},
		{"a field that is spelled out", func(s []string, at, i int) ([]string, result) {
			s[at] = strings.Replace(s[at], `"tracker"`, `"TRACKER"`, 1)
			return s, is(Edited, i)
		}},
		{"a field, the hash left", func(s []string, at, i int) ([]string, result) {
			old := s[at]
			s[at], _ = resealed(t, s[at], nil, edit)
			_, hash, _ := strings.Cut(old, `"hash":`)
			_, made, _ := strings.Cut(s[at], `"hash":`)
			s[at] = strings.Replace(s[at], made[:46], hash[:46], 1)
			return s, is(Edited, i)
		}},
		{"a field, checksum and hash made anew", func(s []string, at, i int) ([]string, result) {
			s[at], _ = resealed(t, s[at], nil, edit)
			return s, is(Edited, i)
		}},
		{"a field, chain value made anew too", func(s []string, at, i int) ([]string, result) {
			before := l.before(i)
			s[at], _ = resealed(t, s[at], &before, edit)
			// Found at the entry of the same writer that follows, which does not continue it; it names this one, too. Without
			// one the writer that follows says so, or the tree.
			for j := i + 1; j < len(l.entries); j++ {
				if l.entries[j].writer == l.entries[i].writer {
					for _, n := range l.notes { // a checkpoint in between comes first
						if n.size > int64(i) && n.size <= int64(j) {
							return s, result{[]Kind{Rewritten}, []int64{lastSigned(i)}}
						}
					}
					return s, is(Edited, j)
				}
			}
			return s, result{[]Kind{Rewritten, Edited}, []int64{lastSigned(i), int64(i) + 1}}
		}},
		{"a field, the chain made anew to the end", func(s []string, at, i int) ([]string, result) {
			changed := l.rewritten(func(e []signed) []signed { e[i].raw.Payload = edit(bytes.Clone(e[i].raw.Payload)); return e })
			return changed, result{[]Kind{Rewritten}, []int64{lastSigned(i)}}
		}},
		{"an index", func(s []string, at, i int) ([]string, result) {
			s[at] = strings.Replace(s[at], fmt.Sprintf(`{"index":%d,`, i), fmt.Sprintf(`{"index":%d,`, i+100000), 1)
			return s, is(Removed, i)
		}},
		{"another writer", func(s []string, at, i int) ([]string, result) {
			other := journal.Writer{9}
			s[at] = lineOf(int64(i), other, l.entries[i].raw)
			return s, is(Edited, i)
		}},
		{"removed", func(s []string, at, i int) ([]string, result) {
			kind := Removed
			if i == 699 {
				kind = Truncated
			}
			return drop(s, at, 1), is(kind, i)
		}},
		{"removed, the rest renumbered", func(s []string, at, i int) ([]string, result) {
			if !sameWriter(i) {
				return renumbered(t, drop(s, at, 1)), result{[]Kind{Removed, Truncated, Rewritten}, []int64{int64(i), lastSigned(i), 699}}
			}
			for _, n := range l.notes {
				if n.size == int64(i)+1 { // the checkpoint tells before the next entry does
					return renumbered(t, drop(s, at, 1)), result{[]Kind{Removed}, []int64{lastSigned(i)}}
				}
			}
			return renumbered(t, drop(s, at, 1)), is(Removed, i)
		}},
		{"removed, the chain made anew to the end", func(s []string, at, i int) ([]string, result) {
			changed := l.rewritten(func(e []signed) []signed { return append(e[:i], e[i+1:]...) })
			return changed, result{[]Kind{Removed, Rewritten, Truncated}, []int64{lastSigned(i), 699}}
		}},
		{"a copy inserted", func(s []string, at, i int) ([]string, result) {
			return put(s, at+1, s[at]), is(Inserted, i+1)
		}},
		{"a copy inserted, the rest renumbered", func(s []string, at, i int) ([]string, result) {
			return renumbered(t, put(s, at+1, s[at])), is(Inserted, i+1)
		}},
		{"a forged entry inserted", func(s []string, at, i int) ([]string, result) {
			forged, _ := resealed(t, s[at], nil, edit)
			return renumbered(t, put(s, at, forged)), is(Inserted, i)
		}},
		{"a forged entry that fits the chain inserted", func(s []string, at, i int) ([]string, result) {
			before := l.before(i)
			forged, _ := resealed(t, s[at], &before, edit)
			if !sameWriter(i) { // nothing follows that tells which of the two is true
				return renumbered(t, put(s, at, forged)), result{[]Kind{Inserted, Rewritten}, []int64{int64(i), int64(i) + 1, lastSigned(i)}}
			}
			return renumbered(t, put(s, at, forged)), is(Inserted, i)
		}},
		{"a forged entry inserted, the chain made anew to the end", func(s []string, at, i int) ([]string, result) {
			changed := l.rewritten(func(e []signed) []signed {
				return append(e[:i:i], append([]signed{e[i]}, e[i:]...)...)
			})
			return changed, result{[]Kind{Inserted, Rewritten}, []int64{lastSigned(i + 1), 700}}
		}},
		{"swapped with the next", func(s []string, at, i int) ([]string, result) {
			if !sameWriter(i) || entryAt(s, i+1) != at+1 {
				return nil, result{}
			}
			s[at], s[at+1] = s[at+1], s[at]
			return s, is(Reordered, i)
		}},
		{"swapped with the next, renumbered", func(s []string, at, i int) ([]string, result) {
			if !sameWriter(i) || entryAt(s, i+1) != at+1 {
				return nil, result{}
			}
			s[at], s[at+1] = s[at+1], s[at]
			return renumbered(t, s), is(Reordered, i)
		}},
		{"moved to the end", func(s []string, at, i int) ([]string, result) {
			if i == 699 {
				return nil, result{}
			}
			return put(drop(s, at, 1), len(s)-2, s[at]), is(Reordered, i)
		}},
		{"tail cut", func(s []string, at, i int) ([]string, result) { return s[:at], is(Truncated, i) }},
		{"tail cut, the header changed to fit", func(s []string, at, i int) ([]string, result) {
			s[0] = header(t, s[0], func(h *Header) { h.To, h.Size = int64(i), int64(i) })
			if lastSigned(i) == int64(i) {
				return s[:at], is(Truncated, i) // shows only against the newer checkpoint
			}
			return s[:at], result{[]Kind{Uncovered}, []int64{lastSigned(i)}}
		}},
		{"half a line at the end", func(s []string, at, i int) ([]string, result) {
			s = s[:at+1]
			s[at] = s[at][:len(s[at])/2]
			return s, is(Malformed, i)
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, i := range places {
				s := lines()
				harmed, want := tt.harm(s, entryAt(s, i), i)
				if harmed == nil {
					continue
				}
				got := verifyLines(t, harmed, Options{Outside: [][]byte{l.notes[len(l.notes)-1].msg}})
				ok := got.Bad != nil
				if ok {
					ok = false
					for _, k := range want.kinds {
						for _, index := range want.index {
							ok = ok || got.Bad.Kind == k && got.Bad.Index == index
						}
					}
				}
				if !ok {
					t.Errorf("entry %d: %v, want %v at %v", i, got.Bad, want.kinds, want.index)
				}
			}
		})
	}
}

// before is the chain value before an entry.
func (l *testLog) before(i int) journal.Chain {
	w := l.entries[i].writer
	for j := i - 1; j >= 0; j-- {
		if l.entries[j].writer == w {
			return l.entries[j].raw.Chain
		}
	}
	return journal.Begin(w, journal.Chain(l.begun[w].After.Chain))
}

// rewritten is an export in which entries were changed and everything after them made to fit, but for the checkpoints.
func (l *testLog) rewritten(change func([]signed) []signed) []string {
	c := newTestLog(l.t)
	entries := append([]signed(nil), l.entries...)
	replicas := map[journal.Writer]string{}
	for w, b := range l.begun {
		replicas[w] = b.Replica
	}
	for _, e := range change(entries) {
		replica := replicas[e.writer]
		if _, ok := c.begun[e.writer]; !ok {
			c.begun[e.writer] = Begun{Writer: uuid.UUID(e.writer), Replica: replica, After: c.ends[replica]}
			c.chains[e.writer] = journal.Begin(e.writer, journal.Chain(c.ends[replica].Chain))
		}
		c.seqs[e.writer]++
		var b []byte
		b, c.chains[e.writer] = journal.AppendRaw(nil, c.chains[e.writer], c.seqs[e.writer], e.raw.Payload)
		raw, _, _ := journal.ReadRaw(b)
		c.entries = append(c.entries, signed{e.writer, raw})
		c.ends[replica] = Last{uuid.UUID(e.writer), raw.Seq, tlog.Hash(raw.Chain)}
	}
	for _, n := range l.notes {
		size := min(n.size, int64(len(c.entries)))
		if n.size == 700 {
			size = int64(len(c.entries))
		}
		c.notes = append(c.notes, signedNote{size, n.msg})
	}
	return c.export(0, int64(len(c.entries)))
}

// withChain puts a chain value into a frame whose checksum then fits.
func withChain(frame []byte, chain journal.Chain) []byte {
	old, _, err := journal.ReadRaw(frame)
	if err != nil {
		panic(err)
	}
	f := bytes.Replace(frame, old.Chain[:], chain[:], 1)
	table := crc32.MakeTable(crc32.Castagnoli)
	binary.LittleEndian.PutUint32(f[4:], crc32.Update(crc32.Checksum(f[:4], table), table, f[8:]))
	return f
}

func TestCheckpointsThatDoNotCount(t *testing.T) {
	l := twoReplicas(t)
	last := len(l.export(0, 700)) - 1
	note := func(msg []byte) string {
		b, err := json.Marshal(map[string]string{"checkpoint": string(msg)})
		if err != nil {
			t.Fatal(err)
		}
		return string(b) + "\n"
	}
	stranger := testKey(t, 7)
	forged := func(change func(*Checkpoint), keys ...Key) []byte {
		c, err := ReadCheckpoint(l.notes[2].msg)
		if err != nil {
			t.Fatal(err)
		}
		change(&c)
		msg, err := c.Sign(keys...)
		if err != nil {
			t.Fatal(err)
		}
		return msg
	}
	for _, tt := range []struct {
		name string
		harm func(s []string) []string
		want Kind
	}{
		{"a size is changed", func(s []string) []string {
			s[last] = strings.Replace(s[last], `\n700\n`, `\n699\n`, 1)
			return s
		}, Forged},
		{"the time is changed", func(s []string) []string {
			s[last] = strings.Replace(s[last], "time 2026", "time 2027", 1)
			return s
		}, Forged},
		{"signed by a stranger", func(s []string) []string {
			s[last] = note(forged(func(*Checkpoint) {}, stranger))
			return s
		}, WrongKey},
		{"another root, signed by a stranger", func(s []string) []string {
			s[last] = note(forged(func(c *Checkpoint) { c.Root[0]++ }, stranger))
			return s
		}, WrongKey},
		{"another root for the same entries, signed by the key", func(s []string) []string {
			return append(s, note(forged(func(c *Checkpoint) { c.Root[0]++ }, l.key)))
		}, Forged},
		{"another root, signed by the key", func(s []string) []string {
			s[last] = note(forged(func(c *Checkpoint) { c.Root[0]++ }, l.key))
			return s
		}, Rewritten},
		{"an old one in the place of the newest", func(s []string) []string {
			s[last] = note(l.notes[1].msg)
			return s
		}, Inserted},
		{"an old one after the newest", func(s []string) []string { return append(s, note(l.notes[0].msg)) }, Replayed},
		{"none for the last entries", func(s []string) []string { return s[:last] }, Uncovered},
		{"nonsense", func(s []string) []string { s[last] = note([]byte("nonsense")); return s }, Forged},
		{"a note that is no checkpoint", func(s []string) []string {
			s[last] = note([]byte(strings.Replace(string(l.notes[2].msg), "700", "x", 1)))
			return s
		}, Forged},
	} {
		got := verifyLines(t, tt.harm(l.export(0, 700)), Options{})
		if got.Bad == nil || got.Bad.Kind != tt.want {
			t.Errorf("%s: %v, want %s", tt.name, got.Bad, tt.want)
		}
	}
	if got := verifyLines(t, l.export(0, 700), Options{Trust: trusting(t, stranger)}); got.Bad == nil || got.Bad.Kind != WrongKey {
		t.Errorf("only a stranger is trusted: %v", got.Bad)
	}
	if got := verifyLines(t, l.export(0, 700), Options{NewerThan: noon.Add(700 * time.Second)}); got.Bad != nil {
		t.Error(got.Bad)
	}
	if got := verifyLines(t, l.export(0, 700), Options{NewerThan: noon.Add(701 * time.Second)}); got.Bad == nil || got.Bad.Kind != Replayed {
		t.Errorf("a newest checkpoint that is too old: %v", got.Bad)
	}
}

func TestKeysRotate(t *testing.T) {
	first, second := testKey(t, 1), testKey(t, 2)
	l := newTestLog(t)
	l.write("a", 1, 10)
	l.sign(first)
	l.write("a", 1, 10)
	l.signAt(20, second.Verifier(), first, second)
	l.write("a", 1, 10)
	l.sign(second)
	sound := l.export(0, 30)
	for _, keys := range [][]Key{{first}, {first, second}} {
		if got := verifyLines(t, sound, Options{Trust: trusting(t, keys...)}); got.Bad != nil || got.Checkpoints != 3 {
			t.Errorf("%d keys: %+v, %v", len(keys), got, got.Bad)
		}
	}
	if got := verifyLines(t, sound, Options{Trust: trusting(t, second)}); got.Bad == nil || got.Bad.Kind != WrongKey {
		t.Errorf("a checkpoint of the old key, the new one trusted alone: %v", got.Bad)
	}
	if got := verifyLines(t, l.export(15, 30), Options{Trust: trusting(t, second)}); got.Bad != nil {
		t.Errorf("from the rotation on the new key is enough: %v", got.Bad)
	}

	for name, last := range map[string]func() []byte{
		"the old key after it was replaced": func() []byte { return l.signAt(30, "", first) },
		"an introduction without the old":   func() []byte { return l.signAt(30, testKey(t, 3).Verifier(), testKey(t, 3)) },
		"an introduction without the new":   func() []byte { return l.signAt(30, testKey(t, 3).Verifier(), second) },
	} {
		l.notes = l.notes[:2]
		last()
		if got := verifyLines(t, l.export(0, 30), Options{Trust: trusting(t, first)}); got.Bad == nil || got.Bad.Kind != WrongKey && got.Bad.Kind != Forged {
			t.Errorf("%s: %v", name, got.Bad)
		}
	}
}

func TestProofs(t *testing.T) {
	l := twoReplicas(t)
	leaves := l.leaves()
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) (out []tlog.Hash, err error) {
		for _, i := range indexes {
			out = append(out, stored[i])
		}
		return out, nil
	})
	for i, leaf := range leaves {
		hashes, err := tlog.StoredHashesForRecordHash(int64(i), leaf, reader)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, hashes...)
	}
	document := func(change func(*Proof)) []byte {
		p := Proof{Checkpoint: string(l.notes[2].msg)}
		for _, i := range []int64{0, 256, 699} {
			path, err := tlog.ProveRecord(700, i, reader)
			if err != nil {
				t.Fatal(err)
			}
			p.Entries = append(p.Entries, Include(i, l.entries[i].writer, l.entries[i].raw, path))
		}
		change(&p)
		b, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	consistency := func(change func(*Proof)) []byte {
		path, err := tlog.ProveTree(700, 256, reader)
		if err != nil {
			t.Fatal(err)
		}
		p := Proof{Checkpoint: string(l.notes[2].msg), Older: string(l.notes[0].msg), Hashes: path}
		change(&p)
		b, err := p.Encode()
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for _, tt := range []struct {
		name     string
		document []byte
		want     Kind
	}{
		{"sound", document(func(*Proof) {}), ""},
		{"another index", document(func(p *Proof) { p.Entries[1].Index++ }), Edited},
		{"another writer", document(func(p *Proof) { p.Entries[1].Writer[0]++ }), Edited},
		{"another frame", document(func(p *Proof) { p.Entries[1].Frame = l.entries[257].raw.Bytes }), Edited},
		{"a damaged frame", document(func(p *Proof) { p.Entries[1].Frame = p.Entries[1].Frame[1:] }), Edited},
		{"another hash", document(func(p *Proof) { p.Entries[2].Hashes[3][0]++ }), Edited},
		{"a hash too few", document(func(p *Proof) { p.Entries[2].Hashes = p.Entries[2].Hashes[1:] }), Edited},
		{"something else spelled out", document(func(p *Proof) { p.Entries[0].Entry = json.RawMessage(`{"id":"x"}`) }), Edited},
		{"an older checkpoint", document(func(p *Proof) { p.Checkpoint = string(l.notes[1].msg) }), Edited},
		{"a forged checkpoint", document(func(p *Proof) { p.Checkpoint = strings.Replace(p.Checkpoint, "700", "701", 1) }), Forged},
		{"consistent", consistency(func(*Proof) {}), ""},
		{"another older one", consistency(func(p *Proof) { p.Older = string(l.notes[1].msg) }), Rewritten},
		{"the wrong way round", consistency(func(p *Proof) { p.Older, p.Checkpoint = p.Checkpoint, p.Older }), Replayed},
		{"another hash of consistency", consistency(func(p *Proof) { p.Hashes[0][0]++ }), Rewritten},
	} {
		got, err := VerifyProof(tt.document, trusting(t, l.key), false)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		if (tt.want == "") != (got.Bad == nil) || got.Bad != nil && got.Bad.Kind != tt.want {
			t.Errorf("%s: %v, want %q", tt.name, got.Bad, tt.want)
		}
	}
	for _, bad := range []string{"", "{}", `{"tollgate_proof":1}`, `{"tollgate_proof":2,"checkpoint":"x","entries":[{}]}`, `{"x":1}`, `{"tollgate_proof":1} 2`} {
		if _, err := VerifyProof([]byte(bad), trusting(t, l.key), false); err == nil {
			t.Errorf("%q is read as a proof", bad)
		}
	}
}
