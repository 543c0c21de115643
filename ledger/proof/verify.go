package proof

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/journal"
)

// Options say what an export is held against.
type Options struct {
	Trust     *Trust
	Outside   [][]byte  // signed checkpoints from elsewhere, oldest first: the guard against a cut tail
	NewerThan time.Time // the newest checkpoint must be; zero: of any age
	// FramesOnly takes an export whose entries are spelled out in a form that is not known here, and does not compare them.
	FramesOnly bool
	// AcceptLost takes entries of which only the hashes of their leaves are there, because a disk has lost the frames.
	AcceptLost bool
}

// Report is what a verification found.
type Report struct {
	Origin      string    `json:"origin"`
	From        int64     `json:"from"`
	To          int64     `json:"to"`                // index after the last entry
	Entries     int64     `json:"entries"`           // that were read and hold
	Checkpoints int       `json:"checkpoints"`       // that were met and hold
	Size        int64     `json:"size"`              // of the newest checkpoint
	Time        time.Time `json:"time"`              // of the newest checkpoint
	Spelled     bool      `json:"spelled"`           // what is spelled out for people was compared, too
	Unchecked   int       `json:"unchecked"`         // checkpoints from elsewhere over a part that is not here
	Lost        int64     `json:"lost,omitzero"`     // entries of which only the hashes are there
	Salvages    int       `json:"salvages,omitzero"` // writers that begin because a journal was salvaged
	Bad         *Fault    `json:"bad,omitempty"`
}

// Verify reads an export to its end or to the first thing that is wrong, which the report names. The error is one of
// reading.
func Verify(ctx context.Context, lines *Lines, o Options) (Report, error) {
	v := &verifier{lines: lines, options: o, lost: -1, writers: map[journal.Writer]*standing{}}
	err := v.verify(ctx)
	if bad, ok := err.(*Fault); ok {
		if bad.Place == "" && lines.line > 0 {
			bad.Place = v.place
		}
		v.report.Bad, err = bad, nil
	}
	return v.report, err
}

// unknownForm is said of what this program cannot compare with the frames: who changes what is spelled out could say so too.
const unknownForm = "entries are spelled out in a form that this program does not know, so they cannot be compared with their frames: " +
	"take the version of tollgate that wrote them, or verify the frames only"

// standing is how far a writer's frames have come.
type standing struct {
	seq    uint64
	chain  journal.Chain
	before journal.Chain // chain value before the last frame
	index  int64         // of the last frame
	leaf   tlog.Hash     // of the last frame
	begun  uint64        // the sequence before the first frame here
	after  Last          // the frame of another writer that its first continues

	continued bool // another writer that continues it has entries here: it has no more
	lost      bool // the frame before is not here, so chain is not known
}

type verifier struct {
	lines   *Lines
	options Options
	outside []Checkpoint // by size
	trust   *Trust
	ended   map[uint32]int64 // keys that the checkpoints from elsewhere say were replaced, and at which size
	report  Report

	header  *Header
	tree    *Tree
	writers map[journal.Writer]*standing
	agreed  int64 // the size of the last checkpoint whose root was that of the tree
	covered bool  // a checkpoint covers all there is
	lost    int64 // index of the first entry whose frame is not here
	place   string

	entry  entryLine
	hasher Hasher
	render renderer
	again  []byte // the entry's line as it should be
}

const contextEvery = 1024 // lines

func (v *verifier) verify(ctx context.Context) error {
	if err := v.prepare(); err != nil {
		return err
	}
	for n := 0; ; n++ {
		if n%contextEvery == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		line, err := v.lines.next()
		if err == io.EOF {
			return v.finish()
		}
		if err != nil {
			return err
		}
		v.place = v.lines.Place()
		if err := v.take(line); err != nil {
			return err
		}
	}
}

// prepare verifies the checkpoints from elsewhere.
func (v *verifier) prepare() error {
	v.trust = v.options.Trust
	outside := Trust{keys: v.trust.keys, retired: map[uint32]int64{}} // its own history; what it learns of keys stays
	for i, msg := range v.options.Outside {
		c, err := outside.Next(msg)
		if err != nil {
			bad := err.(*Fault)
			bad.Place = fmt.Sprintf("checkpoint %d of those given", i+1)
			return bad
		}
		v.outside = append(v.outside, c)
	}
	v.trust.keys = outside.keys
	v.ended = outside.retired
	slices.SortFunc(v.outside, func(a, b Checkpoint) int { return cmp.Compare(a.Size, b.Size) })
	return nil
}

