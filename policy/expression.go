package policy

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"

	"github.com/tollgate/tollgate/internal/strictyaml"
)

// What one expression may be.
const (
	exprBytesMax = 4 << 10
	exprNodesMax = 500
)

// expression is one compiled condition. Immutable, safe for concurrent use.
type expression struct {
	text    string
	program *vm.Program
	uses    uses
}

// compileError is one finding in an expression; line counts from 0 inside it.
type compileError struct {
	line int
	text string
}

// compileExpression compiles a condition. It is compiled twice: as written, so that what is wrong is said in the words
// of its author, and again with the guards put in.
func compileExpression(src string, sc scope, sets map[string]set) (_ *expression, bad *compileError) {
	defer func() {
		if r := recover(); r != nil {
			bad = &compileError{0, "this expression cannot be compiled"}
		}
	}()
	if len(src) > exprBytesMax {
		return nil, &compileError{0, fmt.Sprintf("an expression has at most %d bytes: use a set, or several rules", exprBytesMax)}
	}
	in := inspect(sc, sets)
	_, err := expr.Compile(src, append(environment(), expr.Patch(in))...)
	in.finish()
	if len(in.found) > 0 {
		p := in.found[0]
		return nil, &compileError{lineAt(src, p.at), p.text}
	}
	if err != nil {
		return nil, explain(err, sc)
	}
	program, err := expr.Compile(src, append(environment(), expr.Patch(inspect(sc, sets)), expr.Patch(hardener{}))...)
	if err != nil {
		return nil, explain(err, sc)
	}
	return &expression{text: src, program: program, uses: in.uses}, nil
}

// environment holds the options of both passes. The optimizer stays off: it rewrites conditions in ways that change what
// a missing or mistyped value does.
func environment() []expr.Option {
	options := []expr.Option{expr.Env(vars{}), expr.AsBool(), expr.MaxNodes(exprNodesMax), expr.Optimize(false)}
	return append(append(options, functions()...), guards()...)
}

func inspect(sc scope, sets map[string]set) *inspector {
	return &inspector{scope: sc, sets: sets, functions: map[*ast.IdentifierNode]bool{}}
}

func lineAt(src string, runes int) int {
	line := 0
	for i, c := range []rune(src) {
		if i >= runes {
			break
		}
		if c == '\n' {
			line++
		}
	}
	return line
}

var (
	unknownName  = regexp.MustCompile(`^unknown name (\w+)`)
	unknownField = regexp.MustCompile(`^type policy\.(\w+)Vars has no field (\w+)`)
)

// explain turns an error of the expression compiler into ours.
func explain(err error, sc scope) *compileError {
	var at *file.Error
	if !errors.As(err, &at) {
		first, _, _ := strings.Cut(err.Error(), "\n")
		return &compileError{0, first}
	}
	out := &compileError{max(at.Line-1, 0), at.Message}
	if m := unknownName.FindStringSubmatch(at.Message); m != nil {
		known := append(append(sc.names(), functionNames[:]...), builtinsAllowed[:]...)
		out.text += strictyaml.DidYouMean(m[1], known)
	}
	if m := unknownField.FindStringSubmatch(at.Message); m != nil {
		out.text = fmt.Sprintf("%s has no field %s%s", m[1], m[2], strictyaml.DidYouMean(m[2], fieldsOf(m[1])))
	}
	out.text = strings.ReplaceAll(strings.ReplaceAll(out.text, "policy.", ""), "interface {}", "any")
	return out
}

func didYouMean(word string, sets map[string]set) string {
	return strictyaml.DidYouMean(word, slices.Collect(maps.Keys(sets)))
}

// fieldsOf lists what the variable name holds.
func fieldsOf(name string) []string {
	var out []string
	for f := range reflect.TypeFor[vars]().Fields() {
		if f.Tag.Get("expr") == name {
			for inner := range f.Type.Fields() {
				out = append(out, inner.Tag.Get("expr"))
			}
		}
	}
	return out
}
