package house

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/token"
	"maps"
	"regexp"
	"slices"
	"strings"
)

// The norms of size, for code that is not test code.
const (
	MaxFunctionLines = 70
	MaxFileLines     = 800
	MaxPackageLines  = 3000
)

// Sizes holds the norms of size, and that nothing happens by being imported.
func Sizes(t *Tree) []Finding {
	var out []Finding
	packages := map[string]int{}
	for _, f := range t.Files {
		if f.Test {
			continue
		}
		packages[f.Dir] += f.Lines
		if f.Lines > MaxFileLines {
			out = append(out, Finding{"size", f.Path, 0, fmt.Sprintf("%d lines; a file has at most %d", f.Lines, MaxFileLines)})
		}
		for _, d := range f.Syntax.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if n := f.Line(fn.End()) - f.Line(fn.Pos()) + 1; n > MaxFunctionLines {
				out = append(out, Finding{"size", f.Path, f.Line(fn.Pos()), fmt.Sprintf("%s has %d lines; a function has at most %d", fn.Name.Name, n, MaxFunctionLines)})
			}
			if fn.Recv == nil && fn.Name.Name == "init" {
				out = append(out, Finding{"size", f.Path, f.Line(fn.Pos()), "no init: main wires, in order, by hand"})
			}
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(packages)) {
		if n := packages[dir]; n > MaxPackageLines {
			out = append(out, Finding{"size", dir, 0, fmt.Sprintf("%d lines; a package has at most %d: split it where it explains itself", n, MaxPackageLines)})
		}
	}
	return out
}

// Docs holds that every package has a package comment and every exported name of it a comment.
func Docs(t *Tree) []Finding {
	var out []Finding
	commented := map[string]bool{}
	for _, f := range t.Files {
		if f.Test {
			continue
		}
		commented[f.Dir] = commented[f.Dir] || f.Syntax.Doc != nil
		for _, d := range f.Syntax.Decls {
			for _, name := range undocumented(d) {
				out = append(out, Finding{"doc", f.Path, f.Line(name.Pos()), name.Name + " is exported and has no comment"})
			}
		}
	}
	for _, dir := range slices.Sorted(maps.Keys(commented)) {
		if !commented[dir] {
			out = append(out, Finding{"doc", dir, 0, "the package has no package comment: write a doc.go"})
		}
	}
	return out
}

// undocumented lists the exported names that d declares without a comment of their own or of their group.
func undocumented(d ast.Decl) []*ast.Ident {
	switch d := d.(type) {
	case *ast.FuncDecl:
		if d.Doc == nil && d.Name.IsExported() && exportedReceiver(d) && !wellKnown[d.Name.Name] {
			return []*ast.Ident{d.Name}
		}
	case *ast.GenDecl:
		if d.Tok == token.IMPORT || d.Doc != nil && d.Tok != token.TYPE {
			return nil
		}
		var out []*ast.Ident
		for _, spec := range d.Specs {
			out = append(out, undocumentedSpec(d, spec)...)
		}
		return out
	}
	return nil
}

// wellKnown are methods whose name is their documentation.
var wellKnown = map[string]bool{
	"Error": true, "String": true, "Unwrap": true, "Is": true, "As": true, "Len": true, "Less": true, "Swap": true,
	"MarshalJSON": true, "UnmarshalJSON": true, "MarshalText": true, "UnmarshalText": true, "UnmarshalYAML": true, "LogValue": true,
	"ServeHTTP": true, "RoundTrip": true, "Read": true, "Write": true, "Close": true, "Format": true, "GoString": true,
}

func exportedReceiver(d *ast.FuncDecl) bool {
	if d.Recv == nil || len(d.Recv.List) == 0 {
		return true
	}
	typ := d.Recv.List[0].Type
	for {
		switch t := typ.(type) {
		case *ast.StarExpr:
			typ = t.X
		case *ast.IndexExpr:
			typ = t.X
		case *ast.IndexListExpr:
			typ = t.X
		case *ast.Ident:
			return t.IsExported()
		default:
			return true
		}
	}
}

func undocumentedSpec(d *ast.GenDecl, spec ast.Spec) []*ast.Ident {
	switch spec := spec.(type) {
	case *ast.TypeSpec:
		alone := d.Doc != nil && !d.Lparen.IsValid()
		if spec.Name.IsExported() && spec.Doc == nil && spec.Comment == nil && !alone {
			return []*ast.Ident{spec.Name}
		}
	case *ast.ValueSpec:
		if spec.Doc != nil || spec.Comment != nil {
			return nil
		}
		var out []*ast.Ident
		for _, name := range spec.Names {
			if name.IsExported() {
				out = append(out, name)
			}
		}
		return out
	}
	return nil
}

// words are texts that do not belong into the tree. They are put together from parts so that this file passes.
var words = []struct {
	pattern *regexp.Regexp
	why     string
}{
	{regexp.MustCompile(`(^|[\s"'=(` + "`" + `])/(wor` + `k|roo` + `t|tmp/[a-z])/`), "a path of one machine"},
	{regexp.MustCompile(`registry\.npmjs\.or` + `g|proxy\.golang\.or` + `g|pypi\.or` + `g|pythonhosted\.or` + `g`), "the address of a package registry: clients are configured outside"},
	{regexp.MustCompile(`\b(TO` + `DO|FIX` + `ME|XX` + `X)\b`), "an unfinished place: finish it or say in the documentation what is missing"},
	{regexp.MustCompile(`<<<<<<` + `< |>>>>>>` + `> `), "a merge left open"},
}

// Words holds that no text speaks of one machine, one registry or unfinished work.
func Words(t *Tree) []Finding {
	var out []Finding
	for _, p := range slices.Sorted(maps.Keys(t.Texts)) {
		if strings.HasSuffix(p, "package-lock.json") {
			continue
		}
		for i, line := range bytes.Split(t.Texts[p], []byte("\n")) {
			for _, w := range words {
				if m := w.pattern.Find(line); m != nil {
					out = append(out, Finding{"words", p, i + 1, fmt.Sprintf("%q: %s", bytes.TrimSpace(m), w.why)})
				}
			}
		}
	}
	return out
}
