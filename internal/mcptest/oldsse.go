package mcptest

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
)

// OldSSE runs the script of a legacy server over HTTP+SSE, the transport of 2024-11-05: a GET opens a session, on whose
// stream every message of the server comes, after endpoint, the address that messages are posted to. Empty: an honest
// one; "{host}" in it stands for the server's own. The GET streams are the sessions "sse-1", "sse-2" and so on.
func OldSSE(t testing.TB, script Script, endpoint string) *RawServer {
	t.Helper()
	s := &RawServer{script: script, sessions: map[string]*rawSession{}, listening: map[chan string]*rawStream{}, questions: map[string]chan string{}}
	streams := map[string]*sseSession{}
	s.Server = serve(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
		if r.Method == http.MethodGet {
			s.mu.Lock()
			id := "sse-" + strconv.Itoa(len(streams)+1)
			one := &sseSession{http: r, events: make(chan string, 64)}
			streams[id] = one
			s.listening[one.events] = &rawStream{session: id}
			s.mu.Unlock()
			to := endpoint
			if to == "" {
				to = "?session=" + id
			}
			one.serve(s, w, strings.ReplaceAll(to, "{host}", s.URL.Host))
			return
		}
		s.mu.Lock()
		one := streams[r.URL.Query().Get("session")]
		s.mu.Unlock()
		if r.Method != http.MethodPost || one == nil || one.http.Context().Err() != nil {
			http.Error(w, "no such session", http.StatusNotFound)
			return
		}
		q := &Request{HTTP: one.http, W: &eventWriter{session: one}, Server: s, streaming: true}
		if !q.read(body) {
			http.Error(w, "parse error", http.StatusBadRequest)
			return
		}
		w.WriteHeader(http.StatusAccepted)
		if q.Method != "" || !s.answered(q.ID, string(body)) {
			go s.play(q)
		}
	})
	return s
}

// sseSession is one session of HTTP+SSE: a GET that has not ended.
type sseSession struct {
	http   *http.Request
	events chan string
}

func (one *sseSession) serve(s *RawServer, w http.ResponseWriter, endpoint string) {
	q := &Request{W: w}
	q.Stream("event: endpoint\ndata: " + endpoint + "\n\n")
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.listening, one.events)
	}()
	for {
		select {
		case e := <-one.events:
			if !strings.HasSuffix(e, "\n\n") {
				e = "event: message\ndata: " + e + "\n\n"
			}
			q.Stream(e)
		case <-one.http.Context().Done():
			return
		}
	}
}

// eventWriter sends what a script answers as events of the session.
type eventWriter struct{ session *sseSession }

func (w *eventWriter) Header() http.Header { return http.Header{} }

func (w *eventWriter) WriteHeader(int) {}

func (w *eventWriter) Flush() {}

func (w *eventWriter) Write(b []byte) (int, error) {
	if len(b) > 0 {
		select {
		case w.session.events <- string(b):
		case <-w.session.http.Context().Done():
		}
	}
	return len(b), nil
}
