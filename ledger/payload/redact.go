package payload

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/tollgate/tollgate/internal/redact"
	"github.com/tollgate/tollgate/internal/strictjson"
)

// nestedMax is how deep JSON within strings of JSON is read: arguments of tools are such in answers of models, and so are
// results of tools in their text.
const nestedMax = 4

// redactor puts tokens in the place of credentials and personal data in one payload.
type redactor struct {
	tokens     *redact.Tokens
	name, with string // the name of the call's user, and what stands for it; empty: nobody's
}

// nameCharsMin is the length from which the user's name is looked for: a shorter one is found within other words.
const nameCharsMin = 4

// part redacts a request or an answer: JSON by its values, a stream of events by what its parts come to, else text.
func (r *redactor) part(p part) part {
	switch {
	case isEvents(p.text):
		joined, whole := joinEvents(p.text)
		p.text, p.cut = joined, p.cut || !whole
		p.text, _ = r.document(p.text, 0)
		return p
	case isJSON(p.text):
		if out, whole := r.document(p.text, 0); whole || p.cut {
			p.text = out
			return p
		}
	}
	p.text = []byte(r.plain(string(p.text)))
	return p
}

func isJSON(text []byte) bool {
	text = bytes.TrimLeft(text, " \t\r\n")
	return len(text) > 0 && (text[0] == '{' || text[0] == '[')
}

func (r *redactor) plain(text string) string {
	if len(r.name) >= nameCharsMin {
		text = strings.ReplaceAll(text, r.name, r.with)
	}
	return r.tokens.Text(text)
}

// level is an object or array that is being written.
type level struct {
	object bool
	hidden bool // it stands under the name of a secret
	n      int  // values and names so far
}

// document writes JSON anew with tokens in it. It reports false when it ended early: then what came before is written.
func (r *redactor) document(text []byte, depth int) (out []byte, whole bool) {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	levels := []level{{}}
	hide := false // the next value stands under the name of a secret
	for {
		token, err := dec.Token()
		if err != nil {
			return out, errors.Is(err, io.EOF) && len(levels) == 1 && levels[0].n == 1
		}
		in := &levels[len(levels)-1]
		if d, ok := token.(json.Delim); ok && (d == '}' || d == ']') {
			out = append(out, byte(d))
			levels = levels[:len(levels)-1]
			continue
		}
		isName := in.object && in.n%2 == 0
		out = in.separate(out)
		switch v := token.(type) {
		case json.Delim:
			out = append(out, byte(v))
			levels = append(levels, level{object: v == '{', hidden: in.hidden || hide})
		case string:
			if isName {
				hide = redact.SecretName(v[strings.LastIndexByte(v, '.')+1:]) // spring.datasource.password
				out = strictjson.Quote(out, r.plain(v))
				continue
			}
			out = strictjson.Quote(out, r.text(v, in.hidden || hide, depth))
		case json.Number:
			out = append(out, r.number(v.String(), in.hidden || hide)...)
		case bool:
			out = append(out, map[bool]string{true: "true", false: "false"}[v]...)
		case nil:
			out = append(out, "null"...)
		}
		hide = false
	}
}

// separate writes what stands between the last token and the next, and counts that.
func (l *level) separate(out []byte) []byte {
	l.n++
	switch {
	case l.n == 1:
		return out
	case l.object && l.n%2 == 0:
		return append(out, ':')
	}
	return append(out, ',')
}

func (r *redactor) text(v string, hidden bool, depth int) string {
	switch {
	case v == "":
		return v
	case hidden:
		return r.tokens.Of("credential", v)
	case depth < nestedMax && isJSON([]byte(v)):
		if out, whole := r.document([]byte(v), depth+1); whole {
			return string(out)
		}
	}
	return r.plain(v)
}

func (r *redactor) number(literal string, hidden bool) string {
	token := ""
	if hidden {
		token = r.tokens.Of("credential", literal)
	} else {
		token = r.tokens.Number(literal)
	}
	if token == "" {
		return literal
	}
	return `"` + token + `"`
}
