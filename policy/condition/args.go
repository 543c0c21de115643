package condition

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"

	"github.com/tollgate/tollgate/internal/strictjson"
)

// What of a call's arguments is decoded for rules to read. Beyond it the arguments count as unreadable, which restricts.
// Members that no rule reads are only passed over, so a large prompt does not stand in the way of a rule on max_tokens.
const (
	argDepthMax     = 32
	argNodesMax     = 10_000
	argTextBytesMax = 256 << 10
	skipDepthMax    = 256 // of members passed over
)

var (
	errArgsJSON   = &evalError{"the arguments are not one JSON object"}
	errArgsTwice  = &evalError{"the arguments name a member twice"}
	errArgsDepth  = &evalError{"the arguments are nested too deep to be judged"}
	errArgsNodes  = &evalError{"the arguments have too many members to be judged"}
	errArgsText   = &evalError{"the arguments have a text too long to be judged"}
	errArgsNumber = &evalError{"the arguments have a number out of range"}
)

// decodeArgs reads the members of the JSON object doc that a rule may ask for: those named, or all when named is nil.
// Whole numbers that fit an int are ints, all others float64. An empty doc has no members.
func decodeArgs(doc []byte, named []string) (map[string]any, error) {
	out := map[string]any{}
	if len(doc) == 0 {
		return out, nil
	}
	r := argReader{doc: doc, nodes: argNodesMax}
	r.space()
	err := r.members(func(name string) error {
		if _, twice := out[name]; twice {
			return errArgsTwice
		}
		if named != nil && !slices.Contains(named, name) {
			out[name] = nil // noted, so that a second one is seen
			if r.nodes--; r.nodes < 0 {
				return errArgsNodes
			}
			return r.skip()
		}
		v, err := r.value(2)
		out[name] = v
		return err
	})
	if err != nil {
		return nil, err
	}
	r.space()
	if r.at != len(doc) {
		return nil, errArgsJSON
	}
	return out, nil
}

// argReader is a JSON reader that stops at the limits above.
type argReader struct {
	doc   []byte
	at    int
	nodes int // values that may still be made
}

func (r *argReader) space() {
	for r.at < len(r.doc) {
		switch r.doc[r.at] {
		case ' ', '\t', '\n', '\r':
			r.at++
		default:
			return
		}
	}
}

// next returns the next byte that is no space without taking it; 0 at the end.
func (r *argReader) next() byte {
	r.space()
	if r.at == len(r.doc) {
		return 0
	}
	return r.doc[r.at]
}

// take takes c if it comes next.
func (r *argReader) take(c byte) bool {
	if r.next() != c {
		return false
	}
	r.at++
	return true
}

// members reads an object; each is called in front of every value and must read it.
func (r *argReader) members(each func(name string) error) error {
	if !r.take('{') {
		return errArgsJSON
	}
	if r.take('}') {
		return nil
	}
	for {
		if r.next() != '"' {
			return errArgsJSON
		}
		name, err := r.text()
		if err != nil {
			return err
		}
		if !r.take(':') {
			return errArgsJSON
		}
		if err := each(name); err != nil {
			return err
		}
		if r.take('}') {
			return nil
		}
		if !r.take(',') {
			return errArgsJSON
		}
	}
}

func (r *argReader) value(depth int) (any, error) {
	r.nodes--
	if r.nodes < 0 {
		return nil, errArgsNodes
	}
	switch c := r.next(); {
	case c == '"':
		return r.text()
	case c == '{' || c == '[':
		if depth > argDepthMax {
			return nil, errArgsDepth
		}
		if c == '{' {
			return r.object(depth)
		}
		return r.list(depth)
	case c == '-' || c >= '0' && c <= '9':
		return r.number()
	}
	return r.word()
}

func (r *argReader) object(depth int) (any, error) {
	out := map[string]any{}
	err := r.members(func(name string) error {
		if _, twice := out[name]; twice {
			return errArgsTwice
		}
		v, err := r.value(depth + 1)
		out[name] = v
		return err
	})
	return out, err
}

