package secret

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// fileBytesMax bounds a file a reference points to: a key, a token, a certificate; not a disk image.
const fileBytesMax = 64 << 10

// Resolve returns the credential that ref points to: env:NAME is an environment variable, file:PATH a file, less one line
// end at its end. A credential written out in place of a reference is refused: a config is copied, shown and committed.
// Errors say what to write and quote nothing that could be the credential.
func Resolve(ref string) (String, error) {
	kind, name, ok := strings.Cut(ref, ":")
	switch {
	case ref == "":
		return String{}, errors.New("no secret: write env:NAME or file:PATH")
	case ok && kind == "env":
		return fromEnv(name)
	case ok && kind == "file":
		return fromFile(name)
	case IsReference(ref):
		return String{}, fmt.Errorf("secrets from %s: are not supported: write env:NAME or file:PATH", kind)
	}
	return String{}, errors.New("a secret may not stand in the config itself: put it into an environment variable and write env:NAME, or into a file and write file:PATH")
}

// IsReference reports whether text has the form of a reference, of whatever kind.
func IsReference(text string) bool {
	for _, kind := range [...]string{"env:", "file:", "vault://", "awssm://", "gcpsm://", "azkv://"} {
		if strings.HasPrefix(text, kind) {
			return true
		}
	}
	return false
}

func fromEnv(name string) (String, error) {
	if name == "" {
		return String{}, errors.New("env: names no variable: write env:NAME")
	}
	text, set := os.LookupEnv(name)
	switch {
	case !set:
		return String{}, fmt.Errorf("the environment has no variable %s: set it before the start", name)
	case text == "":
		return String{}, fmt.Errorf("the environment variable %s is empty", name)
	}
	return New(text), nil
}

func fromFile(path string) (String, error) {
	if path == "" {
		return String{}, errors.New("file: names no file: write file:PATH")
	}
	f, err := os.Open(path)
	if err != nil {
		return String{}, fmt.Errorf("read a secret: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, fileBytesMax+1))
	switch text = withoutLineEnd(text); {
	case err != nil:
		return String{}, fmt.Errorf("read a secret: %w", err)
	case len(text) > fileBytesMax:
		return String{}, fmt.Errorf("read a secret: %s is larger than %d KiB", path, fileBytesMax>>10)
	case len(text) == 0:
		return String{}, fmt.Errorf("read a secret: %s is empty", path)
	}
	return New(string(text)), nil
}

func withoutLineEnd(text []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
}

// Exposed returns a warning if ref is a file that every user of the machine may read, or "". Secrets mounted into a
// container are often so, where it does no harm: hence a warning, not a refusal.
func Exposed(ref string) string {
	path, ok := strings.CutPrefix(ref, "file:")
	if !ok {
		return ""
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm()&0o004 == 0 {
		return ""
	}
	return fmt.Sprintf("every user of this machine may read %s: chmod 600 it", path)
}
