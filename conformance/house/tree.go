package house

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path"
	"sort"
	"strings"
)

// Module is the import path of this repository.
const Module = "github.com/tollgate/tollgate"

// Finding is one place that breaks a rule.
type Finding struct {
	Rule string // name of the rule, such as "imports"
	File string // path in the tree, slash separated
	Line int    // 0: the whole file or package
	Text string // what is wrong and what to do instead
}

func (f Finding) String() string {
	if f.Line == 0 {
		return fmt.Sprintf("%s: %s: %s", f.File, f.Rule, f.Text)
	}
	return fmt.Sprintf("%s:%d: %s: %s", f.File, f.Line, f.Rule, f.Text)
}

// File is one Go file of the tree, parsed with comments.
type File struct {
	Path   string
	Dir    string // "" for the root of the tree
	Test   bool
	Syntax *ast.File
	Lines  int

	fset *token.FileSet
}

// Line returns the line number of p.
func (f *File) Line(p token.Pos) int { return f.fset.Position(p).Line }

// Top is the first element of the file's directory: the name that the import table knows.
func (f *File) Top() string { return top(f.Dir) }

func top(dir string) string {
	first, _, _ := strings.Cut(dir, "/")
	return first
}

// Tree is a parsed source tree and the text files in it.
type Tree struct {
	Files []*File           // every Go file, in path order
	Texts map[string][]byte // every file that people wrote, Go files included, by path
}

// skipped are directories that hold what is fetched, built or deliberately broken.
var skipped = map[string]bool{".git": true, "node_modules": true, ".venv": true, "bin": true, "data": true, "testdata": true, "vendor": true, ".cache": true}

// textSuffixes are the kinds of files that people read.
var textSuffixes = []string{".go", ".md", ".mod", ".yaml", ".yml", ".json", ".js", ".mjs", ".py", ".txt", ".txtar", ".conf", ".toml"}

// Load parses every Go file below fsys and reads the other texts.
func Load(fsys fs.FS) (*Tree, error) {
	t := &Tree{Texts: map[string][]byte{}}
	fset := token.NewFileSet()
	err := fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if skipped[d.Name()] {
				return fs.SkipDir
			}
			return nil
		}
		if !isText(p) {
			return nil
		}
		b, err := fs.ReadFile(fsys, p)
		if err != nil {
			return err
		}
		t.Texts[p] = b
		if strings.HasSuffix(p, ".go") {
			return t.parse(fset, p, b)
		}
		return nil
	})
	return t, err
}

func isText(p string) bool {
	switch path.Base(p) {
	case "Makefile", "run":
		return true
	}
	for _, s := range textSuffixes {
		if strings.HasSuffix(p, s) {
			return true
		}
	}
	return false
}

func (t *Tree) parse(fset *token.FileSet, p string, b []byte) error {
	syntax, err := parser.ParseFile(fset, p, b, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	dir := path.Dir(p)
	if dir == "." {
		dir = ""
	}
	t.Files = append(t.Files, &File{
		Path: p, Dir: dir, Test: strings.HasSuffix(p, "_test.go"),
		Syntax: syntax, Lines: strings.Count(string(b), "\n"), fset: fset,
	})
	return nil
}

// Check runs every rule and returns what they find, in path order.
func Check(fsys fs.FS) ([]Finding, error) {
	t, err := Load(fsys)
	if err != nil {
		return nil, err
	}
	var all []Finding
	for _, rule := range []func(*Tree) []Finding{Imports, SideDoors, Sizes, Docs, Words} {
		all = append(all, rule(t)...)
	}
	sort.SliceStable(all, func(i, j int) bool {
		if all[i].File != all[j].File {
			return all[i].File < all[j].File
		}
		return all[i].Line < all[j].Line
	})
	return all, nil
}
