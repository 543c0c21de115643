package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
	"unicode/utf8"
)

var seeds = []string{
	`{}`, `[]`, `null`, ` {"a":1} `, `{"a":1,"a":2}`, `{"a":{"b":[1,2.5e-3,{"c":null}]},"b":"x\ny"}`, `{"a":"\ud83d\ude00","b":"\ud83d"}`,
	`{"\u0061":1,"a":2}`, `{"A":1}`, `{"b":{"C":1}}`, `[1,]`, `{"a":01}`, `"\x"`, "{\"a\":\"\xff\"}", `{"a\u0000":1}`, `[[[[]]]]`, `{"a":"é€😀"}`,
	`{"one":1,"two":2,"three":3,"four":4,"five":5,"six":6,"seven":7,"eight":8,"nine":9,"ten":10,"eleven":11,"twelve":12,"thirteen":13,"fourteen":14,"fifteen":15,"sixteen":16,"seventeen":17,"eighteen":18,"one":19}`,
}

// What passes is what encoding/json accepts, less the faults that an independent walk over its tokens finds.
func FuzzCheckAgainstEncodingJSON(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		err := Check(doc, Limits{Depth: 20})
		valid := json.Valid(doc) && utf8.Valid(doc)
		var e *Error
		switch {
		case err == nil && !valid:
			t.Fatalf("%q passes and is not JSON", doc)
		case err == nil:
			if fault := faultOf(doc); fault != "" {
				t.Fatalf("%q passes with %s", doc, fault)
			}
		case !errors.As(err, &e):
			t.Fatalf("%T", err)
		case e.Syntax && valid:
			t.Fatalf("%q is JSON and refused: %v", doc, err)
		case valid:
			if fault := faultOf(doc); !strings.Contains(fault, strings.Fields(e.Reason)[0]) {
				t.Fatalf("%q: %v, but the faults are %q", doc, err, fault)
			}
		}
		if err == nil {
			checkWalk(t, doc)
		}
	})
}

// faultOf lists by first word what is wrong with a valid document.
func faultOf(doc []byte) string {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	var open []map[string]bool // nil for arrays
	var isName []bool
	var faults []string
	if bytes.Contains(bytes.ToLower(doc), []byte(`\ud`)) && halves(doc) {
		faults = append(faults, "half")
	}
	for {
		token, err := d.Token()
		if err == io.EOF {
			return strings.Join(faults, " ")
		}
		if delim, ok := token.(json.Delim); ok && (delim == '}' || delim == ']') {
			open, isName = open[:len(open)-1], isName[:len(isName)-1]
			continue
		}
		if n := len(open); n > 0 && open[n-1] != nil {
			isName[n-1] = !isName[n-1]
			if name, ok := token.(string); ok && isName[n-1] {
				if open[n-1][name] {
					faults = append(faults, "duplicate")
				}
				if strings.Contains(name, "\x00") {
					faults = append(faults, "NUL")
				}
				open[n-1][name] = true
				continue
			}
		}
		switch token {
		case json.Delim('{'):
			open, isName = append(open, map[string]bool{}), append(isName, false)
		case json.Delim('['):
			open, isName = append(open, nil), append(isName, false)
		}
		if len(open) > 20 {
			faults = append(faults, "nested")
		}
	}
}

// halves reports whether doc, which is valid, has half a surrogate pair: written out, the pairs are replaced first.
func halves(doc []byte) bool {
	doc = bytes.ReplaceAll(doc, []byte(`\\`), []byte(`..`))
	for {
		i := bytes.Index(doc, []byte(`\u`))
		if i < 0 {
			return false
		}
		doc = doc[i:]
		d := strings.ToLower(string(doc[2:4]))
		switch {
		case d >= "d8" && d <= "db":
			if len(doc) < 12 || doc[6] != '\\' || doc[7] != 'u' {
				return true
			}
			if low := strings.ToLower(string(doc[8:10])); low < "dc" || low > "df" {
				return true
			}
			doc = doc[12:]
		case d >= "dc" && d <= "df":
			return true
		default:
			doc = doc[6:]
		}
	}
}

// checkWalk compares a walk over doc by Members, Elements and Unquote with what encoding/json makes of it.
func checkWalk(t *testing.T, doc []byte) {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	var want any
	if err := d.Decode(&want); err != nil {
		t.Fatal(err)
	}
	if got := decode(t, doc, Whole(doc)); !reflect.DeepEqual(got, want) {
		t.Fatalf("%q: walked %#v, want %#v", doc, got, want)
	}
}

