package strictjson

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

// envelope is what a JSON-RPC front watches; the order of out below.
var envelope = []string{"method", "params", "params._meta", "params.name"}

func TestScanNotesWatchedMembers(t *testing.T) {
	tests := []struct{ doc, method, params, meta, name string }{
		{`{}`, "", "", "", ""},
		{`{"method":"tools/call"}`, `"tools/call"`, "", "", ""},
		{" {\t\"method\" :\r\n\"m\" } \n", `"m"`, "", "", ""},
		{`{"params":{"name":1.5e3,"_meta":{"a":[{"name":2}]}},"method":null}`, `null`, `{"name":1.5e3,"_meta":{"a":[{"name":2}]}}`, `{"a":[{"name":2}]}`, `1.5e3`},
		{`{"params":["_meta"],"name":true}`, "", `["_meta"]`, "", ""},
		{`{"params":{"name":"\u0022}"},"x":{"method":1}}`, "", `{"name":"\u0022}"}`, "", `"\u0022}"`},
		{`{"m\u0065thod":-0}`, `-0`, "", "", ""},
		{`{"other":{"Method":1,"method":2,"METHOD":3}}`, "", "", "", ""},
	}
	paths := Compile(envelope...)
	for _, test := range tests {
		out := make([]Value, len(envelope))
		if err := paths.Scan([]byte(test.doc), Limits{}, out); err != nil {
			t.Errorf("%s: %v", test.doc, err)
			continue
		}
		for i, want := range []string{test.method, test.params, test.meta, test.name} {
			if got := string(out[i].In([]byte(test.doc))); got != want || out[i].Present() != (want != "") {
				t.Errorf("%s: %s = %q, want %q", test.doc, envelope[i], got, want)
			}
		}
	}
}

func TestScanNotesKindAndName(t *testing.T) {
	doc := []byte(`{"a":{},"b":[],"c":"","d":-1,"e":true,"f":false,"g":null}`)
	out := make([]Value, 8)
	if err := Compile("a", "b", "c", "d", "e", "f", "g", "h").Scan(doc, Limits{}, out); err != nil {
		t.Fatal(err)
	}
	var kinds, names strings.Builder
	for _, v := range out[:7] {
		kinds.WriteByte(v.Kind)
		names.Write(doc[v.Name : v.Name+3])
	}
	if kinds.String() != `{["0tfn` || names.String() != `"a""b""c""d""e""f""g"` || out[7] != (Value{}) {
		t.Errorf("kinds %s, names %s, absent %v", kinds.String(), names.String(), out[7])
	}
}

