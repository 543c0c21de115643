package house

import (
	"fmt"
	"go/ast"
	"slices"
	"strconv"
)

// doors are the directories that may hold transports and dialers: the gate, the guarded dialer below it, and what tests
// it from outside.
var doors = []string{"gate", "internal/dial", "conformance"}

// sideDoors are the names by which a program reaches the network past the gate. A pointer to http.Client is only a
// place for one that the gate made; all others are refused in any form.
var sideDoors = map[string][]string{
	"net/http":              {"Client", "Transport", "DefaultClient", "DefaultTransport", "Get", "Head", "Post", "PostForm", "NewFileTransport"},
	"net":                   {"Dial", "DialTimeout", "DialIP", "DialTCP", "DialUDP", "DialUnix", "Dialer"},
	"crypto/tls":            {"Dial", "DialWithDialer", "Dialer", "Client"},
	"net/smtp":              {"Dial", "SendMail"},
	"syscall":               {"Connect", "Socket"},
	"golang.org/x/sys/unix": {"Connect", "Socket"},
}

// pointerAllowed are types of sideDoors that may be named behind a star.
var pointerAllowed = map[string]bool{"net/http.Client": true}

// SideDoors holds that nobody but the gate opens a connection.
func SideDoors(t *Tree) []Finding {
	var out []Finding
	for _, f := range t.Files {
		if f.Test || fake(f.Dir) || slices.ContainsFunc(doors, func(d string) bool { return within(f.Dir, d) }) {
			continue
		}
		imported := localNames(f.Syntax)
		starred := map[ast.Expr]bool{}
		ast.Inspect(f.Syntax, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.StarExpr:
				starred[n.X] = true
			case *ast.SelectorExpr:
				if door := doorOf(n, imported); door != "" && !(starred[n] && pointerAllowed[door]) {
					out = append(out, Finding{"side door", f.Path, f.Line(n.Pos()),
						fmt.Sprintf("%s reaches the network past the gate: use gate.Client or gate.RoundTrip (plumbing: internal/dial)", door)})
				}
			}
			return true
		})
	}
	return out
}

// localNames maps the name a file uses for each package of sideDoors to its path.
func localNames(file *ast.File) map[string]string {
	names := map[string]string{}
	for _, spec := range file.Imports {
		p, err := strconv.Unquote(spec.Path.Value)
		if err != nil || sideDoors[p] == nil {
			continue
		}
		name := p
		for i := len(p) - 1; i >= 0; i-- {
			if p[i] == '/' {
				name = p[i+1:]
				break
			}
		}
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = p
	}
	return names
}

func doorOf(sel *ast.SelectorExpr, imported map[string]string) string {
	x, ok := sel.X.(*ast.Ident)
	if !ok {
		return ""
	}
	p, ok := imported[x.Name]
	if !ok || !slices.Contains(sideDoors[p], sel.Sel.Name) {
		return ""
	}
	return p + "." + sel.Sel.Name
}
