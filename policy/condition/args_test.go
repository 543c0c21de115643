package condition

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
)

func TestArgumentsBeyondTheLimits(t *testing.T) {
	for name, c := range map[string]struct {
		args string
		want error
	}{
		"depth":      {`{"a":` + strings.Repeat("[", argDepthMax) + strings.Repeat("]", argDepthMax) + `}`, errArgsDepth},
		"deep":       {`{"a":` + strings.Repeat("[", 1<<20), errArgsDepth},
		"nodes":      {`{"a":[` + strings.Repeat("1,", argNodesMax) + `1]}`, errArgsNodes},
		"text":       {`{"a":"` + strings.Repeat("x", argTextBytesMax) + `"}`, errArgsText},
		"name":       {`{"` + strings.Repeat("x", argTextBytesMax) + `":1}`, errArgsText},
		"within":     {`{"a":` + strings.Repeat("[", argDepthMax-1) + strings.Repeat("]", argDepthMax-1) + `}`, nil},
		"long":       {`{"a":"` + strings.Repeat("x", argTextBytesMax-2) + `"}`, nil},
		"skipped":    {`{"b":"` + strings.Repeat("x", 2*argTextBytesMax) + `","c":` + strings.Repeat("[", 99) + strings.Repeat("]", 99) + `,"a":1}`, nil},
		"skip depth": {`{"b":` + strings.Repeat("[", skipDepthMax+1) + strings.Repeat("]", skipDepthMax+1) + `,"a":1}`, errArgsDepth},
		"skip names": {`{` + manyNames(argNodesMax+1) + `"a":1}`, errArgsNodes},
		"escape":     {`{"a":"\x"}`, errArgsJSON},
		"escape u":   {`{"a":"\u12g4"}`, errArgsJSON},
		"escape cut": {`{"a":"\u12"}`, errArgsJSON},
		"escapes":    {`{"a":"\u12f4\ud800\/\"\\"}`, nil},
		"unended":    {`{"b":"x\`, errArgsJSON},
		"unended 2":  {`{"b":"x\"`, errArgsJSON},
		"empty":      {`{"b":}`, errArgsJSON},
		"comma":      {`{"a":1,}`, errArgsJSON},
		"brackets":   {`{"b":]}`, errArgsJSON},
	} {
		got, err := decodeArgs([]byte(c.args), []string{"a"})
		if err != c.want {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
		if err == nil && got["a"] == nil {
			t.Errorf("%s: the member was not read", name)
		}
	}
}

func manyNames(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"n%d":0,`, i)
	}
	return b.String()
}

// Passing over a text full of escapes must not look for its end again and again.
func BenchmarkSkipMegabyte(b *testing.B) {
	doc := []byte(`{"messages":"` + strings.Repeat(`\n`, 1<<19) + `","a":1}`)
	b.SetBytes(int64(len(doc)))
	for b.Loop() {
		if _, err := decodeArgs(doc, []string{"a"}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	doc := []byte(`{"repo":"acme/web","title":"A title of some length","labels":["bug","p1"],"body":"` + strings.Repeat("text ", 200) + `","n":17,"draft":false}`)
	b.SetBytes(int64(len(doc)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := decodeArgs(doc, nil); err != nil {
			b.Fatal(err)
		}
	}
}

// What decodeArgs reads is what encoding/json reads, and what it reads of one member alone is what it reads of all.
func FuzzDecode(f *testing.F) {
	for _, seed := range []string{
		`{}`, ` {"a" : [ 1 , -2.5e3, true, false, null ] } `, `{"a":{"b":"\u00e9\n\ud83d\ude00"},"c":"\ud800"}`, `{"a":"\x"}`, `{"a":"\u12g4"}`, `{"a":"\ud800\u0041\/\b"}`, `{"a":"\u12"}`, `{"a":1,"a":2}`,
		`{"a":1`, `[]`, `{"a":tru}`, `{"a":"x`, `{"a":-}`, `{"a":1}x`, `{"a":9223372036854775808}`, "{\"a\":\"\x01\"}", `{"a":{"b":[{}]}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		got, err := decodeArgs(doc, nil)
		if err != nil || len(doc) == 0 {
			return
		}
		var want map[string]any
		dec := json.NewDecoder(strings.NewReader(string(doc)))
		dec.UseNumber()
		if err := dec.Decode(&want); err != nil {
			t.Fatalf("read as %v, but encoding/json says %v", got, err)
		}
		if !reflect.DeepEqual(any(got), plain(want)) {
			t.Fatalf("got %#v, want %#v", got, plain(want))
		}
		for name, value := range got {
			alone, err := decodeArgs(doc, []string{name})
			if err != nil || !reflect.DeepEqual(alone[name], value) {
				t.Fatalf("member %q alone: %#v, %v", name, alone[name], err)
			}
		}
	})
}

// plain turns numbers into what conditions see.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = plain(v[k])
		}
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	case json.Number:
		if n, err := v.Int64(); err == nil && n != math.MinInt64 {
			return int(n)
		}
		f, _ := v.Float64()
		return f
	}
	return v
}
