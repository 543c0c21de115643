package mcptest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Script says what a Raw server is and does. The zero Script is a modern server that offers nothing.
type Script struct {
	Version   string // spoken; empty: Modern
	Sessions  bool   // legacy: give and demand session ids
	Tools     []string
	Resources []string
	Prompts   []string
	PageSize  int    // items of a list's page; 0: all
	List      string // further members of list results: `"ttlMs":5000,"cacheScope":"public"`
	Extra     string // further capabilities: `"logging":{}`
	Changes   bool   // declares listChanged and tells of it: see RawServer.Change
	Streams   bool   // legacy: has a GET stream even without Changes
	Watch     string // resources whose URI begins with it can be subscribed to: see RawServer.Update

	// On answers a method instead of the script: "tools/call", "server/discover", "GET".
	On map[string]func(*Request)
}

// RawServer is a running script.
type RawServer struct {
	*Server
	script Script

	mu        sync.Mutex
	sessions  map[string]*rawSession
	opened    int
	listening map[chan string]*rawStream
	questions map[string]chan string // by id
	asked     int
}

// rawSession is a session of a legacy server; one that keeps none has one for all.
type rawSession struct {
	declared string          // capabilities of the client
	watches  map[string]bool // URIs
}

// rawStream is a stream on which the server speaks by itself.
type rawStream struct {
	session      string
	subscription string // id of the listen request; empty: legacy
	watches      []string
}

// Request is one request to a RawServer, and the way to answer it.
type Request struct {
	ID     string // raw
	Method string
	Name   string // params.name
	Params json.RawMessage
	HTTP   *http.Request
	W      http.ResponseWriter
	Server *RawServer

	streaming bool
}

// Raw runs a script on loopback until the test ends.
func Raw(t testing.TB, script Script) *RawServer {
	t.Helper()
	if script.Version == "" {
		script.Version = Modern
	}
	s := &RawServer{script: script, sessions: map[string]*rawSession{}, listening: map[chan string]*rawStream{}, questions: map[string]chan string{}}
	s.Server = serve(t, s.serve)
	return s
}

// Either is one address behind which either of several scripts runs: pick says which; nil: it has answered.
func Either(t testing.TB, pick func(*Request) *RawServer) *Server {
	t.Helper()
	return serve(t, func(w http.ResponseWriter, r *http.Request, body []byte) {
		q := &Request{HTTP: r, W: w, Method: r.Method}
		if r.Method == http.MethodPost && !q.read(body) {
			http.Error(w, "parse error", http.StatusBadRequest)
			return
		}
		if q.Server = pick(q); q.Server != nil {
			q.Server.play(q)
		}
	})
}

func (s *RawServer) serve(w http.ResponseWriter, r *http.Request, body []byte) {
	q := &Request{HTTP: r, W: w, Server: s, Method: r.Method}
	if r.Method == http.MethodPost && !q.read(body) {
		http.Error(w, "parse error", http.StatusBadRequest)
		return
	}
	if r.Method == http.MethodPost && q.Method == "" && s.answered(q.ID, string(body)) {
		q.Status(http.StatusAccepted)
		return
	}
	s.play(q)
}

// read reads the message of a POST.
func (q *Request) read(body []byte) bool {
	var m struct {
		ID     json.RawMessage
		Method string
		Params json.RawMessage
	}
	if err := json.Unmarshal(body, &m); err != nil {
		return false
	}
	var named struct{ Name string }
	_ = json.Unmarshal(m.Params, &named)
	q.ID, q.Method, q.Params, q.Name = string(m.ID), m.Method, m.Params, named.Name
	return true
}

// play answers q as the script says.
func (s *RawServer) play(q *Request) {
	if on := s.script.On[q.Method]; on != nil {
		on(q)
		return
	}
	if s.script.Version == Modern {
		s.modern(q)
		return
	}
	s.legacy(q)
}

func (s *RawServer) modern(q *Request) {
	switch q.Method {
	case "server/discover":
		q.Result(`{"resultType":"complete","supportedVersions":["` + Modern + `"],"capabilities":` + s.capabilities() +
			`,"ttlMs":0,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"raw","version":"1"}}}`)
	case "subscriptions/listen":
		s.acknowledge(q)
	case "GET", "DELETE":
		q.Status(http.StatusMethodNotAllowed)
	default:
		if !s.list(q) {
			q.ErrorStatus(http.StatusNotFound, -32601, "Method not found", "")
		}
	}
}

