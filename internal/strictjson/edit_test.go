package strictjson

import "testing"

func TestRemoveTakesTheRightComma(t *testing.T) {
	tests := []struct{ doc, want string }{
		{`{"x":1}`, `{}`},
		{`{ "x" : 1 }`, `{  }`},
		{`{"x":1,"b":2}`, `{"b":2}`},
		{`{"a":0, "x":1 , "b":2}`, `{"a":0, "b":2}`},
		{`{"a":0 ,"x":1}`, `{"a":0 }`},
		{"{\n \"a\":0,\n \"x\":1\n}", "{\n \"a\":0\n}"},
	}
	for _, test := range tests {
		doc := []byte(test.doc)
		got := string(Splice(doc, Remove(doc, Lookup(doc, Whole(doc), "x"))))
		if got != test.want {
			t.Errorf("%s became %s, want %s", test.doc, got, test.want)
		}
	}
}

func TestInsertStandsAtTheEnd(t *testing.T) {
	for doc, want := range map[string]string{`{}`: `{"x":1}`, `{ }`: `{ "x":1}`, `{"a":{}}`: `{"a":{},"x":1}`} {
		if got := string(Splice([]byte(doc), Insert([]byte(doc), Whole([]byte(doc)), "x", []byte("1")))); got != want {
			t.Errorf("%s became %s, want %s", doc, got, want)
		}
	}
}

func TestRewriteKeepsTheRest(t *testing.T) {
	doc := []byte(`{"p":{ "a" : [1, 2],"b":"x" , "c":null},"q":1}`)
	p := Lookup(doc, Whole(doc), "p")
	got := string(Splice(doc, Rewrite(doc, p, Change{"c", nil}, Change{"b", []byte(`"y"`)}, Change{"d", []byte(`{}`)}, Change{"e", nil})))
	if want := `{"p":{"a" : [1, 2],"b":"y","d":{}},"q":1}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestEditsOutOfOrderPanic(t *testing.T) {
	for _, edits := range [][]Edit{{{Start: 2, End: 3}, {Start: 1, End: 2}}, {{Start: 1, End: 3}, {Start: 2, End: 4}}, {{Start: 3, End: 2}}} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%v is done", edits)
				}
			}()
			Splice([]byte("0123456789"), edits...)
		}()
	}
}

func TestWalkOfOtherKindsIsEmpty(t *testing.T) {
	for _, text := range []string{``, ` `, `1`, `"{}"`, `[]`, `{}`} {
		doc := []byte(text)
		for range Members(doc, Whole(doc)) {
			t.Errorf("%q has members", text)
		}
		for range Elements(doc, Whole(doc)) {
			t.Errorf("%q has elements", text)
		}
	}
}
