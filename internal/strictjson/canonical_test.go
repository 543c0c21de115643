package strictjson

import (
	"bytes"
	"encoding/json"
	"math"
	"reflect"
	"testing"
)

func TestAppendCanonical(t *testing.T) {
	tests := []struct{ name, doc, want string }{
		{"the example of RFC 8785, section 3.2.2", `{
			"numbers": [333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001],
			"string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
			"literals": [null, true, false]
		}`, `{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`},
		{"its order of names, section 3.2.3", `{
			"\u20ac": "Euro Sign", "\r": "Carriage Return", "\ufb33": "Hebrew Letter Dalet With Dagesh", "1": "One",
			"\ud83d\ude00": "Emoji: Grinning Face", "\u0080": "Control", "\u00f6": "Latin Small Letter O With Diaeresis"
		}`, "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u0080\":\"Control\",\"ö\":\"Latin Small Letter O With Diaeresis\",\"€\":\"Euro Sign\",\"😀\":\"Emoji: Grinning Face\",\"\ufb33\":\"Hebrew Letter Dalet With Dagesh\"}"},
		{"control characters", `"\b\t\n\u000b\f\r\u0000\u001f\u007f"`, "\"\\b\\t\\n\\u000b\\f\\r\\u0000\\u001f\u007f\""},
		{"a name that begins another", `{"ab":1,"a":2,"":3}`, `{"":3,"a":2,"ab":1}`},
		{"pairs with one high surrogate", `{"😁":1,"😀":2}`, `{"😀":2,"😁":1}`},
		{"nested", ` [ { "b" : { "d" : [ ] , "c" : { } } , "a" : null } ] `, `[{"a":null,"b":{"c":{},"d":[]}}]`},
		{"beyond 2^53", `12345678901234567890`, `12345678901234567000`},
		{"beyond all", `[1e999,-1e999]`, `[1e999,-1e999]`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := AppendCanonical(nil, []byte(tt.doc)); string(got) != tt.want {
				t.Errorf("got  %s\nwant %s", got, tt.want)
			}
		})
	}
}

// TestCanonicalNumbers plays the table of RFC 8785, appendix B.
func TestCanonicalNumbers(t *testing.T) {
	tests := []struct {
		bits uint64
		want string
	}{
		{0x0000000000000000, "0"},
		{0x8000000000000000, "0"},
		{0x0000000000000001, "5e-324"},
		{0x8000000000000001, "-5e-324"},
		{0x7fefffffffffffff, "1.7976931348623157e+308"},
		{0xffefffffffffffff, "-1.7976931348623157e+308"},
		{0x4340000000000000, "9007199254740992"},
		{0xc340000000000000, "-9007199254740992"},
		{0x4430000000000000, "295147905179352830000"},
		{0x44b52d02c7e14af5, "9.999999999999997e+22"},
		{0x44b52d02c7e14af6, "1e+23"},
		{0x44b52d02c7e14af7, "1.0000000000000001e+23"},
		{0x444b1ae4d6e2ef4e, "999999999999999700000"},
		{0x444b1ae4d6e2ef4f, "999999999999999900000"},
		{0x444b1ae4d6e2ef50, "1e+21"},
		{0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7"},
		{0x3eb0c6f7a0b5ed8d, "0.000001"},
		{0x41b3de4355555553, "333333333.3333332"},
		{0x41b3de4355555554, "333333333.33333325"},
		{0x41b3de4355555555, "333333333.3333333"},
		{0x41b3de4355555556, "333333333.3333334"},
		{0x41b3de4355555557, "333333333.33333343"},
		{0xbecbf647612f3696, "-0.0000033333333333333333"},
		{0x43143ff3c1cb0959, "1424953923781206.2"},
	}
	for _, tt := range tests {
		literal, err := json.Marshal(math.Float64frombits(tt.bits))
		if err != nil {
			t.Fatal(err)
		}
		if got := AppendCanonical(nil, literal); string(got) != tt.want {
			t.Errorf("%x: %s, want %s", tt.bits, got, tt.want)
		}
	}
}

// FuzzCanonical holds that the canonical form says the same as the document, that it is its own canonical form, and that
// a document written anew by another program has the same one.
func FuzzCanonical(f *testing.F) {
	for _, seed := range []string{
		`{"b":[1,2.50,-0,1e21,1e-7],"a":"\u00e9\ud83d\ude00\n"}`, `"\u2028"`, `[[],{},null,true]`, `{"\ue000":1,"\ud83d\ude00":2}`, `1e400`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, doc []byte) {
		if Check(doc, Limits{}) != nil {
			return
		}
		got := AppendCanonical(nil, doc)
		if err := Check(got, Limits{}); err != nil {
			t.Fatalf("%s is not JSON: %v", got, err)
		}
		if again := AppendCanonical(nil, got); !bytes.Equal(again, got) {
			t.Fatalf("%s becomes %s", got, again)
		}
		var was, is any
		if json.Unmarshal(doc, &was) != nil { // a number beyond all
			return
		}
		if err := json.Unmarshal(got, &is); err != nil || !reflect.DeepEqual(was, is) {
			t.Fatalf("%s says %v, and %s says %v (%v)", doc, was, got, is, err)
		}
		anew, err := json.MarshalIndent(was, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if other := AppendCanonical(nil, anew); !bytes.Equal(other, got) {
			t.Fatalf("%s is %s, and %s is %s", doc, got, anew, other)
		}
	})
}