func decode(t *testing.T, doc []byte, v Value) any {
	switch v.Kind {
	case '{':
		m := map[string]any{}
		for name, v := range Members(doc, v) {
			m[string(name)] = decode(t, doc, v)
		}
		return m
	case '[':
		a := []any{}
		for i, v := range Elements(doc, v) {
			if i != len(a) {
				t.Fatalf("element %d comes as %d", len(a), i)
			}
			a = append(a, decode(t, doc, v))
		}
		return a
	case '"':
		text, err := Unquote(v.In(doc))
		if err != nil {
			t.Fatal(err)
		}
		return text
	case '0':
		return json.Number(v.In(doc))
	case 't', 'f':
		return v.Kind == 't'
	}
	return nil
}

func FuzzScanAndEdit(f *testing.F) {
	for _, s := range seeds {
		f.Add([]byte(s), `new"name`)
	}
	paths := Compile("a", "b", "b.c")
	f.Fuzz(func(t *testing.T, doc []byte, name string) {
		out := make([]Value, 3)
		before := bytes.Clone(doc)
		if paths.Scan(doc, Limits{}, out) != nil {
			return
		}
		want := object(t, doc)
		for i, path := range []string{"a", "b"} {
			if got, ok := want[path]; ok != out[i].Present() || !bytes.Equal(got, out[i].In(doc)) {
				t.Fatalf("%q: %s is %q, want %q", doc, path, out[i].In(doc), got)
			}
			if !out[i].Present() {
				continue
			}
			if same := Splice(doc, Replace(out[i], out[i].In(doc))); !bytes.Equal(same, doc) {
				t.Fatalf("%q became %q", doc, same)
			}
			less := object(t, Splice(doc, Remove(doc, out[i])))
			if _, ok := less[path]; ok || len(less) != len(want)-1 {
				t.Fatalf("%q without %s is %q", doc, path, less)
			}
		}
		name = strings.ToValidUTF8(name, "\ufffd")
		if _, ok := want[name]; !ok {
			more := object(t, Splice(doc, Insert(doc, Whole(doc), name, []byte("[1]"))))
			if string(more[name]) != "[1]" || len(more) != len(want)+1 {
				t.Fatalf("%q with %q is %q", doc, name, more)
			}
		}
		rewritten := object(t, Splice(doc, Rewrite(doc, Whole(doc), Change{"a", nil}, Change{"b", []byte("2")}, Change{"zz", []byte("3")})))
		delete(want, "a")
		want["b"], want["zz"] = json.RawMessage("2"), json.RawMessage("3")
		if !reflect.DeepEqual(rewritten, want) {
			t.Fatalf("%q became %q, want %q", doc, rewritten, want)
		}
		if !bytes.Equal(doc, before) {
			t.Fatal("the document itself was changed")
		}
	})
}

func object(t *testing.T, doc []byte) map[string]json.RawMessage {
	m := map[string]json.RawMessage{}
	if err := json.Unmarshal(doc, &m); err != nil {
		t.Fatalf("%q: %v", doc, err)
	}
	return m
}

func FuzzQuote(f *testing.F) {
	for _, s := range []string{"", "a", "\"\\\n\x00\x7f", "é😀\u2028", "\xff\xc3"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		literal := Quote(nil, text)
		want := strings.ToValidUTF8(text, "\ufffd")
		if !utf8.ValidString(text) {
			want = string([]rune(text))
		}
		var got string
		if err := json.Unmarshal(literal, &got); err != nil || got != want {
			t.Fatalf("%q is quoted %s: %v", text, literal, err)
		}
		if err := Check(literal, Limits{}); err != nil {
			t.Fatal(err)
		}
		if own, err := Unquote(literal); err != nil || own != want {
			t.Fatalf("%s is unquoted %q: %v", literal, own, err)
		}
	})
}

// Members and Elements must end on whatever they are given.
func FuzzWalkEnds(f *testing.F) {
	for _, s := range append(seeds, `{"a"`, `{"a":`, `{"a":1`, `["`, `{"a\`, `[,,`, `{"":x`) {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		for _, v := range Members(doc, Whole(doc)) {
			_ = v.In(doc)
		}
		for _, v := range Elements(doc, Whole(doc)) {
			_ = v.In(doc)
		}
		_, _ = Unquote(doc)
	})
}
