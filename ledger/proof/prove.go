package proof

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/google/uuid"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/tollgate/tollgate/ledger/journal"
)

// Proof shows that entries stand in a log, or that one checkpoint of it goes on from another. It is a JSON document that
// needs nothing but a trusted key to be verified.
type Proof struct {
	Version    int    `json:"tollgate_proof"`
	Checkpoint string `json:"checkpoint"` // signed

	Rendering string     `json:"rendering"` // in which form entries are spelled out
	Entries   []Included `json:"entries,omitempty"`

	Older  string      `json:"older,omitempty"`  // signed; of a proof of consistency
	Hashes []tlog.Hash `json:"hashes,omitempty"` // RFC 6962 consistency proof from Older to Checkpoint
}

// Included is an entry and the way from its leaf to the root.
type Included struct {
	Index  int64           `json:"index"`
	Writer uuid.UUID       `json:"writer"`
	Frame  []byte          `json:"frame"`
	Hashes []tlog.Hash     `json:"hashes"` // RFC 6962 audit path
	Entry  json.RawMessage `json:"entry"`  // the frame spelled out
}

// Include makes the part of a proof that is about one entry.
func Include(index int64, w journal.Writer, frame journal.Raw, path tlog.RecordProof) Included {
	var r renderer
	return Included{Index: index, Writer: uuid.UUID(w), Frame: frame.Bytes, Hashes: path, Entry: r.entry(w, &frame)}
}

// Encode makes the document.
func (p *Proof) Encode() ([]byte, error) {
	p.Version, p.Rendering = formatVersion, rendering()
	b, err := json.MarshalIndent(p, "", "  ")
	return append(b, '\n'), err
}

// proofBytesMax bounds a document: the entries of one call.
const proofBytesMax = 64 << 20

// VerifyProof verifies a document. framesOnly is as in Options. The error is that it cannot be read.
func VerifyProof(document []byte, trust *Trust, framesOnly bool) (Report, error) {
	var p Proof
	if len(document) > proofBytesMax {
		return Report{}, fmt.Errorf("a proof of more than %d MiB", proofBytesMax>>20)
	}
	if err := decodeStrictly(document, &p); err != nil {
		return Report{}, fmt.Errorf("not a proof: %w", err)
	}
	if p.Version != formatVersion {
		return Report{}, fmt.Errorf("a proof of version %d; this program reads version %d", p.Version, formatVersion)
	}
	if len(p.Entries) == 0 && p.Older == "" {
		return Report{}, fmt.Errorf("not a proof: it has no entries and no older checkpoint")
	}
	var report Report
	if len(p.Entries) > 0 && p.Rendering != rendering() && !framesOnly {
		return Report{Bad: faultOf(Malformed, "%s", unknownForm)}, nil
	}
	err := p.verify(trust, &report)
	if bad, ok := err.(*Fault); ok {
		report.Bad, err = bad, nil
	}
	return report, err
}

func (p *Proof) verify(trust *Trust, report *Report) error {
	if p.Older != "" {
		if _, err := trust.Next([]byte(p.Older)); err != nil {
			return err
		}
	}
	older, _ := trust.Last()
	c, err := trust.Next([]byte(p.Checkpoint))
	if err != nil {
		return err
	}
	report.Origin, report.Size, report.Time, report.Checkpoints, report.Spelled = c.Origin, c.Size, c.Time, 1, p.Rendering == rendering()
	if p.Older != "" {
		report.Checkpoints++
		if older.Size > 0 { // everything goes on from nothing
			if err := tlog.CheckTree(p.Hashes, c.Size, c.Root, older.Size, older.Root); err != nil {
				return faultOf(Rewritten, "the log was rewritten between the two checkpoints: %s does not go on from %s", c, older)
			}
		}
	}
	for i := range p.Entries {
		if err := p.Entries[i].verify(c, report); err != nil {
			return err
		}
	}
	return nil
}

func (e *Included) verify(c Checkpoint, report *Report) error {
	fault := func(kind Kind, text string) error { return &Fault{Kind: kind, Index: e.Index, Text: text} }
	raw, rest, err := journal.ReadRaw(e.Frame)
	if err != nil || len(rest) > 0 {
		return fault(Edited, "its frame does not hold")
	}
	var h Hasher
	w := journal.Writer(e.Writer)
	if err := tlog.CheckRecord(e.Hashes, c.Size, c.Root, e.Index, h.Leaf(w, e.Frame)); err != nil {
		return fault(Edited, "its frame and index do not lead to the root of the checkpoint")
	}
	if !report.Spelled {
		report.Entries++
		return nil
	}
	var r renderer
	var spelled, is bytes.Buffer
	if json.Compact(&spelled, e.Entry) != nil || json.Compact(&is, r.entry(w, &raw)) != nil || !bytes.Equal(spelled.Bytes(), is.Bytes()) {
		return fault(Edited, "what is spelled out for people is not what its frame says")
	}
	report.Entries++
	return nil
}
