package mcptest

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// Ask asks the client something on the stream of the request, begun if need be, and returns its whole response; empty:
// the client has gone.
func (q *Request) Ask(method, params string) string {
	id, answer := q.Server.question()
	q.Event(request(id, method, params))
	select {
	case a := <-answer:
		return a
	case <-q.HTTP.Context().Done():
		return ""
	}
}

// AskOn asks the client something on the GET stream of a session and returns where its response will come; nothing
// where there is no such stream.
func (s *RawServer) AskOn(session, method, params string) <-chan string {
	id, answer := s.question()
	if !s.SayOn(session, request(id, method, params)) {
		close(answer)
	}
	return answer
}

// SayOn sends a message on the GET stream of a session; false: it has none.
func (s *RawServer) SayOn(session, message string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for events, stream := range s.listening {
		if stream.session == session {
			events <- message
			return true
		}
	}
	return false
}

func request(id, method, params string) string {
	if params != "" {
		params = `,"params":` + params
	}
	return `{"jsonrpc":"2.0","id":` + id + `,"method":"` + method + `"` + params + `}`
}

func (s *RawServer) question() (id string, answer chan string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	id, answer = `"ask-`+strconv.Itoa(s.asked)+`"`, make(chan string, 1)
	s.questions[id] = answer
	return id, answer
}

// answered hands a response of the client's to whoever asked.
func (s *RawServer) answered(id, body string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	answer := s.questions[id]
	delete(s.questions, id)
	if answer == nil {
		return false
	}
	answer <- body
	return true
}

// Declared is what the client of a session declared of its capabilities.
func (s *RawServer) Declared(session string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if of := s.sessions[session]; of != nil {
		return of.declared
	}
	return ""
}

// watch answers resources/subscribe and unsubscribe of a session.
func (s *RawServer) watch(q *Request, session string) {
	var p struct{ URI string }
	_ = json.Unmarshal(q.Params, &p)
	if s.script.Watch == "" || !strings.HasPrefix(p.URI, s.script.Watch) {
		q.Error(-32602, "no such resource", "")
		return
	}
	s.mu.Lock()
	of := s.sessions[session]
	if q.Method == "resources/subscribe" {
		of.watches[p.URI] = true
	} else {
		delete(of.watches, p.URI)
	}
	s.mu.Unlock()
	q.Result(`{}`)
}

// acknowledge opens the stream of subscriptions/listen, of what can be subscribed to.
func (s *RawServer) acknowledge(q *Request) {
	var p struct {
		Notifications struct {
			ToolsListChanged      bool     `json:"toolsListChanged,omitempty"`
			PromptsListChanged    bool     `json:"promptsListChanged,omitempty"`
			ResourcesListChanged  bool     `json:"resourcesListChanged,omitempty"`
			ResourceSubscriptions []string `json:"resourceSubscriptions,omitempty"`
		}
	}
	_ = json.Unmarshal(q.Params, &p)
	p.Notifications.ResourceSubscriptions = slices.DeleteFunc(p.Notifications.ResourceSubscriptions, func(uri string) bool {
		return s.script.Watch == "" || !strings.HasPrefix(uri, s.script.Watch)
	})
	honoured, _ := json.Marshal(p.Notifications)
	s.listen(q, `{"jsonrpc":"2.0","method":"notifications/subscriptions/acknowledged","params":{"notifications":`+string(honoured)+
		`,"_meta":{"io.modelcontextprotocol/subscriptionId":`+q.ID+`}}}`, &rawStream{subscription: q.ID, watches: p.Notifications.ResourceSubscriptions})
}

// Update tells all who watch a resource that it changed and returns how many streams that were.
func (s *RawServer) Update(uri string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for events, stream := range s.listening {
		meta := ""
		switch of := s.sessions[stream.session]; {
		case stream.subscription != "" && slices.Contains(stream.watches, uri):
			meta = `,"_meta":{"io.modelcontextprotocol/subscriptionId":` + stream.subscription + `}`
		case stream.subscription == "" && of != nil && of.watches[uri]:
		default:
			continue
		}
		n++
		events <- `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"` + uri + `"` + meta + `}}`
	}
	return n
}

// Watching are the resources that the streams now open tell of, in order, and how many streams there are.
func (s *RawServer) Watching() (uris []string, streams int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, stream := range s.listening {
		if stream.subscription != "" && len(stream.watches) > 0 {
			streams++
			uris = append(uris, stream.watches...)
		}
	}
	for _, of := range s.sessions {
		for uri := range of.watches {
			uris = append(uris, uri)
		}
	}
	slices.Sort(uris)
	return uris, streams
}
