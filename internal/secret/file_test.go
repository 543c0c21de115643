package secret

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestKeyFileStays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k")
	first, err := KeyFile(path, "the key", 32)
	if err != nil || len(first) != 32 || bytes.Equal(first, make([]byte, 32)) {
		t.Fatalf("%x, %v", first, err)
	}
	again, err := KeyFile(path, "the key", 32)
	if err != nil || !bytes.Equal(first, again) {
		t.Errorf("%x and then %x, %v", first, again, err)
	}
	if _, err := KeyFile(path, "the key", 16); err == nil || !strings.Contains(err.Error(), "read the key") {
		t.Errorf("a key of another length: %v", err)
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := KeyFile(path, "the key", 32); err == nil || !strings.Contains(err.Error(), "chmod 600") {
		t.Errorf("a key that others can read: %v", err)
	}
	if _, err := KeyFile(filepath.Join(path, "below a file"), "the key", 32); err == nil {
		t.Error("a key was made where there is no directory")
	}
}