// Every fault is refused at the top and inside of what is not watched.
func TestScanRefuses(t *testing.T) {
	deep := strings.Repeat("[", 64) + strings.Repeat("]", 64)
	many := strings.Repeat("0,", 200_000)
	tests := []struct {
		doc    string
		reason string
		offset int
		syntax bool
	}{
		{``, "ends too early", 0, true},
		{" \n", "ends too early", 2, true},
		{`[]`, "not a JSON object", 0, false},
		{`"x"`, "not a JSON object", 0, false},
		{`x`, "not a JSON value", 0, true},
		{"\xef\xbb\xbf{}", "not a JSON value", 0, true},
		{`{} {}`, "something follows", 3, true},
		{"{}\x00", "something follows", 2, true},
		{`{"a":1,}`, "expected a name", 7, true},
		{`{"a":1`, "ends too early", 6, true},
		{`{"a"}`, "expected a colon", 4, true},
		{`{a:1}`, "expected a name", 1, true},
		{`{"a":1 "b":2}`, "expected a comma or }", 7, true},
		{`{"a":[1 2]}`, "expected a comma or ]", 8, true},
		{`{"a":[1,]}`, "not a JSON value", 8, true},
		{`{"a":tru}`, "not a JSON value", 5, true},
		{`{"a":nulll}`, "expected a comma", 9, true},
		{`{"a":01}`, "expected a comma", 6, true},
		{`{"a":1.}`, "not a JSON number", 7, true},
		{`{"a":.5}`, "not a JSON value", 5, true},
		{`{"a":+1}`, "not a JSON value", 5, true},
		{`{"a":-}`, "not a JSON number", 6, true},
		{`{"a":1e}`, "not a JSON number", 7, true},
		{`{"a":1e+}`, "not a JSON number", 8, true},
		{`{"a":0x1}`, "expected a comma", 6, true},
		{`{"a":NaN}`, "not a JSON value", 5, true},
		{"{\"a\":\"x\ny\"}", "control character", 7, true},
		{`{"a":"\x"}`, "unknown escape", 7, true},
		{`{"a":"\u12g4"}`, "four hexadecimal", 6, true},
		{`{"a":"x`, "ends too early", 7, true},
		{`{"a":"x\`, "ends too early", 8, true},
		{"{\"a\":\"\xff\"}", "invalid UTF-8", 6, true},
		{"{\"a\":\"12345678é\xc3\"}", "invalid UTF-8", 16, true},
		{"{\"a\":\"\xed\xa0\x80\"}", "invalid UTF-8", 6, true},
		{"{\"\xff\":1}", "invalid UTF-8", 2, true},
		{"{\"a\":\"\xff\",\"b\":\"more than sixteen bytes\"}", "invalid UTF-8", 6, true},
		{"{\"a\":\"12345678\xff\",\"b\":\"more than sixteen bytes\"}", "invalid UTF-8", 14, true},
		{"{\"a\":\"\\n\xff\",\"b\":\"more than sixteen bytes\"}", "invalid UTF-8", 8, true},
		{`{"a":"\ud800"}`, "half of a surrogate pair", 6, false},
		{`{"a":"\udc00\ud800"}`, "half of a surrogate pair", 6, false},
		{`{"a":"\ud800\u0041"}`, "half of a surrogate pair", 6, false},
		{`{"a\u0000":1}`, "NUL in a name", 1, false},
		{`{"method":1,"method":2}`, `duplicate name "method"`, 12, false},
		{`{"a":{"b":1},"a":2}`, `duplicate name "a"`, 13, false},
		{`{"\u0061":[{"\u0062":1}],"\u0061":2}`, `duplicate name "a"`, 25, false},
		{`{"x":{"a":1,"b":2,"a":3}}`, `duplicate name "a"`, 18, false},
		{`{"x":[{"a":1,"\u0061":3}]}`, `duplicate name "a"`, 13, false},
		{`{"longer name":1,"longer\u0020name":3}`, `duplicate name "longer name"`, 17, false},
		{`{"":1,"":2}`, `duplicate name ""`, 6, false},
		{`{"Method":1}`, `name "Method" differs from "method" by case only`, 1, false},
		{`{"params":{"_Meta":1}}`, `name "_Meta" differs from "_meta"`, 11, false},
		{`{"param` + "ſ" + `":1}`, `differs from "params"`, 1, false},
		{`{"param\u017f":1}`, `differs from "params"`, 1, false},
		{`{"x":` + deep + `}`, "nested deeper than 64", 68, false},
		{`{"x":` + strings.Repeat("[", 20_000), "nested deeper than 64", 68, false},
		{`{"x":[` + many + `0]}`, "more than 200000 values and names", 400_000, false},
	}
	paths := Compile(envelope...)
	for _, test := range tests {
		err := paths.Scan([]byte(test.doc), Limits{}, make([]Value, len(envelope)))
		var e *Error
		if !errors.As(err, &e) || !strings.Contains(e.Reason, test.reason) || e.Syntax != test.syntax || e.Offset != test.offset {
			t.Errorf("%.60q: %v, want %q at %d, syntax %v", test.doc, err, test.reason, test.offset, test.syntax)
		}
	}
}

func TestKelvinSignIsAVariantOfK(t *testing.T) {
	err := Compile("token").Scan([]byte(`{"to`+"\u212a"+`en":1}`), Limits{}, make([]Value, 1))
	if err == nil || !strings.Contains(err.Error(), `differs from "token"`) {
		t.Error(err)
	}
}

func TestScanPasses(t *testing.T) {
	for _, doc := range []string{
		`{"A":1,"a":2}`, // not watched
		`{"a":{"b":1},"b":{"b":1}}`,
		`{"x":"\ud83d\ude00 😀 \u0000 \"\\\/\b\f\n\r\t"}`,
		`{"x":` + strings.Repeat("[", 63) + strings.Repeat("]", 63) + `}`,
		`{"x":[0,-0,0.0,1E5,1e-5,12345678901234567890,1e999]}`,
		members(1000, "name%d"),
	} {
		if err := Compile(envelope...).Scan([]byte(doc), Limits{}, make([]Value, 4)); err != nil {
			t.Errorf("%.60s: %v", doc, err)
		}
	}
}

func TestLimitsCanBeSet(t *testing.T) {
	if err := Check([]byte(`[[1]]`), Limits{Depth: 1}); err == nil || !strings.Contains(err.Error(), "nested deeper than 1") {
		t.Error(err)
	}
	if err := Check([]byte(`{"a":1}`), Limits{Tokens: 2}); err == nil || !strings.Contains(err.Error(), "more than 2 values") {
		t.Error(err)
	}
	if err := Check([]byte(`["\udead"]`), Limits{LoneSurrogates: true}); err != nil {
		t.Error(err)
	}
	if err := Check([]byte(`{"\udead":1}`), Limits{LoneSurrogates: true}); err == nil {
		t.Error("half a surrogate pair passes in a name")
	}
}

// members returns an object of n members whose names are made by format.
func members(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"`+format+`":%d`, i, i)
	}
	return "{" + b.String()[1:] + "}"
}

func TestDuplicatesInLargeObjects(t *testing.T) {
	for _, n := range []int{15, 16, 17, 18, 100, 5000} {
		for _, format := range []string{"n%d", "a name that is long %d", `\u0041%d`, "same mark%[1]d same mark"} {
			doc := members(n, format)
			if err := Check([]byte(doc), Limits{}); err != nil {
				t.Fatalf("%d: %.80s: %v", n, doc, err)
			}
			again := strings.Index(doc, `":`) + 1
			twice := doc[:len(doc)-1] + "," + doc[1:again] + ":0}"
			err := Check([]byte(twice), Limits{})
			var e *Error
			if !errors.As(err, &e) || !strings.HasPrefix(e.Reason, "duplicate") || e.Offset != len(doc) {
				t.Errorf("%d: %.80s: %v, want a duplicate at %d", n, twice, err, len(doc))
			}
		}
	}
}

// An object of names that all have the same mark must not cost the square of its size: the comparisons are counted by
// the allocator-free proxy of a scan that finishes; a quadratic one would take minutes here.
func TestNamesMadeToCollide(t *testing.T) {
	const n = 60_000
	var b strings.Builder
	b.WriteString("{")
	for i := range n {
		fmt.Fprintf(&b, `"12345678%08d12345678":0,`, i)
	}
	b.WriteString(`"end":0}`)
	if err := Check([]byte(b.String()), Limits{}); err != nil {
		t.Fatal(err)
	}
}

func TestScanOfAnOrdinaryBodyDoesNotAllocate(t *testing.T) {
	paths, out := Compile(chatPaths...), make([]Value, len(chatPaths))
	for size, doc := range map[string][]byte{"1.5 KB": chatBody(1500), "100 KB": chatBody(100_000)} {
		if n := testing.AllocsPerRun(20, func() {
			if err := paths.Scan(doc, Limits{}, out); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", size, n)
		}
	}
}

func TestMalformedPathsPanic(t *testing.T) {
	for _, paths := range [][]string{{""}, {"a."}, {".a"}, {"a", "a"}, {"é"}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%q compiles", paths)
				}
			}()
			Compile(paths...)
		}()
	}
}
