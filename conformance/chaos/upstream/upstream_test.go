package upstream

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tollgate/tollgate/conformance/chaos/evidence"
)

// peer is a server under test and its log.
type peer struct {
	*httptest.Server
	t    *testing.T
	log  *evidence.Log
	path string
}

func serve(t *testing.T, handler func(*evidence.Log, uint64) http.Handler) *peer {
	t.Helper()
	p := &peer{t: t, path: filepath.Join(t.TempDir(), "log")}
	var err error
	if p.log, err = evidence.Create(p.path); err != nil {
		t.Fatal(err)
	}
	p.Server = httptest.NewServer(handler(p.log, 1))
	t.Cleanup(p.Close)
	return p
}

// post returns the status, the session and the body of an answer, and whether it was whole.
func (p *peer) post(path, body, session string) (status int, opened, text string, whole bool) {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.URL+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	if session != "" {
		req.Header.Set("Mcp-Session-Id", session)
	}
	resp, err := http.DefaultClient.Do(req)
	if errors.Is(err, io.EOF) {
		return 0, "", "", false
	}
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header.Get("Mcp-Session-Id"), string(b), err == nil
}

// requests ends the log and returns what was noted.
func (p *peer) requests() []evidence.Request {
	p.t.Helper()
	p.Close()
	if err := p.log.Close(); err != nil {
		p.t.Fatal(err)
	}
	lines, err := evidence.Read[evidence.Request](p.path)
	if err != nil {
		p.t.Fatal(err)
	}
	out, err := evidence.Requests(lines)
	if err != nil {
		p.t.Fatal(err)
	}
	return out
}

// What a provider says it bills, it has noted; what broke off was noted as that.
func TestAProviderNotesWhatItAnswers(t *testing.T) {
	for _, stream := range []bool{false, true} {
		t.Run(fmt.Sprint("stream ", stream), func(t *testing.T) {
			p := serve(t, Provider)
			type answer struct {
				status, tokens int
				whole          bool
			}
			var answers []answer
			const calls = 40
			for i := range calls {
				nonce := fmt.Sprintf("%032x", i)
				body := fmt.Sprintf(`{"model":"flaky","max_tokens":40,"stream":%t,"messages":[{"role":"user","content":"nonce:%s"}]}`, stream, nonce)
				status, _, text, whole := p.post("/alpha/chat/completions", body, "")
				a := answer{status: status, whole: whole}
				if _, usage, ok := strings.Cut(text, `"usage":`); ok {
					var u struct {
						Total int `json:"total_tokens"`
					}
					if err := json.NewDecoder(strings.NewReader(usage)).Decode(&u); err != nil {
						t.Fatal(err)
					}
					a.tokens = u.Total
				}
				if whole && status == http.StatusOK && !strings.Contains(text, "nonce:"+nonce) {
					t.Errorf("the answer does not repeat %s: %s", nonce, text)
				}
				answers = append(answers, a)
			}
			got := p.requests()
			if len(got) != calls {
				t.Fatalf("%d requests noted", len(got))
			}
			seen := map[evidence.Answer]int{}
			for i, r := range got {
				a := answers[i]
				seen[r.Answer]++
				ok := a.whole && a.status == http.StatusOK && a.tokens == int(r.Input+r.Output)
				refused := a.status == http.StatusInternalServerError && r.Input+r.Output == 0
				broken := !a.whole && r.Input+r.Output > 0
				if want := map[evidence.Answer]bool{evidence.Whole: ok, evidence.Refused: refused, evidence.Cut: broken}[r.Answer]; !want {
					t.Errorf("request %d was answered %+v and noted as %+v", i, a, r)
				}
				if r.Nonce != fmt.Sprintf("%032x", i) || r.Upstream != "alpha" || r.Target != "flaky" || r.Arrived == 0 || r.Ended < r.Arrived {
					t.Errorf("request %d: %+v", i, r)
				}
			}
			if len(seen) != 3 {
				t.Errorf("answers: %v", seen)
			}
		})
	}
}

func TestToolServersNoteCallsOnly(t *testing.T) {
	p := serve(t, Tools)
	call := func(tool string) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":%q,"arguments":{"text":"nonce:%032x"}}}`, tool, 5)
	}
	for _, tt := range []struct {
		path, body, session string
		status              int
		want                string
	}{
		{"/mail", `{"jsonrpc":"2.0","id":1,"method":"server/discover"}`, "", 200, `"2026-07-28"`},
		{"/mail", `{"jsonrpc":"2.0","id":1,"method":"initialize"}`, "", 400, `-32022`},
		{"/mail", `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, "", 200, `"dying"`},
		{"/mail", call("echo"), "", 200, fmt.Sprintf("nonce:%032x", 5)},
		{"/mail", `{"jsonrpc":"2.0","method":"notifications/cancelled"}`, "", 202, ""},
		{"/mail", `{"jsonrpc":"2.0","id":1,"method":"nothing"}`, "", 404, "-32601"},
		{"/mail", `no JSON`, "", 400, ""},
		{"/crm", call("echo"), "", 400, "no valid session"},
		{"/crm", call("echo"), "session-9", 404, ""},
		{"/crm", `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{"protocolVersion":"2025-11-25"}}`, "", 200, `"2025-11-25"`},
		{"/crm", call("echo"), "session-1", 200, fmt.Sprintf("nonce:%032x", 5)},
	} {
		status, _, text, _ := p.post(tt.path, tt.body, tt.session)
		if status != tt.status || !strings.Contains(text, tt.want) {
			t.Errorf("%s %s: %d %s", tt.path, tt.body, status, text)
		}
	}
	var got []evidence.Answer
	for _, r := range p.requests() {
		got = append(got, r.Answer)
	}
	if want := []evidence.Answer{evidence.Whole, evidence.NoSession, evidence.Whole}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("noted %v, want %v", got, want)
	}
}

func TestASessionEnds(t *testing.T) {
	s := &tools{sessions: map[string]int64{}}
	id := s.open()
	for range sessionCalls {
		if !s.used(id) {
			t.Fatal("it ended early")
		}
	}
	if s.used(id) || s.used("another") {
		t.Error("it goes on for ever")
	}
}
