package settings

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/tollgate/tollgate/internal/strictyaml"
	"github.com/tollgate/tollgate/llm/price"
)

// fileBytesMax bounds the config file; one with a thousand keys has 200 KB.
const fileBytesMax = 4 << 20

// The defaults of the config file.
const (
	DefaultListen = "127.0.0.1:8787"
	DefaultAdmin  = "127.0.0.1:8788"
	DefaultData   = "data"
)

// Source is a config file as it was read.
type Source struct {
	File
	Name  string         // as given, for messages
	Dir   string         // what relative paths start from
	lines map[string]int // by dotted path of the key: "keys.ci-bot.team"
	found []error        // what is wrong with it

	WithoutSecrets bool // do not look for secrets: nothing will be called
}

// Read reads and decodes the config file at path. Faults of its form are the error; what its parts mean is not looked
// at yet.
func Read(path string) (*Source, error) {
	text, err := readBounded(path)
	if err != nil {
		return nil, err
	}
	s := &Source{Name: path, Dir: filepath.Dir(path), lines: map[string]int{}}
	if err := strictyaml.Unmarshal(path, text, &s.File); err != nil {
		return nil, err
	}
	var root yaml.Node
	if err := yaml.Unmarshal(text, &root); err == nil && len(root.Content) > 0 {
		s.index("", root.Content[0])
	}
	return s, nil
}

func readBounded(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("reading the config file: %w", err)
	}
	if info.Size() > fileBytesMax {
		return nil, fmt.Errorf("the config file %s is larger than %d bytes", path, fileBytesMax)
	}
	return os.ReadFile(path)
}

// index notes the line of every key below n.
func (s *Source) index(path string, n *yaml.Node) {
	if n.Kind != yaml.MappingNode {
		return
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := path + n.Content[i].Value
		s.lines[key] = n.Content[i].Line
		s.index(key+".", n.Content[i+1])
	}
}

// fault notes that the key at path says something wrong.
func (s *Source) fault(path, format string, args ...any) {
	s.faultAt(s.line(path), format, args...)
}

func (s *Source) faultAt(line int, format string, args ...any) {
	s.found = append(s.found, &strictyaml.Error{File: s.Name, Line: max(line, 1), Text: fmt.Sprintf(format, args...)})
}

// line is that of the key at path, or of the nearest key above it.
func (s *Source) line(path string) int {
	for {
		if n, ok := s.lines[path]; ok {
			return n
		}
		i := strings.LastIndexByte(path, '.')
		if i < 0 {
			return 1
		}
		path = path[:i]
	}
}

// Resolve makes a path of the file absolute.
func (s *Source) Resolve(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(s.Dir, path)
}

// Load reads the file at path and works out what it means. The error joins every fault that was found, each with its line.
func Load(path string, catalog *price.Catalog) (*Setup, error) {
	s, err := Read(path)
	if err != nil {
		return nil, err
	}
	return Prepare(s, catalog)
}

// Find is the config file to use: the one named, else ./tollgate.yaml, else the one under the XDG config directories.
// Empty means that there is none.
func Find(named string) (string, error) {
	if named != "" {
		return named, nil
	}
	for _, path := range candidates() {
		_, err := os.Stat(path)
		if err == nil {
			return path, nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("looking for the config file: %w", err)
		}
	}
	return "", nil
}

func candidates() []string {
	paths := []string{"tollgate.yaml"}
	home := os.Getenv("XDG_CONFIG_HOME")
	if home == "" {
		if dir, err := os.UserHomeDir(); err == nil {
			home = filepath.Join(dir, ".config")
		}
	}
	if home != "" {
		paths = append(paths, filepath.Join(home, "tollgate", "tollgate.yaml"))
	}
	dirs := os.Getenv("XDG_CONFIG_DIRS")
	if dirs == "" {
		dirs = "/etc/xdg"
	}
	for _, dir := range filepath.SplitList(dirs) {
		paths = append(paths, filepath.Join(dir, "tollgate", "tollgate.yaml"))
	}
	return paths
}
