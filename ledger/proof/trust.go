package proof

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"
)

// Trust is the keys whose checkpoints are believed, and the checkpoints met so far: each must go on from the one before.
// It is for one goroutine.
type Trust struct {
	keys    []note.Verifier
	retired map[uint32]int64 // by key hash: the size at which another key took over
	last    Checkpoint
	met     bool // there is a last
}

// NewTrust believes the keys with these verifiers.
func NewTrust(verifiers ...string) (*Trust, error) {
	t := &Trust{retired: map[uint32]int64{}}
	for _, text := range verifiers {
		if err := t.add(text); err != nil {
			return nil, err
		}
	}
	if len(t.keys) == 0 {
		return nil, errors.New("no key is trusted, so nothing can be proved: give a verifier, as tollgate audit keys prints it")
	}
	return t, nil
}

func (t *Trust) add(text string) error {
	v, err := note.NewVerifier(strings.TrimSpace(text))
	if err != nil {
		return fmt.Errorf("%q is not a verifier: NAME+HASH+KEY, as tollgate audit keys prints it", text)
	}
	for _, known := range t.keys {
		if known.Name() == v.Name() && known.KeyHash() == v.KeyHash() {
			return nil
		}
	}
	t.keys = append(t.keys, v)
	return nil
}

// Last is the checkpoint that Next accepted last.
func (t *Trust) Last() (Checkpoint, bool) { return t.last, t.met }

// Open verifies a signed checkpoint by itself. Its error is a *Fault.
func (t *Trust) Open(msg []byte) (Checkpoint, error) {
	c, _, err := t.open(msg)
	return c, err
}

func (t *Trust) open(msg []byte) (Checkpoint, []note.Signature, error) {
	if len(msg) > CheckpointBytesMax {
		return Checkpoint{}, nil, faultOf(Forged, "a checkpoint of %d bytes", len(msg))
	}
	n, err := note.Open(msg, note.VerifierList(t.keys...))
	var invalid *note.InvalidSignatureError
	var unverified *note.UnverifiedNoteError
	switch {
	case errors.As(err, &invalid):
		return Checkpoint{}, nil, faultOf(Forged, "the signature of the checkpoint does not hold: %s", describe(msg))
	case errors.As(err, &unverified):
		return Checkpoint{}, nil, faultOf(WrongKey, "the checkpoint is signed with none of the trusted keys: %s", describe(msg))
	case err != nil:
		return Checkpoint{}, nil, faultOf(Forged, "not a signed checkpoint: %v", err)
	}
	c, err := parseCheckpoint(n.Text)
	if err != nil {
		return c, nil, faultOf(Forged, "%v", err)
	}
	for _, s := range n.Sigs {
		if s.Name != c.Origin {
			return c, nil, faultOf(Forged, "the checkpoint of log %s is signed for %s", c.Origin, s.Name)
		}
	}
	return c, n.Sigs, nil
}

// describe says which checkpoint it is, as far as it says so itself.
func describe(msg []byte) string {
	c, err := ReadCheckpoint(msg)
	if err != nil {
		return "it cannot be read"
	}
	return c.String()
}

func (c Checkpoint) String() string {
	return fmt.Sprintf("that of %s over %d entries", c.Time.UTC().Format(time.RFC3339), c.Size)
}

// Next verifies a checkpoint that was made after the one before it: it may not go back, nor say another root for the same
// entries. One that introduces a key must be signed with the old key and with the new one; from then on only the new one
// counts. Its error is a *Fault.
func (t *Trust) Next(msg []byte) (Checkpoint, error) {
	c, sigs, err := t.open(msg)
	if err != nil {
		return c, err
	}
	valid := false
	for _, s := range sigs {
		if _, gone := t.retired[s.Hash]; !gone {
			valid = true
		}
	}
	if !valid {
		return c, faultOf(WrongKey, "the checkpoint is signed with a key that was replaced when there were %d entries: %s", t.retired[sigs[0].Hash], c)
	}
	if t.met {
		switch {
		case c.Origin != t.last.Origin:
			return c, faultOf(Forged, "the checkpoint is of log %s, the one before it of %s", c.Origin, t.last.Origin)
		case c.Size < t.last.Size || c.Time.Before(t.last.Time):
			return c, faultOf(Replayed, "an old checkpoint stands after a newer one: %s after %s", c, t.last)
		case c.Size == t.last.Size && c.Root != t.last.Root:
			return c, faultOf(Forged, "two checkpoints over the same %d entries differ: the log was forked", c.Size)
		}
	}
	if c.Next != "" {
		if err := t.rotate(msg, c, sigs); err != nil {
			return c, err
		}
	}
	t.last, t.met = c, true
	return c, nil
}

// counts reports whether c, which has been verified, has a signature of a key that was in force: ended says of keys at which
// size they were replaced.
func (t *Trust) counts(msg []byte, c Checkpoint, ended map[uint32]int64) bool {
	_, sigs, err := t.open(msg)
	return err == nil && slices.ContainsFunc(sigs, func(s note.Signature) bool {
		size, gone := ended[s.Hash]
		return !gone || c.Size <= size
	})
}

// rotate believes the key that c introduces.
func (t *Trust) rotate(msg []byte, c Checkpoint, sigs []note.Signature) error {
	next, err := note.NewVerifier(c.Next)
	if err != nil || next.Name() != c.Origin {
		return faultOf(Forged, "the checkpoint introduces a key of another log: %s", c)
	}
	if _, err := note.Open(msg, note.VerifierList(next)); err != nil {
		return faultOf(Forged, "the checkpoint introduces a key and is not signed with it: %s", c)
	}
	for _, s := range sigs {
		if s.Hash != next.KeyHash() {
			t.retired[s.Hash] = c.Size
		}
	}
	delete(t.retired, next.KeyHash())
	return t.add(c.Next)
}
