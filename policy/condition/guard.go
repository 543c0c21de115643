package condition

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/expr-lang/expr/ast"
)

// builtinsAllowed are the builtins that expressions may use. What is not here is off: it reads a clock (now), multiplies
// what the caller sent (repeat, replace, join, concat), costs more than one pass (sort, uniq, groupBy, reduce), answers
// nil for what is not there (first, last, find, get), or has no checked form (toJSON, fromJSON).
var builtinsAllowed = [...]string{
	"all", "any", "none", "one", "filter", "map", "count",
	"len", "type", "lower", "upper", "trim", "trimPrefix", "trimSuffix", "split", "hasPrefix", "hasSuffix", "indexOf",
	"abs", "ceil", "floor", "round",
}

// bytesPerStep says how much text a step of the meter pays for in a builtin, operator or function; those not listed pay
// by textBytesPerStep, those with 0 take no time that depends on their argument.
var bytesPerStep = map[string]int{
	"type": 0, "abs": 0, "ceil": 0, "floor": 0, "round": 0,
	"split": 8, "matches": 16, "len": 1024, "contains": 1024, "compare": 1024,
}

const (
	textBytesPerStep = 64
	rangeMax         = 10_000
)

// inspector reads a parsed expression before anything is changed in it: what it reads, and what it may not.
type inspector struct {
	scope Scope
	sets  Sets
	found []problem
	uses  Uses

	pending   map[*ast.IdentifierNode]string // names that mean nothing alone, and what to say if no parent takes them
	args      int                            // reads of args, and how many of them name a member
	argsNamed int
}

// problem is something wrong at a place of an expression.
type problem struct {
	at   int // in runes
	text string
}

// Uses says what a condition reads.
type Uses struct {
	Args     bool
	Members  []string // the members of args that are read; nil with Args set: any
	Now      bool
	Spend    bool
	Client   bool
	Sets     []string
	Optional bool // compares with != what may be missing
}

func (in *inspector) fail(n ast.Node, format string, args ...any) {
	in.found = append(in.found, problem{n.Location().From, fmt.Sprintf(format, args...)})
}

// Visit implements ast.Visitor; children come before their parents.
func (in *inspector) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		in.identifier(n)
	case *ast.MemberNode:
		in.member(node, n)
	case *ast.CallNode:
		in.call(n)
	case *ast.BuiltinNode:
		if !slices.Contains(builtinsAllowed[:], n.Name) {
			in.fail(n, "%s is not available in policies", n.Name)
		}
	case *ast.PredicateNode:
		if text := addsText(n.Node); text != nil {
			in.fail(text, "texts are not added up inside a loop")
		}
	case *ast.BinaryNode:
		in.binary(n)
	}
}

func (in *inspector) identifier(n *ast.IdentifierNode) {
	if n.Value == "$env" {
		in.fail(n, "$env is not available in policies")
		return
	}
	if slices.Contains(functionNames[:], n.Value) {
		in.pending[n] = n.Value + " is a function: call it"
		return
	}
	if why := in.scope.refuses(n.Value); why != "" {
		in.fail(n, "%s", why)
	}
	switch n.Value {
	case "sets":
		in.pending[n] = "a set is read by its name: sets.NAME"
	case "args":
		in.uses.Args = true
		in.args++
	case "now":
		in.uses.Now = true
	case "spend":
		in.uses.Spend = true
	case "client":
		in.uses.Client = true
	}
}

func (in *inspector) member(node *ast.Node, n *ast.MemberNode) {
	base, ok := n.Node.(*ast.IdentifierNode)
	if !ok {
		return
	}
	name, static := n.Property.(*ast.StringNode)
	switch {
	case base.Value == "sets" && static:
		delete(in.pending, base)
		s, known := in.sets[name.Value]
		if !known {
			in.fail(n, "unknown set %q%s", name.Value, didYouMean(name.Value, in.sets))
			return
		}
		in.uses.Sets = append(in.uses.Sets, name.Value)
		constant(node, s)
	case base.Value == "args" && static:
		in.argsNamed++
		if !slices.Contains(in.uses.Members, name.Value) {
			in.uses.Members = append(in.uses.Members, name.Value)
		}
	}
}

func (in *inspector) call(n *ast.CallNode) {
	callee, ok := n.Callee.(*ast.IdentifierNode)
	if !ok {
		in.fail(n, "only functions can be called: %v", functionNames)
		return
	}
	delete(in.pending, callee)
	if callee.Value == "has" && len(n.Arguments) == 1 && !mayMiss(n.Arguments[0]) {
		in.fail(n, "has takes the path of an argument, such as has(args.repo)")
	}
}

