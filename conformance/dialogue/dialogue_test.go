package dialogue

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

func exchange(response string, notifications ...string) *Exchange {
	x := &Exchange{Status: 200, Response: json.RawMessage(response)}
	for _, n := range notifications {
		x.Notifications = append(x.Notifications, json.RawMessage(n))
	}
	return x
}

func TestEveryDifferenceIsFound(t *testing.T) {
	for _, c := range []struct {
		direct, through *Exchange
		want            []string
	}{
		{exchange(`{"a":1,"b":["x",{}]}`), exchange(`{"b":["\u0078",{}], "a":1}`), nil},
		{exchange(`{"a":9007199254740993,"b":1.50}`), exchange(`{"a":9007199254740992,"b":1.5}`), []string{"response.a: 9007199254740993 became 9007199254740992", "response.b: 1.50 became 1.5"}},
		{exchange(`{"a":{"b":1},"c":{}}`), exchange(`{"a":{"d":null},"c":[]}`), []string{"response.a.b: 1 became nothing", "response.a.d: nothing became null", "response.c: {} became []"}},
		{exchange(`{}`, `{"n":1}`, `{"n":2}`), exchange(`{}`, `{"n":2}`), []string{"notifications[0].n: 1 became 2", "notifications[1].n: 2 became nothing"}},
		{exchange(`{}`), &Exchange{Status: 404, Response: json.RawMessage(`{}`)}, []string{"status: 200 became 404"}},
	} {
		var got []string
		for _, d := range Compare(c.direct, c.through) {
			got = append(got, d.String())
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s and %s: %q, want %q", c.direct.Response, c.through.Response, got, c.want)
		}
	}
}

func TestPatterns(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"response.id", "response.id", true}, {"response.id", "response.id.x", false}, {"response.result.*", "response.result.a.b", true},
		{"*.name", "a.b.name", true}, {"*.name", "a.b.names", false}, {"a[*].b.*c", "a[17].b.xc", true}, {"a*b*c", "ac", false},
	} {
		if Matches(c.pattern, c.path) != c.want {
			t.Errorf("%s %s: %t", c.pattern, c.path, !c.want)
		}
	}
}

// server answers what h says to each request, and keeps what it was sent.
func server(t *testing.T, h func(w http.ResponseWriter, m *envelope, body string)) (*Client, *[]string) {
	t.Helper()
	var got []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		var e envelope
		if err := json.Unmarshal(body, &e); err != nil {
			t.Error(err)
		}
		got = append(got, string(body))
		h(w, &e, string(body))
	}))
	t.Cleanup(srv.Close)
	return &Client{URL: srv.URL, Answers: map[string]string{"roots/list": `{"roots":[]}`}}, &got
}

func TestQuestionsAreAnswered(t *testing.T) {
	c, got := server(t, func(w http.ResponseWriter, m *envelope, _ string) {
		if m.Method == "" {
			w.WriteHeader(http.StatusAccepted)
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprintf(w, "data: {\"id\":\"q\",\"method\":\"roots/list\"}\n\ndata: {\"method\":\"notifications/x\"}\n\ndata: {\"id\":%s,\"result\":{}}\n\n", m.ID)
	})
	x, err := c.Do(t.Context(), "tools/call", "{}")
	if err != nil || len(x.Questions) != 1 || len(x.Notifications) != 1 || !slices.Contains(*got, `{"jsonrpc":"2.0","id":"q","result":{"roots":[]}}`) {
		t.Errorf("%v %s %s, the server got %q", err, x.Questions, x.Notifications, *got)
	}
}

func TestACallIsRepeatedWithAnswers(t *testing.T) {
	c, got := server(t, func(w http.ResponseWriter, m *envelope, body string) {
		result := `{"resultType":"input_required","inputRequests":{"r":{"method":"roots/list"}},"requestState":"s"}`
		if strings.Contains(body, "inputResponses") {
			result = `{"resultType":"complete"}`
		}
		fmt.Fprintf(w, `{"id":%s,"result":%s}`, m.ID, result)
	})
	c.Modern = true
	x, err := c.Do(t.Context(), "tools/call", `{"name":"t"}`)
	if err != nil || string(x.Response) != `{"id":2,"result":{"resultType":"complete"}}` || len(x.Questions) != 1 {
		t.Fatalf("%v %+v", err, x)
	}
	if last := (*got)[len(*got)-1]; !strings.Contains(last, `"inputResponses":{"r":{"roots":[]}},"requestState":"s"`) {
		t.Error(last)
	}
}