func (v *verifier) take(line []byte) error {
	r, err := parseLine(line, &v.entry)
	if err != nil {
		return v.fault(Malformed, "%v", err)
	}
	if v.header == nil && r.header == nil {
		return v.fault(Malformed, "the export does not begin with its header")
	}
	switch {
	case r.header != nil:
		return v.takeHeader(r.header)
	case r.begun != nil:
		return v.takeWriter(r.begun)
	case r.checkpoint != nil:
		return v.takeCheckpoint(r.checkpoint)
	}
	return v.takeEntry(line)
}

// fault is one of the entry that is next.
func (v *verifier) fault(kind Kind, format string, args ...any) *Fault {
	f := faultOf(kind, format, args...)
	f.Place = v.place
	if v.tree != nil {
		f.Index = v.tree.Size()
	}
	return f
}

func (v *verifier) takeHeader(h *Header) error {
	switch {
	case v.header != nil:
		return v.fault(Malformed, "a second header")
	case h.Version != formatVersion:
		return v.fault(Malformed, "an export of version %d; this program reads version %d", h.Version, formatVersion)
	case h.From < 0 || h.To < h.From || h.Size < h.To:
		return v.fault(Malformed, "a range from %d to %d of %d entries", h.From, h.To, h.Size)
	case len(h.Right) != len(Between(h.To, h.Size)):
		return v.fault(Malformed, "%d hashes for what follows the range", len(h.Right))
	}
	tree, err := NewTree(h.From, h.Left)
	if err != nil {
		return v.fault(Malformed, "%v", err)
	}
	v.header, v.tree, v.agreed = h, tree, h.From
	v.report.Origin, v.report.From, v.report.To, v.report.Spelled = h.Origin, h.From, h.From, h.Rendering == rendering()
	if !v.report.Spelled && !v.options.FramesOnly {
		return v.fault(Malformed, "%s", unknownForm)
	}
	for len(v.outside) > 0 && v.outside[0].Size < h.From {
		v.outside = v.outside[1:]
		v.report.Unchecked++
	}
	return v.compareOutside()
}

// takeWriter begins a writer.
func (v *verifier) takeWriter(b *Begun) error {
	w, after := journal.Writer(b.Writer), journal.Writer(b.After.Writer)
	if v.writers[w] != nil {
		return v.fault(Malformed, "writer %s begins again", b.Writer)
	}
	s := &standing{seq: b.After.Seq, chain: journal.Chain(b.After.Chain), begun: b.After.Seq}
	switch {
	case w != after:
		s.seq, s.begun, s.chain, s.after = 0, 0, journal.Begin(w, s.chain), b.After
	case s.seq > 0 && s.chain == journal.Chain{}:
		s.lost = true
		v.markLost()
	}
	v.writers[w] = s
	was := v.writers[after]
	if w == after || was == nil {
		return nil
	}
	switch {
	case was.seq < b.After.Seq:
		return v.missing(after, was.seq+1, b.After.Seq)
	case was.seq > b.After.Seq:
		f := v.fault(Inserted, "its writer ended at sequence %d, so another start of the process says that follows", b.After.Seq)
		f.Index = was.index - int64(was.seq-b.After.Seq-1)
		return f
	case !was.lost && was.chain != journal.Chain(b.After.Chain):
		return v.fault(Edited, "writer %s, which begins here, does not continue the hash chain of writer %s", b.Writer, b.After.Writer)
	}
	return nil
}