func (r *argReader) list(depth int) (any, error) {
	r.at++
	out := []any{}
	if r.take(']') {
		return out, nil
	}
	for {
		v, err := r.value(depth + 1)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
		if r.take(']') {
			return out, nil
		}
		if !r.take(',') {
			return nil, errArgsJSON
		}
	}
}

// literal returns the quoted text that starts here, quotes included.
func (r *argReader) literal() ([]byte, error) {
	start := r.at
	r.at++
	quote := -1 // the next one, once it is known
	for {
		if quote < r.at {
			i := bytes.IndexByte(r.doc[min(r.at, len(r.doc)):], '"')
			if i < 0 {
				return nil, errArgsJSON
			}
			quote = r.at + i
		}
		escape := bytes.IndexByte(r.doc[r.at:quote], '\\')
		if escape < 0 {
			r.at = quote + 1
			return r.doc[start:r.at], nil
		}
		r.at += escape + 2
	}
}

func (r *argReader) text() (string, error) {
	quoted, err := r.literal()
	if err != nil {
		return "", err
	}
	if len(quoted) > argTextBytesMax {
		return "", errArgsText
	}
	body := quoted[1 : len(quoted)-1]
	if !utf8.Valid(body) {
		return "", errArgsJSON
	}
	for i := 0; i < len(body); i++ {
		switch c := body[i]; {
		case c < ' ':
			return "", errArgsJSON
		case c == '\\':
			n := escapeBytes(body[i:])
			if n == 0 {
				return "", errArgsJSON
			}
			i += n - 1
		}
	}
	return strictjson.Unquote(quoted)
}

// escapeBytes is how long the escape is that b begins with; 0: it is none.
func escapeBytes(b []byte) int {
	switch {
	case len(b) < 2:
		return 0
	case b[1] != 'u':
		if bytes.IndexByte([]byte(`"\/bfnrt`), b[1]) < 0 {
			return 0
		}
		return 2
	case len(b) < 6:
		return 0
	}
	var unit [2]byte
	if _, err := hex.Decode(unit[:], b[2:6]); err != nil {
		return 0
	}
	return 6
}

func (r *argReader) number() (any, error) {
	start := r.at
	for r.at < len(r.doc) && numberByte[r.doc[r.at]] {
		r.at++
	}
	digits := r.doc[start:r.at]
	if !json.Valid(digits) {
		return nil, errArgsJSON
	}
	text := string(digits)
	if n, err := strconv.Atoi(text); err == nil && n != math.MinInt {
		return n, nil
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return nil, errArgsNumber
	}
	return f, nil
}

var numberByte = [256]bool{
	'0': true, '1': true, '2': true, '3': true, '4': true, '5': true, '6': true, '7': true, '8': true, '9': true,
	'-': true, '+': true, '.': true, 'e': true, 'E': true,
}

func (r *argReader) word() (any, error) {
	for _, w := range [...]struct {
		text  string
		value any
	}{{"true", true}, {"false", false}, {"null", nil}} {
		if bytes.HasPrefix(r.doc[r.at:], []byte(w.text)) {
			r.at += len(w.text)
			return w.value, nil
		}
	}
	return nil, errArgsJSON
}

// skip passes over a value. It checks no more than that brackets and quotes match: the front has scanned the whole
// document, and what no rule reads cannot change a decision.
func (r *argReader) skip() error {
	depth := 0
	for {
		switch r.next() {
		case 0:
			return errArgsJSON
		case '"':
			if _, err := r.literal(); err != nil {
				return err
			}
		case '{', '[':
			if depth++; depth > skipDepthMax {
				return errArgsDepth
			}
			r.at++
			continue
		case '}', ']':
			if depth--; depth < 0 {
				return errArgsJSON
			}
			r.at++
		case ',', ':':
			if depth == 0 {
				return errArgsJSON
			}
			r.at++
			continue
		default:
			r.bare()
		}
		if depth == 0 {
			return nil
		}
	}
}

// bare passes over a number or a word.
func (r *argReader) bare() {
	for r.at < len(r.doc) {
		switch r.doc[r.at] {
		case ' ', '\t', '\n', '\r', ',', ':', '{', '}', '[', ']', '"':
			return
		}
		r.at++
	}
}
