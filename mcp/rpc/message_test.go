package rpc

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/internal/strictjson"
)

func TestParse(t *testing.T) {
	tests := []struct {
		raw  string
		kind string // request, notification, response
		id   string
		code int
	}{
		{raw: `{"jsonrpc":"2.0","id":1,"method":"ping"}`, kind: "request", id: "1"},
		{raw: ` {"method":"ping","id":"a\"b","jsonrpc":"2.0","params":{}} `, kind: "request", id: `"a\"b"`},
		{raw: `{"jsonrpc":"2.0","id":-7,"method":"pin\u0067"}`, kind: "request", id: "-7"},
		{raw: `{"jsonrpc":"2.0","method":"ping"}`, kind: "notification"},
		{raw: `{"jsonrpc":"2.0","id":1,"result":{}}`, kind: "response", id: "1"},
		{raw: `{"jsonrpc":"2.0","id":1,"error":{"code":1}}`, kind: "response", id: "1"},
		{raw: `{"jsonrpc":"2.0","result":{}}`, code: CodeInvalid},
		{raw: `{"jsonrpc":"2.0","id":true,"method":"ping"}`, code: CodeInvalid},
		{raw: `{"jsonrpc":"2.0","id":1e3,"method":"ping"}`, code: CodeInvalid},
		{raw: `{"jsonrpc":"2.0","id":"` + strings.Repeat("x", 300) + `","method":"ping"}`, code: CodeInvalid},
		{raw: `{"jsonrpc":"2.0","id":1,"method":""}`, code: CodeInvalid},
		{raw: `{"jsonrpc":"2.0","id":1,"method":5}`, code: CodeInvalid},
		{raw: `{"jsonrpc":2.0,"id":1,"method":"ping"}`, code: CodeInvalid},
		{raw: `{"jsonrpc":"2.0","id":1,"method":"ping","params":null}`, code: CodeInvalid},
		{raw: `{"jsonrpc":"2.0","id":1,"method":"ping"`, code: CodeParse},
	}
	for _, tt := range tests {
		m, err := Parse([]byte(tt.raw))
		if tt.code != 0 {
			if err == nil || err.Code != tt.code {
				t.Errorf("Parse(%s) = %v, want code %d", tt.raw, err, tt.code)
			}
			continue
		}
		if err != nil {
			t.Errorf("Parse(%s): %v", tt.raw, err)
			continue
		}
		kind := "request"
		switch {
		case m.Response():
			kind = "response"
		case m.Notification():
			kind = "notification"
		}
		if kind != tt.kind || string(m.ID) != tt.id {
			t.Errorf("Parse(%s) is a %s with id %s, want %s with %s", tt.raw, kind, m.ID, tt.kind, tt.id)
		}
	}
}

func TestParamsWith(t *testing.T) {
	m, err := Parse([]byte(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"a__b", "later":{"x":1}, "_meta":{"k":1}, "arguments":{"n":12345678901234567890}}}`))
	if err != nil {
		t.Fatal(err)
	}
	got := m.ParamsWith(strictjson.Change{Name: "_meta"}, strictjson.Change{Name: "task"}, strictjson.Change{Name: "name", Value: String("b")})
	if want := `{"name":"b","later":{"x":1},"arguments":{"n":12345678901234567890}}`; string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if m, _ := Parse([]byte(`{"jsonrpc":"2.0","id":1,"method":"x"}`)); m.ParamsWith() != nil {
		t.Error("params from nowhere")
	}
}

func TestAnswers(t *testing.T) {
	tests := []struct{ got, want string }{
		{string(AppendHead(nil, []byte(`"7"`))), `{"jsonrpc":"2.0","id":"7","result":`},
		{string(AppendError(nil, nil, Invalid(`a "b"`))), `{"jsonrpc":"2.0","id":null,"error":{"code":-32600,"message":"a \"b\""}}`},
		{string(AppendError(nil, []byte("1"), &Error{Code: 5, Message: "m", Data: []byte("[1]")})), `{"jsonrpc":"2.0","id":1,"error":{"code":5,"message":"m","data":[1]}}`},
		{string(AppendError(nil, []byte("1"), &Error{Code: 5, Raw: []byte(`{"code":9}`)})), `{"jsonrpc":"2.0","id":1,"error":{"code":9}}`},
		{string(AppendNotification(nil, "n/x", nil)), `{"jsonrpc":"2.0","method":"n/x"}`},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("got %s, want %s", tt.got, tt.want)
		}
	}
}

// FuzzParse holds that what Parse takes is read in the same way by encoding/json, and that an answer to it is JSON.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"x","arguments":{},"_meta":{"progressToken":1}}}`,
		`{"jsonrpc":"2.0","id":"\u0041","result":{}}`,
		`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":1}}`,
		`{"jsonrpc":"2.0","id":1,"method":"completion/complete","params":{"ref":{"type":"ref/prompt","name":"p"}}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		m, refused := Parse(raw)
		if refused != nil {
			return
		}
		var std struct {
			ID     json.RawMessage
			Method string
			Params struct {
				Name any
				Meta json.RawMessage `json:"_meta"`
			}
		}
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber() // a name may be a number beyond a float
		if err := d.Decode(&std); err != nil {
			t.Fatalf("taken, but not JSON: %v", err)
		}
		if std.Method != m.Method || string(std.ID) != string(m.ID) {
			t.Fatalf("two readings: %q %q and %q %q", m.Method, m.ID, std.Method, std.ID)
		}
		if name, ok := m.Text(Name); ok && std.Params.Name != name {
			t.Fatalf("two names: %q and %q", name, std.Params.Name)
		}
		for _, b := range [][]byte{append(AppendHead(nil, m.ID), "{}}"...), AppendError(nil, m.ID, Invalid("x")), m.ParamsWith(strictjson.Change{Name: "_meta"})} {
			if b != nil && !json.Valid(b) {
				t.Fatalf("not JSON: %s", b)
			}
		}
	})
}
