package strictyaml

import (
	"encoding"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// depthMax bounds nesting; a config needs five levels, and the walk recurses.
const depthMax = 64

// Error is one finding.
type Error struct {
	File string // as given to Unmarshal; empty inside an UnmarshalYAML until it comes back to Unmarshal
	Line int    // from 1
	Text string
}

func (e *Error) Error() string {
	if e.File == "" {
		return fmt.Sprintf("line %d: %s", e.Line, e.Text)
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Text)
}

// Unmarshal reads the one document of data into v, a pointer. file is the name that findings carry. Keys are matched to
// yaml tags as the yaml package does it (lower-cased field names without a tag, "-" skips, ",inline" embeds). The error
// joins one *Error per finding, in the order of the file; v is then only partly filled. An empty document leaves v as it is.
func Unmarshal(file string, data []byte, v any) error {
	var d decoder
	d.document(data, v)
	for _, f := range d.found {
		f.File = file
	}
	return d.err()
}

// Node reads n into v with the strictness of Unmarshal. It is meant for UnmarshalYAML methods.
func Node(n *yaml.Node, v any) error {
	var d decoder
	d.value(n, reflect.ValueOf(v).Elem(), 0)
	return d.err()
}

// decoder gathers findings over one walk.
type decoder struct {
	found []*Error
}

func (d *decoder) err() error {
	errs := make([]error, len(d.found))
	for i, f := range d.found {
		errs[i] = f
	}
	return errors.Join(errs...)
}

func (d *decoder) add(line int, format string, args ...any) {
	d.found = append(d.found, &Error{Line: max(line, 1), Text: fmt.Sprintf(format, args...)})
}

func (d *decoder) document(data []byte, v any) {
	dec := yaml.NewDecoder(strings.NewReader(string(data)))
	var doc, second yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if err.Error() != "EOF" {
			d.foreign(1, err)
		}
		return
	}
	if err := dec.Decode(&second); err == nil {
		d.add(second.Line, "a second document: write one document per file")
		return
	} else if err.Error() != "EOF" {
		d.foreign(1, err)
		return
	}
	if root := doc.Content[0]; !null(root) {
		d.value(root, reflect.ValueOf(v).Elem(), 0)
	}
}

var lineOf = regexp.MustCompile(`^(?:yaml: )?line (\d+): (?s:(.*))$`)

// foreign takes in an error that is not ours: of the yaml package, or of an UnmarshalYAML or UnmarshalText method.
func (d *decoder) foreign(line int, err error) {
	if many, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range many.Unwrap() {
			d.foreign(line, e)
		}
		return
	}
	if own := (*Error)(nil); errors.As(err, &own) {
		d.found = append(d.found, own)
		return
	}
	if te := (*yaml.TypeError)(nil); errors.As(err, &te) {
		for _, text := range te.Errors {
			d.foreign(line, errors.New(text))
		}
		return
	}
	text := err.Error()
	if m := lineOf.FindStringSubmatch(text); m != nil {
		line, _ = strconv.Atoi(m[1])
		text = m[2]
	}
	d.add(line, "%s", strings.TrimPrefix(text, "yaml: "))
}

var (
	unmarshaler     = reflect.TypeFor[yaml.Unmarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	durationType    = reflect.TypeFor[time.Duration]()
	nodeType        = reflect.TypeFor[yaml.Node]()
)

// value reads n into v, which can be set.
func (d *decoder) value(n *yaml.Node, v reflect.Value, depth int) {
	switch {
	case depth > depthMax:
		d.add(n.Line, "nested deeper than %d", depthMax)
		return
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		d.add(n.Line, "anchors and aliases are not read: write the value out")
		return
	}
	pointer := reflect.PointerTo(v.Type())
	switch {
	case v.Type() == nodeType:
		v.Set(reflect.ValueOf(*n))
	case pointer.Implements(unmarshaler):
		if err := v.Addr().Interface().(yaml.Unmarshaler).UnmarshalYAML(n); err != nil {
			d.foreign(n.Line, err)
		}
	case pointer.Implements(textUnmarshaler):
		d.text(n, v)
	case v.Kind() == reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		d.value(n, v.Elem(), depth)
	case v.Kind() == reflect.Struct:
		d.structure(n, v, depth)
	case v.Kind() == reflect.Map:
		d.dictionary(n, v, depth)
	case v.Kind() == reflect.Slice:
		d.list(n, v, depth)
	case v.Kind() == reflect.Interface && n.Kind != yaml.ScalarNode:
		d.untyped(n, v, depth)
	default:
		d.scalar(n, v)
	}
}

func (d *decoder) text(n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.ScalarNode {
		d.add(n.Line, "expected text, found %s", kindOf(n))
		return
	}
	if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(n.Value)); err != nil {
		d.foreign(n.Line, err)
	}
}

