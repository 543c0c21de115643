package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/llm/demo/wire"
	"github.com/tollgate/tollgate/llm/vendor"
)

// The models it lists: one to talk to, one for embeddings.
const (
	Model     = "demo"
	Embedding = "demo-embedding"
)

// bodyBytesMax bounds a request: enough for what an agent sends, and nothing is kept of it.
const bodyBytesMax = 8 << 20

// Server is the demo model. It keeps nothing between requests. Safe for concurrent use.
type Server struct {
	now  func() time.Time
	pace time.Duration
	ids  atomic.Uint64
}

// New returns the demo model. now is its clock; pace is the time between the pieces of a stream, so that one can be seen
// to be one, 0 for none.
func New(now func() time.Time, pace time.Duration) *Server { return &Server{now: now, pace: pace} }

// problem is an error answer.
type problem struct {
	status int
	kind   string
	text   string
}

func (p *problem) Error() string { return p.text }

func badRequest(format string, args ...any) error {
	return &problem{http.StatusBadRequest, "invalid_request_error", fmt.Sprintf(format, args...)}
}

// ServeHTTP answers the paths of the dialects, wherever they are mounted.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d, err := dialectOf(r)
	if err == nil {
		err = s.serve(w, r, d)
	}
	if err == nil {
		return
	}
	p := &problem{status: http.StatusInternalServerError, kind: "api_error", text: err.Error()}
	errors.As(err, &p)
	writeJSON(w, p.status, wire.Error(d, p.kind, p.text))
}

// dialectOf knows a request's dialect by its path.
func dialectOf(r *http.Request) (vendor.Dialect, error) {
	method := http.MethodPost
	for _, d := range []vendor.Dialect{vendor.CountTokens, vendor.Chat, vendor.Responses, vendor.Messages, vendor.Embeddings, vendor.Models} {
		if !strings.HasSuffix(r.URL.Path, d.Path()) {
			continue
		}
		if d == vendor.Models {
			method = http.MethodGet
		}
		if r.Method != method {
			return d, &problem{http.StatusMethodNotAllowed, "invalid_request_error", "use " + method}
		}
		return d, nil
	}
	return "", &problem{http.StatusNotFound, "not_found_error", "the demo model has no such path: it has /v1/chat/completions, /v1/responses, /v1/messages, /v1/messages/count_tokens, /v1/embeddings and /v1/models"}
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request, d vendor.Dialect) error {
	if d == vendor.Models {
		writeJSON(w, http.StatusOK, wire.Models("tollgate", Model, Embedding))
		return nil
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, bodyBytesMax))
	if err != nil {
		return badRequest("the request body could not be read or is larger than %d bytes", bodyBytesMax)
	}
	if d == vendor.Embeddings {
		return s.embeddings(w, body)
	}
	req, err := parse(d, body)
	if err != nil {
		return err
	}
	if req.Model != Model {
		return unknownModel(req.Model, Model)
	}
	if d == vendor.CountTokens {
		writeJSON(w, http.StatusOK, fmt.Appendf(nil, `{"input_tokens":%d}`, req.tokens()))
		return nil
	}
	answer := s.answer(req)
	if !req.Stream {
		writeJSON(w, http.StatusOK, answer.Body(d))
		return nil
	}
	s.stream(w, r, answer.Events(d))
	return nil
}

func unknownModel(got, want string) error {
	return &problem{http.StatusNotFound, "not_found_error", fmt.Sprintf("there is no model %q here; use %q", got, want)}
}

// answer is what the demo says to req, cut at the caller's limit.
func (s *Server) answer(req *request) *wire.Answer {
	now := s.now()
	text, call := reply(req, now)
	id := fmt.Sprintf("demo%d", s.ids.Add(1))
	a := &wire.Answer{ID: id, Model: Model, Created: now.Unix(), Text: pieces(text), AskedUsage: req.askedUsage()}
	output := len(a.Text)
	if call != nil {
		call.ID = "call_" + id
		a.Calls = []wire.Call{*call}
		output += len(pieces(call.Arguments))
	}
	if limit := req.limit(); limit > 0 && output > limit {
		a.Text = a.Text[:min(limit, len(a.Text))]
		a.Calls, a.Cut, output = nil, true, len(a.Text)
	}
	a.Usage = &ledger.Quantities{InputTokens: int64(req.tokens()), OutputTokens: int64(output)}
	return a
}

// stream sends events at the demo's pace, until the client leaves.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, events []wire.Event) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(http.StatusOK)
	rc := http.NewResponseController(w)
	tick := time.NewTimer(s.pace)
	defer tick.Stop()
	var b []byte
	for _, e := range events {
		if e.Content && s.pace > 0 {
			tick.Reset(s.pace)
			select {
			case <-tick.C:
			case <-r.Context().Done():
				return
			}
		}
		b = e.Append(b[:0])
		if _, err := w.Write(b); err != nil {
			return // the client has left
		}
		if err := rc.Flush(); err != nil {
			return // as above
		}
	}
}

func writeJSON(w http.ResponseWriter, status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client has left: nobody is there to tell
}

// pieces cuts text into the demo's tokens: a word or a sign, with the space before it. Joined they are text again.
func pieces(text string) []string {
	var out []string
	start, inWord := 0, false
	for i, c := range text {
		word := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c >= 0x80
		space := c == ' ' || c == '\n' || c == '\t' || c == '\r'
		if i > start && (space && !blank(text[start:i]) || !space && !blank(text[start:i]) && !(word && inWord)) {
			out = append(out, text[start:i])
			start = i
		}
		inWord = word
	}
	if start < len(text) {
		out = append(out, text[start:])
	}
	return out
}

func blank(s string) bool { return strings.TrimSpace(s) == "" }

// unmarshal reads JSON for the caller's eyes.
func unmarshal(body []byte, into any) error {
	if err := json.Unmarshal(body, into); err != nil {
		return badRequest("the request body is not what this endpoint takes: %v", err)
	}
	return nil
}
