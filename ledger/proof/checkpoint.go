package proof

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const (
	// CheckpointBytesMax bounds a signed checkpoint: it has some 300 bytes.
	CheckpointBytesMax = 8 << 10
	// originBytesMax bounds the name of a log.
	originBytesMax = 200
	// KeyBytes is the length of the secret that a key is made from.
	KeyBytes = ed25519.SeedSize
)

// Checkpoint is what is signed: how many entries there were at a time and the root of the tree over them.
type Checkpoint struct {
	Origin string    // names the log
	Size   int64     // how many entries
	Root   tlog.Hash // of the tree over them
	Time   time.Time // of signing, to the second
	Next   string    // the verifier of the key that signs from here on; empty: as before
}

// CheckOrigin says what is wrong with the name of a log.
func CheckOrigin(name string) error {
	if name == "" || len(name) > originBytesMax || !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool {
		return unicode.IsSpace(r) || !unicode.IsPrint(r) || r == '+'
	}) {
		return fmt.Errorf("%q cannot name a log: write up to %d bytes without spaces and plus signs, such as example.com/tollgate", name, originBytesMax)
	}
	return nil
}

// text is what is signed.
func (c *Checkpoint) text() string {
	b := fmt.Appendf(nil, "%s\n%d\n%s\ntime %s\n", c.Origin, c.Size, c.Root, c.Time.UTC().Format(time.RFC3339))
	if c.Next != "" {
		b = fmt.Appendf(b, "next %s\n", c.Next)
	}
	return string(b)
}

// Sign makes the note of c.
func (c *Checkpoint) Sign(keys ...Key) ([]byte, error) {
	signers := make([]note.Signer, len(keys))
	for i, k := range keys {
		signers[i] = k.signer
	}
	return note.Sign(&note.Note{Text: c.text()}, signers...)
}

var errNotCheckpoint = errors.New("not a checkpoint")

// parseCheckpoint reads the text of a note. Further lines, which a later version may write, are passed over.
func parseCheckpoint(text string) (Checkpoint, error) {
	var c Checkpoint
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	if len(lines) < 4 {
		return c, fmt.Errorf("%w: it has %d lines", errNotCheckpoint, len(lines))
	}
	c.Origin = lines[0]
	if err := CheckOrigin(c.Origin); err != nil {
		return c, fmt.Errorf("%w: %w", errNotCheckpoint, err)
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return c, fmt.Errorf("%w: %q is not a size", errNotCheckpoint, lines[1])
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil || root.String() != lines[2] {
		return c, fmt.Errorf("%w: %q is not a hash", errNotCheckpoint, lines[2])
	}
	c.Size, c.Root = size, root
	for _, line := range lines[3:] {
		if text, ok := strings.CutPrefix(line, "time "); ok {
			if c.Time, err = time.Parse(time.RFC3339, text); err != nil {
				return c, fmt.Errorf("%w: %q is not a time", errNotCheckpoint, text)
			}
		}
		if text, ok := strings.CutPrefix(line, "next "); ok {
			if _, err := note.NewVerifier(text); err != nil {
				return c, fmt.Errorf("%w: %q is not a verifier", errNotCheckpoint, text)
			}
			c.Next = text
		}
	}
	if c.Time.IsZero() {
		return c, fmt.Errorf("%w: it says no time", errNotCheckpoint)
	}
	return c, nil
}

// ReadCheckpoint reads a note without a look at its signatures: of a store of one's own, where nobody is to be convinced.
func ReadCheckpoint(msg []byte) (Checkpoint, error) {
	text, _, ok := bytes.Cut(msg, []byte("\n\n"))
	if !ok || len(msg) > CheckpointBytesMax {
		return Checkpoint{}, errNotCheckpoint
	}
	return parseCheckpoint(string(text) + "\n")
}

// Key signs the checkpoints of one log.
type Key struct {
	signer   note.Signer
	verifier string
}

// NewKey makes the key of the log named origin from a secret of KeyBytes bytes.
func NewKey(origin string, seed []byte) (Key, error) {
	if err := CheckOrigin(origin); err != nil {
		return Key{}, err
	}
	if len(seed) != KeyBytes {
		return Key{}, fmt.Errorf("the secret of a checkpoint key has %d bytes instead of %d", len(seed), KeyBytes)
	}
	public := ed25519.NewKeyFromSeed(seed).Public().(ed25519.PublicKey)
	verifier, err := note.NewEd25519VerifierKey(origin, public)
	if err != nil {
		return Key{}, err
	}
	hash, _, _ := strings.Cut(strings.TrimPrefix(verifier, origin+"+"), "+")
	const ed25519Algorithm = 1
	encoded := base64.StdEncoding.EncodeToString(append([]byte{ed25519Algorithm}, seed...))
	signer, err := note.NewSigner("PRIVATE+KEY+" + origin + "+" + hash + "+" + encoded)
	return Key{signer, verifier}, err
}

// Verifier is the public text to verify with: NAME+HASH+KEY.
func (k Key) Verifier() string { return k.verifier }