func (d *decoder) scalar(n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.ScalarNode {
		d.add(n.Line, "expected %s, found %s", nameOf(v.Type()), kindOf(n))
		return
	}
	// The yaml package would cut 1.5 to 1 and take a bare 30 for nanoseconds.
	cut := v.CanInt() && n.Tag != "!!int" || v.CanUint() && n.Tag != "!!int"
	if v.Type() == durationType {
		cut = n.Tag != "!!str"
	}
	if cut || n.Decode(v.Addr().Interface()) != nil {
		d.add(n.Line, "expected %s, found %q", nameOf(v.Type()), n.Value)
	}
}

// untyped reads a mapping or a list into an interface, still refusing repeated keys and aliases.
func (d *decoder) untyped(n *yaml.Node, v reflect.Value, depth int) {
	var to reflect.Value
	if n.Kind == yaml.MappingNode {
		to = reflect.New(reflect.TypeFor[map[string]any]()).Elem()
	} else {
		to = reflect.New(reflect.TypeFor[[]any]()).Elem()
	}
	if !to.Type().AssignableTo(v.Type()) {
		d.add(n.Line, "expected %s, found %s", nameOf(v.Type()), kindOf(n))
		return
	}
	d.value(n, to, depth)
	v.Set(to)
}

// members calls each for the pairs of a mapping, having refused keys that are not plain text, come twice or have no value.
func (d *decoder) members(n *yaml.Node, each func(key, value *yaml.Node)) {
	first := map[string]int{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		switch {
		case key.Kind != yaml.ScalarNode:
			d.add(key.Line, "a key must be plain text, found %s", kindOf(key))
		case key.Tag == "!!merge":
			d.add(key.Line, "merge keys are not read: write the values out")
		case first[key.Value] > 0:
			d.add(key.Line, "key %q again: it is on line %d already", key.Value, first[key.Value])
		case null(value):
			first[key.Value] = key.Line
			d.add(key.Line, "%q has no value: give it one or remove the key", key.Value)
		default:
			first[key.Value] = key.Line
			each(key, value)
		}
	}
}

func (d *decoder) structure(n *yaml.Node, v reflect.Value, depth int) {
	if n.Kind != yaml.MappingNode {
		d.add(n.Line, "expected keys and values, found %s", kindOf(n))
		return
	}
	fields := map[string]reflect.Value{}
	fieldsOf(v, fields)
	d.members(n, func(key, value *yaml.Node) {
		field, ok := fields[key.Value]
		if !ok {
			d.add(key.Line, "unknown key %q%s", key.Value, DidYouMean(key.Value, keysOf(fields)))
			return
		}
		d.value(value, field, depth+1)
	})
}

func (d *decoder) dictionary(n *yaml.Node, v reflect.Value, depth int) {
	if n.Kind != yaml.MappingNode {
		d.add(n.Line, "expected keys and values, found %s", kindOf(n))
		return
	}
	out := reflect.MakeMap(v.Type())
	d.members(n, func(key, value *yaml.Node) {
		k := reflect.New(v.Type().Key()).Elem()
		d.value(key, k, depth+1)
		elem := reflect.New(v.Type().Elem()).Elem()
		d.value(value, elem, depth+1)
		out.SetMapIndex(k, elem)
	})
	v.Set(out)
}

func (d *decoder) list(n *yaml.Node, v reflect.Value, depth int) {
	if n.Kind != yaml.SequenceNode {
		d.add(n.Line, "expected a list, found %s", kindOf(n))
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		if null(item) {
			d.add(item.Line, "an item of the list has no value")
			continue
		}
		d.value(item, out.Index(i), depth+1)
	}
	v.Set(out)
}

// fieldsOf gathers the fields of struct v by key, those of inlined structs too.
func fieldsOf(v reflect.Value, into map[string]reflect.Value) {
	for i := range v.NumField() {
		field := v.Type().Field(i)
		name, options, _ := strings.Cut(field.Tag.Get("yaml"), ",")
		switch {
		case name == "-" || !field.IsExported() && !field.Anonymous:
		case strings.Contains(options, "inline") && field.Type.Kind() == reflect.Struct:
			fieldsOf(v.Field(i), into)
		case name == "":
			into[strings.ToLower(field.Name)] = v.Field(i)
		default:
			into[name] = v.Field(i)
		}
	}
}

func keysOf(fields map[string]reflect.Value) []string {
	out := make([]string, 0, len(fields))
	for k := range fields {
		out = append(out, k)
	}
	return out
}

func null(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.Tag == "!!null" }

func kindOf(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "keys and values"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		return "an alias"
	}
	return strconv.Quote(n.Value)
}

func nameOf(t reflect.Type) string {
	if t == durationType {
		return "a duration such as 30s or 5m"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number that is not negative"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.String:
		return "text"
	}
	return "a value"
}