func (in *inspector) binary(n *ast.BinaryNode) {
	switch n.Operator {
	case "matches":
		if _, ok := n.Right.(*ast.StringNode); !ok {
			in.fail(n, "the pattern of matches is written in the rule itself")
		}
	case "in":
		if isStruct(n.Right) {
			in.fail(n, "in looks into lists, sets and objects")
		}
	case "..":
		from, okFrom := n.Left.(*ast.IntegerNode)
		to, okTo := n.Right.(*ast.IntegerNode)
		if !okFrom || !okTo || to.Value-from.Value >= rangeMax {
			in.fail(n, "the ends of a range are written in the rule itself, at most %d apart", rangeMax)
		}
	case "!=":
		in.uses.Optional = in.uses.Optional || isOptional(n.Left) || isOptional(n.Right)
	}
}

// finish draws the conclusions that need the whole expression.
func (in *inspector) finish() {
	for n, text := range in.pending {
		in.fail(n, "%s", text)
	}
	if in.args > in.argsNamed {
		in.uses.Members = nil
	}
	slices.SortFunc(in.found, func(a, b problem) int { return a.at - b.at })
}

// mayMiss reports whether n is the path of a member that need not be there.
func mayMiss(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.ChainNode:
		return mayMiss(n.Node)
	case *ast.MemberNode:
		return !isStruct(n.Node)
	}
	return false
}

func isOptional(n ast.Node) bool { _, ok := n.(*ast.ChainNode); return ok }

// addsText returns an addition of texts below n, or nil. Additions whose operands are known only at run time are bounded
// by the meter instead.
func addsText(n ast.Node) ast.Node {
	var found ast.Node
	ast.Walk(&n, visitor(func(node *ast.Node) {
		if sum, ok := (*node).(*ast.BinaryNode); ok && sum.Operator == "+" && (isText(sum.Left) || isText(sum.Right)) {
			found = sum
		}
	}))
	return found
}

type visitor func(*ast.Node)

// Visit implements ast.Visitor.
func (v visitor) Visit(n *ast.Node) { v(n) }

// hardener rewrites a checked expression so that it cannot read a missing argument as something, nor run for long.
type hardener struct{}

// Names of the functions it puts in. No expression can spell them.
const (
	fnGet     = "(get)"
	fnMaybe   = "(maybe)"
	fnStep    = "(step)"
	fnPay     = "(pay)"
	fnMath    = "(math)"
	fnEqual   = "(equal)"
	fnIn      = "(in)"
	meterName = "(meter)"
)

// Visit implements ast.Visitor; children come before their parents, so operands have been rewritten already.
func (h hardener) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.MemberNode:
		if !n.Optional && !isStruct(n.Node) {
			rewrite(node, fnGet, anyType, n.Node, n.Property, &ast.StringNode{Value: pathOf(n)})
		}
	case *ast.PredicateNode:
		body := n.Node
		rewrite(&n.Node, fnStep, body.Type(), body, meterNode())
	case *ast.BuiltinNode:
		if !slices.ContainsFunc(n.Arguments, func(a ast.Node) bool { _, ok := a.(*ast.PredicateNode); return ok }) {
			payAll(n.Name, n.Arguments)
		}
	case *ast.CallNode:
		h.call(n)
	case *ast.BinaryNode:
		h.binary(node, n)
	}
}

func (h hardener) call(n *ast.CallNode) {
	name := n.Callee.(*ast.IdentifierNode).Value
	switch {
	case name[0] == '(':
	case name == "has":
		relax(n.Arguments[0])
	default:
		payAll(name, n.Arguments)
	}
}

func (h hardener) binary(node *ast.Node, n *ast.BinaryNode) {
	switch n.Operator {
	case "??":
		relax(n.Left)
	case "==", "!=":
		if isScalar(n.Left) || isScalar(n.Right) {
			return
		}
		if n.Operator == "==" {
			rewrite(node, fnEqual, boolType, n.Left, n.Right, meterNode())
			return
		}
		var equal ast.Node = n
		rewrite(&equal, fnEqual, boolType, n.Left, n.Right, meterNode())
		not := &ast.UnaryNode{Operator: "not", Node: equal}
		not.SetType(boolType)
		ast.Patch(node, not)
	case "in":
		if list, ok := n.Right.(*ast.ArrayNode); ok {
			if values, ok := constants(list); ok {
				constant(&n.Right, values)
			}
		}
		if !isStruct(n.Right) && !isMap(n.Right) {
			rewrite(node, fnIn, boolType, n.Left, n.Right, meterNode())
		}
	case "+", "-", "*", "/", "**", "^":
		if !isConstant(n.Left) || !isConstant(n.Right) {
			rewrite(node, fnMath, n.Type(), n.Left, n.Right, meterNode(), &ast.StringNode{Value: n.Operator})
		}
	case "matches", "contains":
		pay(n.Operator, &n.Left)
		pay(n.Operator, &n.Right)
	case "<", "<=", ">", ">=":
		if !isNumber(n.Left) && !isNumber(n.Right) {
			pay("compare", &n.Left)
		}
	}
}

