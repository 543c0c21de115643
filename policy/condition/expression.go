package condition

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

// Expression is one compiled condition. Immutable, safe for concurrent use. A nil Expression always holds.
type Expression struct {
	text    string
	program *vm.Program
	uses    Uses
}

// Text is the condition as written; empty for nil.
func (x *Expression) Text() string {
	if x == nil {
		return ""
	}
	return x.text
}

// Uses says what the condition reads.
func (x *Expression) Uses() Uses {
	if x == nil {
		return Uses{}
	}
	return x.uses
}

// Sets are named lists that conditions refer to as sets.NAME: []string or []int.
type Sets map[string]any

// Error is what is wrong with a condition.
type Error struct {
	Line int // of the condition's text, from 0
	Text string
}

func (e *Error) Error() string { return e.Text }

// Compile compiles a condition; the error is an *Error. The text is compiled twice: as written, so that what is wrong is
// said in the words of its author, and again with the guards put in.
func Compile(src string, sc Scope, sets Sets) (_ *Expression, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &Error{0, "this expression cannot be compiled"}
		}
	}()
	if len(src) > exprBytesMax {
		return nil, &Error{0, fmt.Sprintf("an expression has at most %d bytes: use a set, or several rules", exprBytesMax)}
	}
	in := inspect(sc, sets)
	_, err = expr.Compile(src, append(environment(), expr.Patch(in))...)
	in.finish()
	if len(in.found) > 0 {
		p := in.found[0]
		return nil, &Error{lineAt(src, p.at), p.text}
	}
	if err != nil {
		return nil, explain(err, sc)
	}
	program, err := expr.Compile(src, append(environment(), expr.Patch(inspect(sc, sets)), expr.Patch(hardener{}))...)
	if err != nil {
		return nil, explain(err, sc)
	}
	return &Expression{text: src, program: program, uses: in.uses}, nil
}

// environment holds the options of both passes. The optimizer stays off: it rewrites conditions in ways that change what
// a missing or mistyped value does.
func environment() []expr.Option {
	options := []expr.Option{expr.Env(Vars{}), expr.AsBool(), expr.MaxNodes(exprNodesMax), expr.Optimize(false)}
	return append(append(options, functions()...), guards()...)
}

func inspect(sc Scope, sets Sets) *inspector {
	return &inspector{scope: sc, sets: sets, pending: map[*ast.IdentifierNode]string{}}
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
	unknownField = regexp.MustCompile(`^type condition\.(\w+) has no field (\w+)`)
)

// explain turns an error of the expression compiler into ours.
func explain(err error, sc Scope) *Error {
	var at *file.Error
	if !errors.As(err, &at) {
		first, _, _ := strings.Cut(err.Error(), "\n")
		return &Error{0, first}
	}
	out := &Error{max(at.Line-1, 0), at.Message}
	if m := unknownName.FindStringSubmatch(at.Message); m != nil {
		known := append(append(sc.names(), functionNames[:]...), builtinsAllowed[:]...)
		out.Text += strictyaml.DidYouMean(m[1], known)
	}
	if m := unknownField.FindStringSubmatch(at.Message); m != nil {
		name := strings.ToLower(m[1])
		out.Text = fmt.Sprintf("%s has no field %s%s", name, m[2], strictyaml.DidYouMean(m[2], fieldsOf(name)))
	}
	out.Text = strings.ReplaceAll(strings.ReplaceAll(out.Text, "condition.", ""), "interface {}", "any")
	return out
}

func didYouMean(word string, sets Sets) string {
	return strictyaml.DidYouMean(word, slices.Collect(maps.Keys(sets)))
}

// fieldsOf lists what the variable name holds.
func fieldsOf(name string) []string {
	var out []string
	for f := range reflect.TypeFor[Vars]().Fields() {
		if f.Tag.Get("expr") == name {
			for inner := range f.Type.Fields() {
				out = append(out, inner.Tag.Get("expr"))
			}
		}
	}
	return out
}
