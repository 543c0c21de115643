package asked

import (
	"testing"

	"github.com/tollgate/tollgate/mcp/upstream"
)

func TestQuestions(t *testing.T) {
	var qs Questions
	first, _, _ := qs.Pose("srv", nil)
	second, _, _ := qs.Pose("srv", nil)
	if string(first.ID) != "1" || string(second.ID) != "2" {
		t.Errorf("ids %s and %s", first.ID, second.ID)
	}
	if qs.Withdraw([]byte(`"1"`)) != nil {
		t.Error("an id of another kind is the same")
	}
	q := qs.Withdraw([]byte("1"))
	q.Settle(&upstream.Answer{Result: []byte("{}")})
	if a := <-first.Answer; q != first || string(a.Result) != "{}" {
		t.Errorf("answered %+v", a)
	}
	if qs.Withdraw([]byte("1")) != nil {
		t.Error("answered twice")
	}
	for range Max - 1 {
		if _, _, ok := qs.Pose("srv", nil); !ok {
			t.Fatal("refused below the bound")
		}
	}
	if _, _, ok := qs.Pose("srv", nil); ok {
		t.Error("no bound")
	}
}

// TestProgress is where a client's progress goes, by what the server's question says.
func TestProgress(t *testing.T) {
	tests := []struct{ server, params, asked, server2, theirs string }{
		{"srv", `{"_meta":{"progressToken":"t","k":1},"a":2}`, `{"_meta":{"progressToken":1,"k":1},"a":2}`, "srv", `{"progressToken":"t","progress":3}`},
		{"srv", `{"_meta":{"progressToken":9}}`, `{"_meta":{"progressToken":1}}`, "srv", `{"progressToken":9,"progress":3}`},
		{"", `{"_meta":{"progressToken":"t","k":1}}`, `{"_meta":{"k":1}}`, "", ""},
		{"srv", `{"_meta":{"progressToken":[]}}`, `{"_meta":{}}`, "", ""},
		{"srv", `{"_meta":{"k":1}}`, `{"_meta":{"k":1}}`, "", ""},
		{"srv", ``, ``, "", ""},
	}
	for _, tt := range tests {
		var qs Questions
		_, asked, _ := qs.Pose(tt.server, []byte(tt.params))
		server, theirs, ok := qs.Progress([]byte(`{"progressToken":1,"progress":3}`))
		if string(asked) != tt.asked || server != tt.server2 || string(theirs) != tt.theirs || ok != (tt.theirs != "") {
			t.Errorf("%q %s: asked %s; progress goes to %q as %s", tt.server, tt.params, asked, server, theirs)
		}
		if _, _, ok := qs.Progress([]byte(`{"progress":3}`)); ok {
			t.Error("progress of nothing")
		}
	}
}
