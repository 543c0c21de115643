package dialect

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/llm/vendor"
)

// The bounds of a request body beside its size.
const (
	depthMax      = 64
	bodyTokensMax = 1 << 20 // a batch of token arrays for embeddings is some 300,000 numbers; an agent's long session 100,000
	outputMost    = 1 << 31 // more output tokens than any model has; above, a number is nonsense
)

// ModelBytesMax bounds the name of a model: the longest in use are ARNs of some 150.
const ModelBytesMax = 256

// Fields is where the governed members stand in one request body. It holds no bytes of its own.
type Fields struct {
	at      [fieldCount]strictjson.Value
	body    []byte
	dialect vendor.Dialect
}

// Scan reads body once: it refuses what could be read in two ways and notes where the governed members stand. The error
// is made for the caller; *[Error].
func (f *Format) Scan(body []byte) (Fields, error) {
	fields := Fields{body: body, dialect: f.Dialect}
	var found [fieldCount]strictjson.Value
	if err := f.scan.Scan(body, strictjson.Limits{Depth: depthMax, Tokens: bodyTokensMax}, found[:len(f.order)]); err != nil {
		return fields, invalid("", "the request body is refused: "+scanReason(err))
	}
	for i, field := range f.order {
		fields.at[field] = found[i]
	}
	return fields, f.kinds(&fields)
}

func scanReason(err error) string {
	var e *strictjson.Error
	if errors.As(err, &e) {
		return e.Error()
	}
	return "it is not a JSON object"
}

// kinds holds that governed members have the kind they are read as: a string where a flag belongs would be read in
// another way by the provider than here.
func (f *Format) kinds(fields *Fields) error {
	for _, field := range f.order {
		kind, want := fields.at[field].Kind, ""
		switch field {
		case Model, Tier, Previous, CacheKey, User:
			want = `"`
		case Streaming, IncludeUsage, Background, Store:
			want = "tf"
		case OutputMax, OutputMaxOld, Choices:
			want = "0"
		case StreamOptions, WebSearch:
			want = "{"
		case Tools, Servers:
			want = "["
		default:
			continue
		}
		if kind == 0 || kind == 'n' && field != Model || bytes.IndexByte([]byte(want), kind) >= 0 {
			continue
		}
		return invalid(f.path(field), fmt.Sprintf("%s must be %s", f.path(field), kindNames[want[0]]))
	}
	return nil
}

var kindNames = map[byte]string{'"': "a string", 't': "true or false", '0': "a number", '{': "an object", '[': "an array"}

// Has reports whether the member is there and not null.
func (f *Fields) Has(field Field) bool { return f.at[field].Present() && f.at[field].Kind != 'n' }

// At returns where the member stands; the zero Value when it is absent.
func (f *Fields) At(field Field) strictjson.Value { return f.at[field] }

// Raw returns the member's bytes, nil when it is absent.
func (f *Fields) Raw(field Field) []byte {
	if !f.at[field].Present() {
		return nil
	}
	return f.at[field].In(f.body)
}

// True reports whether a flag is set.
func (f *Fields) True(field Field) bool { return f.at[field].Kind == 't' }

// False reports whether a flag is there and not set.
func (f *Fields) False(field Field) bool { return f.at[field].Kind == 'f' }

// Text returns a string member, "" when it is absent.
func (f *Fields) Text(field Field) string {
	if f.at[field].Kind != '"' {
		return ""
	}
	s, err := strictjson.Unquote(f.Raw(field))
	if err != nil {
		return ""
	}
	return s
}

// Count returns a number member, rounded up; 0 when it is absent and outputMost when it is beyond reason.
func (f *Fields) Count(field Field) int64 {
	if f.at[field].Kind != '0' {
		return 0
	}
	n, err := strconv.ParseFloat(string(f.Raw(field)), 64)
	switch {
	case err != nil || n > outputMost:
		return outputMost
	case n < 1:
		return 0
	}
	if whole := int64(n); float64(whole) < n {
		return whole + 1
	}
	return int64(n)
}