// takeEntry checks an entry's line and adds it to the tree.
func (v *verifier) takeEntry(line []byte) error {
	l := &v.entry
	if len(l.frame) == 0 {
		return v.takeLost(line)
	}
	raw, rest, err := journal.ReadRaw(l.frame)
	if err == nil && len(rest) > 0 {
		err = fmt.Errorf("%d bytes follow the frame", len(rest))
	}
	if err != nil {
		return v.fault(Edited, "%v", err)
	}
	leaf := v.hasher.Leaf(l.writer, l.frame)
	if leaf != l.hash {
		return v.named(&raw, v.fault(Edited, "its frame is not the one that its hash was made of"))
	}
	s := v.writers[l.writer]
	if s == nil && l.index > v.tree.Size() {
		return v.skipped(l.index)
	}
	if s == nil {
		return v.named(&raw, v.fault(Edited, "its writer %s is not announced", uuid.UUID(l.writer)))
	}
	if raw.Seq != s.seq+1 || !s.lost && !raw.Follows(s.chain) || l.index != v.tree.Size() {
		return v.diagnose(raw, s)
	}
	if err := v.inLine(&raw, s); err != nil {
		return err
	}
	if v.tree.Size() >= v.header.To {
		return v.named(&raw, v.fault(Inserted, "the export's range ends before it"))
	}
	if v.report.Spelled {
		v.again = appendEntry(v.again[:0], l, v.render.entry(l.writer, &raw))
		if !bytes.Equal(v.again[:len(v.again)-1], line) {
			return v.named(&raw, v.fault(Edited, "what is spelled out for people is not what its frame says"))
		}
	}
	s.before, s.chain, s.seq, s.index, s.leaf, s.lost = s.chain, raw.Chain, raw.Seq, l.index, leaf, false
	v.tree.Append(leaf, nil)
	v.report.Entries++
	v.report.To++
	return v.compareOutside()
}

// inLine checks that the journals of a replica's starts are one line: each goes on where the one before ended. Only a
// salvage begins behind an earlier frame, and its first entry says so; the entries that were given up by it stand here.
func (v *verifier) inLine(raw *journal.Raw, s *standing) error {
	if s.continued {
		return v.named(raw, v.fault(Inserted, "another start of the process has continued its writer before it"))
	}
	if s.seq > 0 {
		return nil
	}
	salvage, was := Salvages(raw.Payload), v.writers[journal.Writer(s.after.Writer)]
	if salvage {
		v.report.Salvages++
	}
	if was == nil {
		return nil
	}
	if !salvage && (was.continued || was.seq > s.after.Seq) {
		return v.named(raw, v.fault(Inserted, "its writer begins behind sequence %d of writer %s, which goes on without it, and it does not say that the journal was salvaged", s.after.Seq, s.after.Writer))
	}
	was.continued = true
	return nil
}

// Salvages reports whether an entry says that its journal was salvaged before it: see ledger.Salvage.
func Salvages(payload []byte) bool {
	e, err := ledger.DecodeEntry(payload)
	return err == nil && e.Kind == ledger.Admin && e.Action == ledger.SalvageAction
}

// takeLost takes an entry of which only the hash is there. finish refuses it unless it is accepted.
func (v *verifier) takeLost(line []byte) error {
	l := &v.entry
	s := v.writers[l.writer]
	switch {
	case l.index > v.tree.Size():
		return v.skipped(l.index)
	case s == nil:
		return v.fault(Edited, "its writer %s is not announced", uuid.UUID(l.writer))
	case l.index < v.tree.Size():
		return v.fault(Edited, "it says that its index is %d", l.index)
	case v.tree.Size() >= v.header.To:
		return v.fault(Inserted, "the export's range ends before it")
	case s.continued:
		return v.fault(Inserted, "another start of the process has continued its writer before it")
	}
	v.again = appendEntry(v.again[:0], l, []byte("null"))
	if !bytes.Equal(v.again[:len(v.again)-1], line) {
		return v.fault(Edited, "it has no frame, and something is spelled out for people")
	}
	if was := v.writers[journal.Writer(s.after.Writer)]; s.seq == 0 && was != nil {
		was.continued = true
	}
	v.markLost()
	s.seq, s.index, s.leaf, s.lost = s.seq+1, l.index, l.hash, true
	v.tree.Append(l.hash, nil)
	v.report.Lost++
	v.report.To++
	return v.compareOutside()
}

// markLost notes the first place where something is not here.
func (v *verifier) markLost() {
	if v.lost < 0 {
		v.lost = v.tree.Size()
	}
}

// named gives a fault the id in the frame.
func (v *verifier) named(raw *journal.Raw, f *Fault) *Fault {
	if p, err := ledger.Peek(raw.Payload); err == nil {
		f.ID = p.ID
	}
	return f
}

