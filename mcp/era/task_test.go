package era

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestReadTask(t *testing.T) {
	for raw, want := range map[string]*TaskState{
		`{"taskId":"a","status":"working","ttlMs":null}`:                                               {ID: "a", Status: TaskWorking},
		`{"taskId":"\u0061","status":"working","statusMessage":"m","ttlMs":1.5e3,"pollIntervalMs":20}`: {ID: "a", Status: TaskWorking, Message: "m", TTL: 1500 * time.Millisecond, Poll: 20 * time.Millisecond},
		`{"taskId":"a","status":"working","ttlMs":-1,"pollIntervalMs":1e300}`:                          {ID: "a", Status: TaskWorking},
		`{"taskId":"a","status":"input_required","inputRequests":{}}`:                                  {ID: "a", Status: TaskInput, Asks: true},
		`{"taskId":"a","status":"input_required"}`:                                                     {ID: "a", Status: TaskInput},
		`{"taskId":"a","status":"completed","result":{"x":1.0}}`:                                       {ID: "a", Status: TaskCompleted, Result: []byte(`{"x":1.0}`)},
		`{"taskId":"a","status":"failed","error":{"code":1}}`:                                          {ID: "a", Status: TaskFailed, Error: []byte(`{"code":1}`)},
		`{"taskId":"a","status":"cancelled"}`:                                                          {ID: "a", Status: TaskCancelled},
		`{"taskId":"a","status":"completed","result":[]}`:                                              nil,
		`{"taskId":"a","status":"failed","error":"text"}`:                                              nil,
		`{"taskId":"a","status":"paused"}`:                                                             nil,
		`{"taskId":"a"}`:                                                                               nil,
		`{"taskId":"","status":"working"}`:                                                             nil,
		`{"taskId":7,"status":"working"}`:                                                              nil,
		`{"taskId":"` + strings.Repeat("a", taskIDBytesMax+1) + `","status":"working"}`:                nil,
		`{"taskId":"a","taskid":"b","status":"working"}`:                                               nil,
		`[]`: nil,
	} {
		got, err := ReadTask([]byte(raw))
		switch {
		case want == nil && err == nil:
			t.Errorf("%.60s was read as %+v", raw, got)
		case want == nil:
		case err != nil:
			t.Errorf("%s: %v", raw, err)
		case got.ID != want.ID || got.Status != want.Status || got.Message != want.Message || got.TTL != want.TTL || got.Poll != want.Poll || got.Asks != want.Asks ||
			!bytes.Equal(got.Result, want.Result) || !bytes.Equal(got.Error, want.Error):
			t.Errorf("%s: %+v", raw, got)
		}
	}
}

func TestWithTaskID(t *testing.T) {
	for raw, want := range map[string]string{
		`{"resultType":"complete"}`:        `{"resultType":"complete"}`,
		`{"n":1e2,"taskId":"a","x":[ 1 ]}`: `{"n":1e2,"taskId":"ours","x":[ 1 ]}`,
		`{"taskId":"a","result":{"_meta":{"io.modelcontextprotocol/serverInfo":{},"k":1.0},"content":[]}}`: `{"taskId":"ours","result":{"_meta":{"k":1.0},"content":[]}}`,
		`{"taskId":"a","result":{"_meta":{"k":1.0}}}`:                                                      `{"taskId":"ours","result":{"_meta":{"k":1.0}}}`,
	} {
		if got := string(WithTaskID([]byte(raw), "ours")); got != want {
			t.Errorf("%s became %s, want %s", raw, got, want)
		}
	}
}

func TestWithURI(t *testing.T) {
	const raw = `{"contents":[{"uri":"ui:\/\/a","x":1.0},{"uri":"ui://b"},{"uri":7}],"uri":"ui://a"}`
	if got := string(WithURI([]byte(raw), "ui://a", "ui://s__a")); got != `{"contents":[{"uri":"ui://s__a","x":1.0},{"uri":"ui://b"},{"uri":7}],"uri":"ui://a"}` {
		t.Error(got)
	}
	if got := string(WithURI([]byte(raw), "ui://c", "ui://s__c")); got != raw {
		t.Error(got)
	}
}

func TestDeclares(t *testing.T) {
	for capabilities, want := range map[string]bool{
		``: false, `{}`: false, `{"extensions":[]}`: false, `{"extensions":{"io.modelcontextprotocol/tasks":true}}`: false,
		`{"io.modelcontextprotocol/tasks":{}}`: false, `{"extensions":{"io.modelcontextprotocol/tasks":{}}}`: true,
	} {
		c := &Context{Capabilities: []byte(capabilities)}
		if got := c.Declares(Tasks); got != want {
			t.Errorf("%s: %v", capabilities, got)
		}
	}
}

func FuzzReadTask(f *testing.F) {
	f.Add([]byte(`{"taskId":"a","status":"completed","result":{"_meta":{"io.modelcontextprotocol/serverInfo":{}}}}`))
	f.Add([]byte(`{"taskId":"a","status":"input_required","inputRequests":{"k":{"method":"m"}},"ttlMs":1e9}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		task, err := ReadTask(raw)
		if err != nil {
			return
		}
		if task.ID == "" || task.TTL < 0 || task.Poll < 0 {
			t.Errorf("%+v", task)
		}
		_, _ = task.Input() // must not panic
		again, err := ReadTask(WithTaskID(raw, "ours"))
		if err != nil || again.ID != "ours" || again.Status != task.Status {
			t.Errorf("%s under another id: %+v, %v", raw, again, err)
		}
	})
}
