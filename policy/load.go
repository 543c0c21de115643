package policy

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Load compiles all *.yaml and *.yml files of dir (not *_test.yaml and not those of directories below), all or nothing.
//
// The revision tells an auditor exactly which rules decided: 32 hex digits of a SHA-256 over names and contents of the
// files read. In a git checkout the first 12 digits of the commit and a + stand before it. The commit says where to look;
// whether the checkout was clean is not claimed, since the hash holds either way: check the commit out and load it, and
// the same revision means the same rules.
func Load(dir string, o Options) (*Set, error) {
	files, err := read(dir)
	if err != nil {
		return nil, fmt.Errorf("reading policies: %w", err)
	}
	revision := contentHash(files)
	if commit := headCommit(dir); commit != "" {
		revision = commit[:12] + "+" + revision
	}
	return Compile(revision, files, o)
}

func read(dir string) (map[string][]byte, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for _, entry := range entries {
		name := entry.Name()
		if !isPolicyFile(name) {
			continue
		}
		if len(files) == filesMax {
			return nil, fmt.Errorf("more than %d files", filesMax)
		}
		data, err := readFile(filepath.Join(dir, name))
		if err != nil {
			return nil, err
		}
		files[name] = data
	}
	return files, nil
}

func isPolicyFile(name string) bool {
	base, yaml := strings.CutSuffix(name, ".yaml")
	if !yaml {
		base, yaml = strings.CutSuffix(name, ".yml")
	}
	return yaml && !strings.HasPrefix(name, ".") && !strings.HasSuffix(base, "_test")
}

// readFile reads a regular file, or what a link leads to, up to one byte more than Compile takes.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New(filepath.Base(name) + " is not a regular file")
	}
	return io.ReadAll(io.LimitReader(f, fileBytesMax+1))
}

// contentHash is over the names and contents in the order of the names, each with its length before it.
func contentHash(files map[string][]byte) string {
	sum := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		for _, part := range [...][]byte{[]byte(name), files[name]} {
			sum.Write(binary.BigEndian.AppendUint64(nil, uint64(len(part))))
			sum.Write(part)
		}
	}
	return hex.EncodeToString(sum.Sum(nil))[:32]
}

// gitBytesMax bounds what is read of a repository's own files: packed-refs of a very large one has some megabytes.
const gitBytesMax = 16 << 20

// headCommit returns the commit that is checked out around dir, or nothing. It reads the repository's files itself: only
// the sandbox runs programs.
func headCommit(dir string) string {
	git := gitDir(dir)
	if git == "" {
		return ""
	}
	head := firstLine(filepath.Join(git, "HEAD"))
	ref, symbolic := strings.CutPrefix(head, "ref: ")
	if !symbolic {
		return commitID(head)
	}
	common := git
	if c := firstLine(filepath.Join(git, "commondir")); c != "" {
		common = filepath.Join(git, c)
		if filepath.IsAbs(c) {
			common = c
		}
	}
	if !filepath.IsLocal(ref) {
		return ""
	}
	for _, at := range [...]string{git, common} {
		if id := commitID(firstLine(filepath.Join(at, filepath.FromSlash(ref)))); id != "" {
			return id
		}
	}
	for line := range strings.Lines(contents(filepath.Join(common, "packed-refs"))) {
		if id, name, ok := strings.Cut(strings.TrimSpace(line), " "); ok && name == ref {
			return commitID(id)
		}
	}
	return ""
}

// gitDir finds the repository that dir is in: a .git directory, or a .git file that names one (a worktree).
func gitDir(dir string) string {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return ""
	}
	for {
		git := filepath.Join(dir, ".git")
		if info, err := os.Stat(git); err == nil {
			if info.IsDir() {
				return git
			}
			named, ok := strings.CutPrefix(firstLine(git), "gitdir: ")
			if ok && !filepath.IsAbs(named) {
				named = filepath.Join(dir, named)
			}
			return named
		}
		up := filepath.Dir(dir)
		if up == dir {
			return ""
		}
		dir = up
	}
}

func contents(name string) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, gitBytesMax))
	if err != nil {
		return ""
	}
	return string(data)
}

func firstLine(name string) string {
	line, _, _ := strings.Cut(contents(name), "\n")
	return strings.TrimSpace(line)
}

// commitID returns s if it is a SHA-1 or SHA-256 in hex.
func commitID(s string) string {
	if _, err := hex.DecodeString(s); err != nil || len(s) != 40 && len(s) != 64 {
		return ""
	}
	return s
}