// diagnose says why a sound frame does not belong where it stands. What it needs to know stands further on in the export,
// which is read for it: the verification ends here in any case.
func (v *verifier) diagnose(raw journal.Raw, s *standing) error {
	w, index := v.entry.writer, v.entry.index
	raw.Payload, raw.Bytes = bytes.Clone(raw.Payload), nil
	switch {
	case raw.Seq > s.seq+1:
		return v.missing(w, s.seq+1, raw.Seq-1)
	case raw.Seq <= s.seq:
		f := v.named(&raw, v.fault(Inserted, "sequence %d of its writer stands at an entry before, too", raw.Seq))
		if v.entry.hash == s.leaf {
			return f
		}
		if next, ok := v.following(w); ok && raw.Seq == s.seq && raw.Follows(s.before) && next.Follows(raw.Chain) {
			f.Index, f.ID, f.Text = s.index, ledger.ID{}, "what follows continues another frame with its sequence, that of the entry after it"
		}
		return f
	case !s.lost && !raw.Follows(s.chain):
		next, ok := v.following(w)
		if ok && next.Seq == raw.Seq && next.Follows(s.chain) {
			return v.named(&raw, v.fault(Inserted, "it does not continue the hash chain, and another frame with its sequence does"))
		}
		text := "it does not continue the hash chain"
		if ok && next.Follows(raw.Chain) && s.seq > s.begun {
			text += fmt.Sprintf(" from entry %d: one of the two was changed", s.index)
		}
		return v.named(&raw, v.fault(Edited, "%s", text))
	case index > v.tree.Size():
		return v.skipped(index)
	}
	return v.named(&raw, v.fault(Edited, "it says that its index is %d", index))
}

// skipped is the fault of an entry of a higher index standing where the next one belongs.
func (v *verifier) skipped(index int64) *Fault {
	f := v.fault(Removed, "entry %d follows", index)
	if v.later(func(l *entryLine, _ journal.Raw) bool { return l.index == f.Index }) {
		f.Kind, f.Text = Reordered, fmt.Sprintf("entry %d stands in its place and it comes later", index)
	}
	return f
}

// missing is the fault of the sequences from first to last of w not being here: they come later, or not at all.
func (v *verifier) missing(w journal.Writer, first, last uint64) *Fault {
	f := v.fault(Removed, "sequence %d of writer %s is missing", first, uuid.UUID(w))
	if last > first {
		f.Text = fmt.Sprintf("sequences %d to %d of writer %s are missing", first, last, uuid.UUID(w))
	}
	if v.later(func(l *entryLine, r journal.Raw) bool {
		found := l.writer == w && r.Seq == first
		if found {
			f = v.named(&r, f)
		}
		return found
	}) {
		f.Kind, f.Text = Reordered, fmt.Sprintf("sequence %d of writer %s belongs here and comes later", first, uuid.UUID(w))
	}
	return f
}

// following is the next sound frame of w.
func (v *verifier) following(w journal.Writer) (next journal.Raw, ok bool) {
	ok = v.later(func(l *entryLine, r journal.Raw) bool { next = r; return l.writer == w })
	return next, ok
}

// later reads on until an entry matches.
func (v *verifier) later(match func(*entryLine, journal.Raw) bool) bool {
	for {
		line, err := v.lines.next()
		if err != nil {
			return false
		}
		var l entryLine
		r, err := parseLine(line, &l)
		if err != nil || r.entry == nil {
			continue
		}
		if raw, _, err := journal.ReadRaw(l.frame); err == nil && match(&l, raw) {
			return true
		}
	}
}

// takeCheckpoint verifies a checkpoint of the export and compares it with the tree.
func (v *verifier) takeCheckpoint(msg []byte) error {
	c, err := v.trust.Next(msg)
	if err != nil {
		return err
	}
	if !v.trust.counts(msg, c, v.ended) {
		return faultOf(WrongKey, "the checkpoint is signed with a key that was replaced before, as those given say: %s", c)
	}
	size := v.tree.Size()
	switch {
	case c.Origin != v.header.Origin:
		return v.fault(Forged, "a checkpoint of log %s in an export of %s", c.Origin, v.header.Origin)
	case c.Size < size:
		f := v.fault(Inserted, "between this entry and entry %d there are %d more than were signed: %s", size-1, size-c.Size, c)
		f.Index = v.agreed
		return f
	case c.Size > size && (size != v.header.To || c.Size != v.header.Size):
		return v.fewer(c)
	case c.Size > size:
		if err := v.joinRight(); err != nil {
			return err
		}
	}
	if err := v.compare(c, "the checkpoint"); err != nil {
		return err
	}
	v.report.Checkpoints++
	v.report.Size, v.report.Time = c.Size, c.Time
	v.covered = size == v.header.To
	return v.compareOutside()
}

