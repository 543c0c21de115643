package proof

import (
	"crypto/sha256"
	"fmt"
	"math/bits"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tollgate/tollgate/ledger/journal"
)

// BlockHeight is the height of the subtrees whose roots are kept; BlockLeaves is how many leaves one has. What is below
// is computed from the frames again.
const (
	BlockHeight = 8
	BlockLeaves = 1 << BlockHeight
)

// leafPrefix stands before a leaf in its hash (RFC 6962, section 2.1).
const leafPrefix = 0

// Hasher computes the hashes of leaves. It is for one goroutine.
type Hasher struct{ buf []byte }

// Leaf is the hash of the leaf of a writer's frame.
func (h *Hasher) Leaf(w journal.Writer, frame []byte) tlog.Hash {
	h.buf = append(h.buf[:0], leafPrefix)
	h.buf = append(h.buf, w[:]...)
	h.buf = append(h.buf, frame...)
	return sha256.Sum256(h.buf)
}

// Subtree is a complete subtree: the Nth of those with 2^Level leaves.
type Subtree struct {
	Level int
	N     int64
	Hash  tlog.Hash
}

// Tree is a tree's size and edge: the roots of the largest complete subtrees that its leaves fall into, from the left.
// They are all that is needed to grow it and to know its root. The zero Tree is empty.
type Tree struct {
	size int64
	edge []tlog.Hash
}

// NewTree returns the tree with that size and edge.
func NewTree(size int64, edge []tlog.Hash) (*Tree, error) {
	if size < 0 || len(edge) != bits.OnesCount64(uint64(size)) {
		return nil, fmt.Errorf("a tree of %d entries has another edge than %d hashes", size, len(edge))
	}
	return &Tree{size, append([]tlog.Hash(nil), edge...)}, nil
}

// Size is how many leaves the tree has.
func (t *Tree) Size() int64 { return t.size }

// Edge is a copy of the tree's edge.
func (t *Tree) Edge() []tlog.Hash { return append([]tlog.Hash(nil), t.edge...) }

// Root is the root hash.
func (t *Tree) Root() tlog.Hash {
	if len(t.edge) == 0 {
		return sha256.Sum256(nil)
	}
	root := t.edge[len(t.edge)-1]
	for i := len(t.edge) - 2; i >= 0; i-- {
		root = tlog.NodeHash(t.edge[i], root)
	}
	return root
}

// Append adds a leaf. What it completes of the subtrees that are kept is appended to kept.
func (t *Tree) Append(leaf tlog.Hash, kept []Subtree) []Subtree {
	kept, _ = t.Join(0, leaf, kept) // every size is a multiple of 1
	return kept
}

// Join adds a complete subtree of 2^level leaves, which must begin where a subtree of that size may.
func (t *Tree) Join(level int, root tlog.Hash, kept []Subtree) ([]Subtree, error) {
	if level < 0 || level > 62 || t.size&(1<<level-1) != 0 || t.size+1<<level < t.size {
		return kept, fmt.Errorf("no subtree of height %d begins at entry %d", level, t.size)
	}
	n := t.size >> level
	t.size += 1 << level
	for ; n&1 == 1; n >>= 1 {
		last := len(t.edge) - 1
		root = tlog.NodeHash(t.edge[last], root)
		t.edge = t.edge[:last]
		level++
		if level%BlockHeight == 0 {
			kept = append(kept, Subtree{level, n >> 1, root})
		}
	}
	t.edge = append(t.edge, root)
	return kept, nil
}

// Between lists the complete subtrees, without their hashes, that the leaves from one index to another fall into.
func Between(from, to int64) []Subtree {
	var out []Subtree
	for n := from; n < to; {
		level := bits.Len64(uint64(to-n)) - 1
		if n > 0 {
			level = min(level, bits.TrailingZeros64(uint64(n)))
		}
		out = append(out, Subtree{Level: level, N: n >> level})
		n += 1 << level
	}
	return out
}
