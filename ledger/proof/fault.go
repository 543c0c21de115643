package proof

import (
	"fmt"

	"github.com/tollgate/tollgate/ledger"
)

// Kind is what was done to entries or checkpoints.
type Kind string

// The kinds of faults.
const (
	Edited    Kind = "edited"
	Removed   Kind = "removed"
	Inserted  Kind = "inserted"
	Reordered Kind = "reordered"
	Truncated Kind = "truncated"
	Lost      Kind = "not here"  // only the hash of its leaf is
	Rewritten Kind = "rewritten" // edited, removed, inserted or reordered, and the hash chain made anew over it
	Forged    Kind = "forged checkpoint"
	WrongKey  Kind = "wrong key"
	Replayed  Kind = "replayed checkpoint"
	Uncovered Kind = "not covered by a checkpoint"
	Malformed Kind = "malformed"
)

// Fault is the first thing that is wrong.
type Fault struct {
	Kind  Kind      `json:"kind"`
	Index int64     `json:"index"`          // of the first bad entry; -1: no entry's fault
	ID    ledger.ID `json:"id,omitzero"`    // of that entry, when it can be read
	Text  string    `json:"text"`           // what is wrong, a sentence without a full stop
	Place string    `json:"place,omitzero"` // FILE:LINE
}

func (f *Fault) Error() string {
	s := string(f.Kind)
	if f.Index >= 0 {
		s = fmt.Sprintf("entry %d %s", f.Index, f.Kind)
		if !f.ID.IsZero() {
			s = fmt.Sprintf("entry %d (%s) %s", f.Index, f.ID, f.Kind)
		}
	}
	s += ": " + f.Text
	if f.Place != "" {
		s += " (" + f.Place + ")"
	}
	return s
}

// faultOf is a fault that is no entry's.
func faultOf(kind Kind, format string, args ...any) *Fault {
	return &Fault{Kind: kind, Index: -1, Text: fmt.Sprintf(format, args...)}
}