// fewer is the fault of there being fewer entries than a checkpoint covers.
func (v *verifier) fewer(c Checkpoint) *Fault {
	f := v.fault(Truncated, "the export ends here, and %d entries were signed: %s", c.Size, c)
	size, more := f.Index, false
	if v.later(func(l *entryLine, _ journal.Raw) bool {
		if !more {
			more = true
			f.Kind, f.Text = Removed, fmt.Sprintf("before entry %d there are %d fewer than were signed: %s", l.index, c.Size-size, c)
			if l.index < c.Size { // numbered anew: it may be any since the last checkpoint
				f.Index = v.agreed
			}
		}
		return l.index == size && f.Index == size
	}) {
		f.Kind, f.Text = Reordered, "it comes later"
	}
	return f
}

// joinRight grows the tree by what follows the range.
func (v *verifier) joinRight() error {
	for i, s := range Between(v.header.To, v.header.Size) {
		if _, err := v.tree.Join(s.Level, v.header.Right[i], nil); err != nil {
			return v.fault(Malformed, "%v", err)
		}
	}
	return nil
}

// compare holds the tree against a checkpoint over as many entries.
func (v *verifier) compare(c Checkpoint, what string) error {
	if c.Root == v.tree.Root() {
		v.agreed = c.Size
		return nil
	}
	f := v.fault(Rewritten, "the entries from here to %d are not those that were signed, and their hash chain was made to fit: %s is %s", c.Size-1, what, c)
	f.Index = min(v.agreed, v.header.To)
	if v.agreed == c.Size || v.agreed == v.header.From && v.header.From == c.Size {
		f.Kind, f.Text = Forged, fmt.Sprintf("%s has another root than the entries: %s", what, c)
		f.Index = -1
	}
	return f
}

// compareOutside holds the tree against those checkpoints from elsewhere that are over as many entries.
func (v *verifier) compareOutside() error {
	for len(v.outside) > 0 && v.outside[0].Size <= v.tree.Size() {
		c := v.outside[0]
		v.outside = v.outside[1:]
		switch {
		case c.Origin != v.header.Origin:
			return v.fault(Forged, "a checkpoint of log %s was given for an export of %s", c.Origin, v.header.Origin)
		case c.Size < v.tree.Size():
			v.report.Unchecked++ // between the range and the end of the log
			continue
		}
		if err := v.compare(c, "the checkpoint that was given"); err != nil {
			return err
		}
		v.report.Checkpoints++
	}
	return nil
}

// finish is what can only be said at the end.
func (v *verifier) finish() error {
	if v.header == nil {
		return faultOf(Malformed, "the export is empty")
	}
	size := v.report.To
	switch {
	case size < v.header.To:
		return v.fault(Truncated, "the export ends here, and its header says that it goes to entry %d", v.header.To-1)
	case !v.covered && size > v.header.From:
		f := v.fault(Uncovered, "no checkpoint covers the entries from here on")
		f.Index = v.agreed
		return f
	case len(v.outside) > 0:
		c := v.outside[len(v.outside)-1]
		return v.fault(Truncated, "the log ends here, and %d entries were signed: the checkpoint that was given is %s", c.Size, c)
	case !v.covered: // an empty range: its header says what it likes
		return v.fault(Uncovered, "the export has neither entries nor a checkpoint")
	case v.report.Time.Before(v.options.NewerThan):
		return faultOf(Replayed, "the newest checkpoint is of %s, which is older than it may be", v.report.Time.UTC().Format(time.RFC3339))
	case v.lost >= 0 && !v.options.AcceptLost:
		f := v.fault(Lost, "only its hash is: a damaged disk has lost it, or whoever exports keeps it back; all else holds, and with --accept-lost that is enough")
		f.Index = v.lost
		return f
	}
	return nil
}
