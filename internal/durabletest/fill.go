package durabletest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/tollgate/tollgate/internal/durable"
)

// Fill fills the disk of a directory to the last byte, by a file there, until remove is called. The disk is one that the
// test alone has: see SmallDisk.
func Fill(t *testing.T, dir string) (remove func()) {
	t.Helper()
	name := filepath.Join(dir, "ballast")
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int{1 << 20, 4096, 1} {
		for chunk := make([]byte, size); err == nil; {
			_, err = f.Write(chunk)
		}
		if !durable.IsFull(err) {
			t.Fatal(err)
		}
		err = nil
	}
	return func() {
		if err := os.Remove(name); err != nil {
			t.Error(err)
		}
	}
}
