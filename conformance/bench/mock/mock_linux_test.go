package mock

import (
	"encoding/json"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// serve starts a mock that lives as long as the test binary: its loop has no other end.
func serve(t *testing.T) string {
	t.Helper()
	m, err := Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go m.Run()
	return "http://" + m.Addr
}

func post(t *testing.T, url, body string) (int, http.Header, string) {
	t.Helper()
	resp, err := http.Post(url, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(text)
}

func TestWhatRequestsGet(t *testing.T) {
	url := serve(t)
	tests := []struct {
		name, path, body string
		status           int
		has              string
	}{
		{"a completion", "/v1/chat/completions", `{"model":"answer","messages":[]}`, 200, `"total_tokens":367`},
		{"a late one", "/v1/chat/completions", `{"model":"answer-1ms","messages":[]}`, 200, `"total_tokens":367`},
		{"no such model", "/v1/chat/completions", `{"model":"gpt-9","messages":[]}`, 404, "no such path or model"},
		{"a bad number", "/v1/chat/completions", `{"model":"stream-x-1ms","messages":[]}`, 404, "no such path or model"},
		{"no such path", "/v2", `{}`, 404, "no such path or model"},
		{"a call, modern", "/mcp", `{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":"echo"}}`, 200, `"id":7,"result":{"resultType":"complete","content"`},
		{"a call with a text as id", "/mcp", `{"jsonrpc":"2.0","method":"tools/call","params":{},"id":"a1"}`, 200, `"id":"a1","result"`},
		{"discovery", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"server/discover"}`, 200, `"supportedVersions":["2026-07-28"]`},
		{"initialize, modern", "/mcp", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}`, 400, `"code":-32022`},
		{"discovery, legacy", "/mcp-legacy", `{"jsonrpc":"2.0","id":1,"method":"server/discover"}`, 404, `"code":-32601`},
		{"initialize, legacy", "/mcp-legacy", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-06-18"}}`, 200, `"protocolVersion":"2025-06-18"`},
		{"a notification", "/mcp-legacy", `{"jsonrpc":"2.0","method":"notifications/initialized"}`, 202, ""},
		{"a ping", "/mcp-legacy", `{"jsonrpc":"2.0","id":1,"method":"ping"}`, 200, `"result":{"resultType":"complete"}`},
		{"telemetry", "/v1/traces", "x", 200, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, _, text := post(t, url+tt.path, tt.body)
			if status != tt.status || !strings.Contains(text, tt.has) {
				t.Errorf("got %d %s", status, text)
			}
			if strings.HasPrefix(text, "{") && !json.Valid([]byte(text)) {
				t.Errorf("no JSON: %s", text)
			}
		})
	}
}

func TestListsHaveTheirSize(t *testing.T) {
	url := serve(t)
	for path, want := range map[string]int{"/mcp": 5, "/mcp-legacy": 5, "/mcp-large": 500} {
		_, _, text := post(t, url+path, `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)
		var answer struct {
			Result struct{ Tools []struct{ Name string } }
		}
		if err := json.Unmarshal([]byte(text), &answer); err != nil || len(answer.Result.Tools) != want || answer.Result.Tools[0].Name != "echo" {
			t.Errorf("%s: %d tools, %v", path, len(answer.Result.Tools), err)
		}
	}
}

func TestAStreamHasItsChunksTheirTimesAndItsEnd(t *testing.T) {
	url := serve(t)
	for _, asked := range []bool{false, true} {
		_, header, text := post(t, url+"/v1/chat/completions", `{"model":"stream-4-0ms","stream_options":{"include_usage":`+strconv.FormatBool(asked)+`}}`)
		events := strings.Split(strings.TrimSuffix(text, "\n\n"), "\n\n")
		want := 4 + 1
		if asked {
			want++
		}
		if header.Get("Content-Type") != "text/event-stream" || len(events) != want || events[len(events)-1] != "data: [DONE]" {
			t.Fatalf("%s with %d events: %s", header.Get("Content-Type"), len(events), text)
		}
		last := int64(0)
		for _, event := range events[:4] {
			_, rest, _ := strings.Cut(event, Stamp)
			sent, err := strconv.ParseInt(rest[:StampDigits], 10, 64)
			if err != nil || sent < last || !json.Valid([]byte(strings.TrimPrefix(event, "data: "))) {
				t.Errorf("a chunk of %d after %d, %v: %s", sent, last, err, event)
			}
			last = sent
		}
	}
}
