package lease

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/google/uuid"

	"github.com/tollgate/tollgate/internal/durable"
)

// idName is the file of the replica's identity in the data directory.
const idName = "replica.id"

// identity reads the replica's identity, or makes one.
func identity(dir durable.Dir) (string, error) {
	b, err := dir.ReadFile(idName)
	if errors.Is(err, fs.ErrNotExist) {
		return newIdentity(dir)
	}
	if err != nil {
		return "", fmt.Errorf("reading the replica's identity: %w", err)
	}
	id, err := uuid.Parse(strings.TrimSpace(string(b)))
	if err != nil {
		return "", fmt.Errorf("the file %s holds no identity: remove it, and the replica gets a new one (what the old one holds of limits stays spent for a while)", idName)
	}
	return id.String(), nil
}

func newIdentity(dir durable.Dir) (string, error) {
	id := uuid.NewString()
	if err := dir.Replace(idName, []byte(id+"\n")); err != nil {
		return "", fmt.Errorf("keeping the replica's identity: %w", err)
	}
	return id, nil
}

// place names the file at path as this running kernel knows it, or is empty when that cannot be told. Who holds the lock of
// a file whose name by this is known from before knows that the one who held it then has ended.
func place(path string) string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	file := fileNumber(path)
	if file == "" {
		return ""
	}
	return strings.TrimSpace(string(boot)) + " " + file
}
