package proof

import (
	"fmt"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/tollgate/tollgate/ledger/journal"
)

// The tree is that of tlog at every size, and what it says to keep is what tlog stores.
func TestTreeIsThatOfTlog(t *testing.T) {
	var stored []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var out []tlog.Hash
		for _, i := range indexes {
			out = append(out, stored[i])
		}
		return out, nil
	})
	var tree Tree
	var h Hasher
	for n := int64(0); n <= 70_000; n++ {
		if n < 600 || n%4099 == 0 {
			want, err := tlog.TreeHash(n, reader)
			if err != nil || tree.Root() != want {
				t.Fatalf("size %d: %v, want %v, %v", n, tree.Root(), want, err)
			}
			again, err := NewTree(n, tree.Edge())
			if err != nil || again.Root() != want {
				t.Fatalf("size %d from its edge: %v, %v", n, again, err)
			}
		}
		frame := fmt.Appendf(nil, "frame %d", n)
		w := journal.Writer{byte(n)}
		leaf := h.Leaf(w, frame)
		if want := tlog.RecordHash(append(w[:], frame...)); leaf != want {
			t.Fatalf("leaf %d: %v, want %v", n, leaf, want)
		}
		hashes, err := tlog.StoredHashesForRecordHash(n, leaf, reader)
		if err != nil {
			t.Fatal(err)
		}
		stored = append(stored, hashes...)
		for _, s := range tree.Append(leaf, nil) {
			if want := stored[tlog.StoredHashIndex(s.Level, s.N)]; s.Hash != want || s.Level%BlockHeight != 0 || (s.N+1)<<s.Level != n+1 {
				t.Fatalf("kept %+v after leaf %d, want %v", s, n, want)
			}
		}
	}
}

// A tree grown by whole subtrees is the one grown leaf by leaf.
func TestTreeGrowsBySubtrees(t *testing.T) {
	leaves := make([]tlog.Hash, 1100)
	for i := range leaves {
		leaves[i] = tlog.Hash{byte(i), byte(i >> 8)}
	}
	for _, cut := range []int64{0, 1, 7, 255, 256, 257, 512, 1000, 1100} {
		var tree Tree
		for _, leaf := range leaves[:cut] {
			tree.Append(leaf, nil)
		}
		for _, s := range Between(cut, int64(len(leaves))) {
			if _, err := tree.Join(s.Level, subtree(leaves[s.N<<s.Level:(s.N+1)<<s.Level]), nil); err != nil {
				t.Fatal(err)
			}
		}
		if want := subtree(leaves); tree.Root() != want || tree.Size() != int64(len(leaves)) {
			t.Errorf("cut at %d: %v, want %v", cut, tree.Root(), want)
		}
	}
	tree, _ := NewTree(3, leaves[:2])
	if _, err := tree.Join(1, leaves[0], nil); err == nil {
		t.Error("a subtree of two leaves begins at the fourth")
	}
	if _, err := NewTree(3, leaves[:1]); err == nil {
		t.Error("a tree of three leaves has an edge of one hash")
	}
}

func BenchmarkTree(b *testing.B) {
	frame := make([]byte, 350)
	var tree Tree
	var h Hasher
	var kept []Subtree
	b.ReportAllocs()
	for b.Loop() {
		kept = tree.Append(h.Leaf(journal.Writer{1}, frame), kept[:0])
	}
}