// ModelName returns the model that is asked for.
func (f *Fields) ModelName() (string, error) {
	name := f.Text(Model)
	switch {
	case name == "":
		return "", invalid("model", "model is missing: name the model to use")
	case len(name) > ModelBytesMax:
		return "", invalid("model", fmt.Sprintf("model is longer than %d bytes", ModelBytesMax))
	}
	for _, c := range name {
		if c < ' ' || c == 0x7f {
			return "", invalid("model", "model holds a control character")
		}
	}
	return name, nil
}

// Outputs is how many answers are asked for, at least 1.
func (f *Fields) Outputs() int64 { return max(1, f.Count(Choices)) }

// OutputLimit is the most output tokens that are asked for in one answer; 0: no limit was given. When both names of it are
// there the larger counts, since servers differ in which one they read.
func (f *Fields) OutputLimit() int64 { return max(f.Count(OutputMax), f.Count(OutputMaxOld)) }

// providerTools are the types of tools that a provider runs by itself and charges for beside the tokens, by their
// beginning. Tools that only have a name, and functions the client runs, are not among them.
var providerTools = []string{
	"web_search", "file_search", "code_interpreter", "code_execution", "image_generation", "computer", "mcp", "web_fetch", "shell", "local_shell",
}

// ProviderTools reports whether the request may have the provider run tools by itself, whose cost nothing in the request
// bounds. It looks at the types of the declared tools and errs towards true.
func (f *Fields) ProviderTools() bool {
	if f.Has(WebSearch) || f.Has(Servers) || runsAtProvider(f.Raw(Tools)) {
		return true
	}
	// Codex declares its tools as an item of the input; the other dialects have no such item.
	turns := f.Raw(Turns)
	return f.dialect == vendor.Responses && bytes.Contains(turns, []byte(`_tools"`)) && // rarer beginnings are found faster
		bytes.Contains(turns, []byte(`"additional_tools"`)) && runsAtProvider(turns)
}

func runsAtProvider(tools []byte) bool {
	if hidesLetters(tools) {
		return true
	}
	for rest := tools; ; {
		i := bytes.Index(rest, []byte(`"type"`))
		if i < 0 {
			return false
		}
		rest = bytes.TrimLeft(rest[i+len(`"type"`):], " \t\r\n")
		value, found := bytes.CutPrefix(rest, []byte(":"))
		if !found {
			continue
		}
		value = bytes.TrimLeft(value, " \t\r\n")
		for _, t := range providerTools {
			if len(value) > len(t) && value[0] == '"' && string(value[1:1+len(t)]) == t {
				return true
			}
		}
	}
}

// hidesLetters reports whether raw writes an ASCII letter as an escape. No encoder does; whoever does hides a word.
func hidesLetters(raw []byte) bool {
	for {
		i := bytes.Index(raw, []byte(`\u00`))
		if i < 0 || i+4 >= len(raw) {
			return false
		}
		if c := raw[i+4]; c >= '4' && c <= '7' {
			return true
		}
		raw = raw[i+4:]
	}
}

// WithModel is the edit that names another model, nil when it is the same already.
func (f *Fields) WithModel(name string) []strictjson.Edit {
	v := f.at[Model]
	if f.Text(Model) == name {
		return nil
	}
	return []strictjson.Edit{{Start: v.Start, End: v.End, With: quote(name)}}
}

// WithUsage are the edits that ask for usage at the end of a chat stream, none when it is asked for already.
func (f *Fields) WithUsage() []strictjson.Edit {
	switch flag, options := f.at[IncludeUsage], f.at[StreamOptions]; {
	case flag.Kind == 't':
		return nil
	case flag.Present():
		return []strictjson.Edit{{Start: flag.Start, End: flag.End, With: []byte("true")}}
	case options.Kind == '{':
		return []strictjson.Edit{strictjson.Insert(f.body, options, "include_usage", []byte("true"))}
	case options.Present():
		return []strictjson.Edit{{Start: options.Start, End: options.End, With: []byte(`{"include_usage":true}`)}}
	}
	return []strictjson.Edit{strictjson.Insert(f.body, f.whole(), "stream_options", []byte(`{"include_usage":true}`))}
}

// whole is the document itself, without the white space around it.
func (f *Fields) whole() strictjson.Value {
	return strictjson.Value{Start: bytes.IndexByte(f.body, '{'), End: bytes.LastIndexByte(f.body, '}') + 1, Kind: '{'}
}