func (s *RawServer) legacy(q *Request) {
	id := q.HTTP.Header.Get("Mcp-Session-Id")
	if q.Method != "initialize" && s.script.Sessions && !s.known(id) {
		q.ErrorText(http.StatusNotFound, `{"jsonrpc":"2.0","error":{"code":-32001,"message":"Session not found"},"id":null}`)
		return
	}
	switch q.Method {
	case "initialize":
		var p struct{ Capabilities json.RawMessage }
		_ = json.Unmarshal(q.Params, &p)
		if id := s.open(string(p.Capabilities)); s.script.Sessions {
			q.W.Header().Set("Mcp-Session-Id", id)
		}
		q.Result(`{"protocolVersion":"` + s.script.Version + `","capabilities":` + s.capabilities() + `,"serverInfo":{"name":"raw","version":"1"},"instructions":"be kind"}`)
	case "ping":
		q.Result(`{}`)
	case "GET":
		if !s.script.Changes && !s.script.Streams {
			q.Status(http.StatusMethodNotAllowed)
			return
		}
		s.listen(q, "", &rawStream{session: id})
	case "DELETE":
		s.Forget(id)
		q.Status(http.StatusOK)
	case "resources/subscribe", "resources/unsubscribe":
		s.watch(q, id)
	default:
		switch {
		case s.list(q):
		case strings.HasPrefix(q.Method, "notifications/"), q.Method == "":
			q.Status(http.StatusAccepted)
		default:
			q.Error(-32601, "Method not found", "")
		}
	}
}

func (s *RawServer) capabilities() string {
	var out []string
	add := func(name string, items []string) {
		if items != nil {
			out = append(out, fmt.Sprintf(`%q:{"listChanged":%t}`, name, s.script.Changes))
		}
	}
	add("tools", s.script.Tools)
	if s.script.Watch != "" {
		out = append(out, fmt.Sprintf(`"resources":{"subscribe":true,"listChanged":%t}`, s.script.Changes))
	} else {
		add("resources", s.script.Resources)
	}
	add("prompts", s.script.Prompts)
	if s.script.Extra != "" {
		out = append(out, s.script.Extra)
	}
	return "{" + strings.Join(out, ",") + "}"
}

// list answers a list method with the page that its cursor names.
func (s *RawServer) list(q *Request) bool {
	lists := map[string][]string{
		"tools/list": s.script.Tools, "resources/list": s.script.Resources, "prompts/list": s.script.Prompts, "resources/templates/list": nil,
	}
	members := map[string]string{
		"tools/list": "tools", "resources/list": "resources", "prompts/list": "prompts", "resources/templates/list": "resourceTemplates",
	}
	items, ok := lists[q.Method]
	if !ok {
		return false
	}
	var p struct{ Cursor string }
	_ = json.Unmarshal(q.Params, &p)
	from, _ := strconv.Atoi(p.Cursor)
	items = items[min(from, len(items)):]
	next := ""
	if n := s.script.PageSize; n > 0 && n < len(items) {
		items, next = items[:n], fmt.Sprintf(`,"nextCursor":"%d"`, from+n)
	}
	if s.script.List != "" {
		next += "," + s.script.List
	}
	q.Result(`{"` + members[q.Method] + `":[` + strings.Join(items, ",") + `]` + next + `}`)
	return true
}

func (s *RawServer) open(declared string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened++
	id := "session-" + strconv.Itoa(s.opened)
	if !s.script.Sessions {
		id = ""
	}
	s.sessions[id] = &rawSession{declared: declared, watches: map[string]bool{}}
	return id
}

func (s *RawServer) known(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[id] != nil
}

// Forget ends a session, as a server that restarted would; "" ends all.
func (s *RawServer) Forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if id == "" {
		clear(s.sessions)
	}
	delete(s.sessions, id)
}

// Sessions is the number of open sessions.
func (s *RawServer) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// Change tells all who listen that a list ("tools") changed and returns how many there are.
func (s *RawServer) Change(list string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.listening {
		l <- `{"jsonrpc":"2.0","method":"notifications/` + list + `/list_changed"}`
	}
	return len(s.listening)
}

// listen keeps a stream open on which Change, Update and AskOn speak.
func (s *RawServer) listen(q *Request, first string, stream *rawStream) {
	events := make(chan string, 16)
	s.mu.Lock()
	s.listening[events] = stream // before the client knows that the stream is there
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.listening, events)
	}()
	q.Event(first)
	for {
		select {
		case e := <-events:
			q.Event(e)
		case <-q.HTTP.Context().Done():
			return
		}
	}
}
