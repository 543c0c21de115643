package secret

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/tollgate/tollgate/internal/durable"
)

// KeyFile reads a key of size bytes from the file at path, and makes a random one at the first start. Of several processes
// that start at once all get the same. what is how errors call the key.
func KeyFile(path, what string, size int) ([]byte, error) {
	key, err := readKey(path, what, size)
	if !errors.Is(err, fs.ErrNotExist) {
		return key, err
	}
	fresh := make([]byte, size)
	_, _ = rand.Read(fresh)
	// Written whole under another name and then linked: whoever finds the file finds all of it, and the first one stays.
	temporary := path + "." + rand.Text()
	if err := durable.WriteFile(temporary, fresh, 0o600); err != nil {
		return nil, fmt.Errorf("make %s: %w", what, err)
	}
	err = os.Link(temporary, path)
	if removed := os.Remove(temporary); err == nil {
		err = removed
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make %s: %w", what, err)
	}
	return readKey(path, what, size)
}

func readKey(path, what string, size int) ([]byte, error) {
	key, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	if len(key) != size {
		return nil, fmt.Errorf("read %s: %s has %d bytes instead of %d: restore it from a backup", what, path, len(key), size)
	}
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", what, err)
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return nil, fmt.Errorf("read %s: others may read %s (mode %o): chmod 600 it", what, path, mode)
	}
	return key, nil
}