// relax makes every step of a path that was made strict optional again.
func relax(n ast.Node) {
	switch n := n.(type) {
	case *ast.ChainNode:
		relax(n.Node)
	case *ast.MemberNode:
		relax(n.Node)
	case *ast.CallNode:
		if callee := n.Callee.(*ast.IdentifierNode); callee.Value == fnGet {
			n.Callee = &ast.IdentifierNode{Value: fnMaybe}
			relax(n.Arguments[0])
		}
	}
}

func payAll(name string, arguments []ast.Node) {
	for i := range arguments {
		pay(name, &arguments[i])
	}
}

// pay charges the meter for reading a value whose size the caller chooses.
func pay(name string, node *ast.Node) {
	per, listed := bytesPerStep[name]
	if !listed {
		per = textBytesPerStep
	}
	if per == 0 || isConstant(*node) || isNumber(*node) || isBool(*node) {
		return
	}
	value := *node
	rewrite(node, fnPay, value.Type(), value, meterNode(), &ast.IntegerNode{Value: per})
}

// rewrite replaces node by a call of one of our functions that has type t.
func rewrite(node *ast.Node, name string, t reflect.Type, arguments ...ast.Node) {
	call := &ast.CallNode{Callee: &ast.IdentifierNode{Value: name}, Arguments: arguments}
	call.SetType(t)
	ast.Patch(node, call)
}

func constant(node *ast.Node, value any) {
	c := &ast.ConstantNode{Value: value}
	c.SetType(reflect.TypeOf(value))
	ast.Patch(node, c)
}

func meterNode() ast.Node { return &ast.IdentifierNode{Value: meterName} }

// constants returns the values of a list that holds nothing but texts, numbers, true and false.
func constants(list *ast.ArrayNode) ([]any, bool) {
	out := make([]any, 0, len(list.Nodes))
	for _, n := range list.Nodes {
		switch n := n.(type) {
		case *ast.StringNode:
			out = append(out, n.Value)
		case *ast.IntegerNode:
			out = append(out, n.Value)
		case *ast.FloatNode:
			out = append(out, n.Value)
		case *ast.BoolNode:
			out = append(out, n.Value)
		default:
			return nil, false
		}
	}
	return out, true
}

var (
	anyType  = reflect.TypeFor[any]()
	boolType = reflect.TypeFor[bool]()
)

func isStruct(n ast.Node) bool {
	t := n.Type()
	return t.Kind() == reflect.Struct || t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct
}

func isMap(n ast.Node) bool { return n.Type().Kind() == reflect.Map }

func isText(n ast.Node) bool { return n.Type().Kind() == reflect.String }

func isBool(n ast.Node) bool { return n.Type().Kind() == reflect.Bool }

func isNumber(n ast.Node) bool {
	switch n.Type().Kind() {
	case reflect.Int, reflect.Float64:
		return true
	}
	return false
}

func isScalar(n ast.Node) bool {
	_, null := n.(*ast.NilNode)
	return null || isText(n) || isBool(n) || isNumber(n)
}

func isConstant(n ast.Node) bool {
	switch n.(type) {
	case *ast.NilNode, *ast.StringNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.ConstantNode, *ast.BytesNode:
		return true
	}
	return false
}

// pathOf spells the path of a member for messages: args.repo.
func pathOf(n *ast.MemberNode) string {
	base := "the value"
	switch b := n.Node.(type) {
	case *ast.IdentifierNode:
		base = b.Value
	case *ast.MemberNode:
		base = pathOf(b)
	case *ast.PointerNode:
		base = "#"
	case *ast.CallNode:
		if len(b.Arguments) == 3 {
			if s, ok := b.Arguments[2].(*ast.StringNode); ok {
				base = s.Value
			}
		}
	}
	switch p := n.Property.(type) {
	case *ast.StringNode:
		return base + "." + p.Value
	case *ast.IntegerNode:
		return fmt.Sprintf("%s[%d]", base, p.Value)
	}
	return base + "[…]"
}
