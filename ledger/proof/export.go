package proof

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"strconv"
	"time"

	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/journal"
)

// formatVersion is that of exports and proofs.
const formatVersion = 1

// Header opens an export of the entries From to To-1 of a log that has Size.
type Header struct {
	Version   int         `json:"version"`
	Origin    string      `json:"origin"`
	From      int64       `json:"from"`
	To        int64       `json:"to"`
	Size      int64       `json:"size"`
	Left      []tlog.Hash `json:"left"`      // the edge of the tree over what is before From
	Right     []tlog.Hash `json:"right"`     // the subtrees that Between(To, Size) lists
	Rendering string      `json:"rendering"` // in which form entries are spelled out
	Made      time.Time   `json:"made"`
}

// Begun says whose journal a writer's frames stand in and what they continue there.
type Begun struct {
	Writer  uuid.UUID `json:"writer"`
	Replica string    `json:"replica"`
	After   Last      `json:"after"` // the frame before the first that follows here
}

// Last is a frame that others continue. In the zero Last there is none.
type Last struct {
	Writer uuid.UUID `json:"writer"`
	Seq    uint64    `json:"seq"`
	Chain  tlog.Hash `json:"chain"`
}

// LastOf is the frame before a position.
func LastOf(p journal.Position) Last {
	return Last{Writer: uuid.UUID(p.Writer), Seq: p.Seq, Chain: tlog.Hash(p.Chain)}
}

// Export writes an export, line by line. It is for one goroutine.
type Export struct {
	w      io.Writer
	line   []byte
	hasher Hasher
	render renderer
}

// NewExport begins an export with its header. Version, rendering and time are filled in.
func NewExport(w io.Writer, h Header) (*Export, error) {
	h.Version, h.Rendering, h.Made = formatVersion, rendering(), time.Now().UTC().Truncate(time.Second)
	e := &Export{w: w}
	return e, e.write("export", h)
}

func (e *Export) write(kind string, content any) error {
	b, err := json.Marshal(map[string]any{kind: content})
	if err != nil {
		return err
	}
	_, err = e.w.Write(append(b, '\n'))
	return err
}

// Begin announces a writer. It comes before the writer's first entry.
func (e *Export) Begin(b Begun) error { return e.write("writer", b) }

// Checkpoint writes a signed checkpoint. It comes after the last entry that it covers.
func (e *Export) Checkpoint(msg []byte) error { return e.write("checkpoint", string(msg)) }

// Entry writes an entry.
func (e *Export) Entry(index int64, w journal.Writer, frame journal.Raw) error {
	e.line = appendEntry(e.line[:0], &entryLine{index: index, writer: w, hash: e.hasher.Leaf(w, frame.Bytes), frame: frame.Bytes}, e.render.entry(w, &frame))
	_, err := e.w.Write(e.line)
	return err
}

// Lost writes an entry whose frame a disk has lost: only the hash of its leaf is known. No verifier takes it without being
// told to: see Options.
func (e *Export) Lost(index int64, w journal.Writer, leaf tlog.Hash) error {
	e.line = appendEntry(e.line[:0], &entryLine{index: index, writer: w, hash: leaf}, []byte("null"))
	_, err := e.w.Write(e.line)
	return err
}

// entryLine is an entry's line as it is read.
type entryLine struct {
	index  int64
	writer journal.Writer
	hash   tlog.Hash
	frame  []byte
	entry  []byte // JSON
}

// appendEntry is the one form of an entry's line.
func appendEntry(b []byte, l *entryLine, entry []byte) []byte {
	b = append(b, `{"index":`...)
	b = strconv.AppendInt(b, l.index, 10)
	b = append(b, `,"writer":"`...)
	b = append(b, uuid.UUID(l.writer).String()...)
	b = append(b, `","hash":"`...)
	b = base64.StdEncoding.AppendEncode(b, l.hash[:])
	b = append(b, `","frame":"`...)
	b = base64.StdEncoding.AppendEncode(b, l.frame)
	b = append(b, `","entry":`...)
	b = append(b, entry...)
	return append(b, "}\n"...)
}

// renderer spells entries out. It is for one goroutine.
type renderer struct {
	writer journal.Writer
	name   string
}

// entry is the JSON of the entry in a frame; null when it is of a kind that is not known here.
func (r *renderer) entry(w journal.Writer, frame *journal.Raw) []byte {
	e, err := ledger.DecodeEntry(frame.Payload)
	if err != nil {
		return []byte("null")
	}
	if w != r.writer || r.name == "" {
		r.writer, r.name = w, uuid.UUID(w).String()
	}
	e.Writer, e.Seq = r.name, frame.Seq
	b, err := e.MarshalJSON() // json.Marshal would check and copy it once more
	if err != nil {
		return []byte("null")
	}
	return b
}

// rendering names the form that renderer writes: a digest of what it makes of one entry with every field. An export
// whose entries were spelled out in another form is verified by its frames alone.
func rendering() string {
	at := time.Unix(1, 5)
	id := ledger.ID{1}
	e := ledger.Entry{
		ID: id, Time: at, Kind: ledger.Posted, Resolves: id, Parent: id, Trace: ledger.TraceID{1},
		Who:      ledger.Who{Customer: "c", Team: "t", Key: "k", KeyID: "i", User: "u", Client: "l"},
		OnBehalf: "b", Source: "s", Action: "a", Upstream: "p", Target: "g", Rules: []string{"<&>", "r"}, Limits: []string{"m"}, Revision: "v", Attempt: 1, Counted: true,
		Digest: ledger.Digest{1}, Hold: 1, Worst: 2, HoldTokens: 3, WorstTokens: 4, PriceList: "q", Prices: map[string]ledger.Nano{"x": 1, "w": 2},
		Cost: 5, Quantities: ledger.Quantities{
			InputTokens: 1, CacheReadTokens: 2, CacheWriteTokens: 3, CacheWrite1hTokens: 4, OutputTokens: 5, ReasoningTokens: 6,
			AudioInputTokens: 7, AudioOutputTokens: 8, ImageTokens: 9, WebSearches: 10, Seconds: 11, Calls: 12,
		}, Estimated: true, Status: ledger.OK, Code: 6, Latency: time.Hour + 7, Detail: "d",
	}
	payload := e.Append(nil)
	var r renderer
	sum := sha256.Sum256(r.entry(journal.Writer{1}, &journal.Raw{Seq: 1, Payload: payload}))
	return hex.EncodeToString(sum[:4])
}
