package upstream

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/tollgate/tollgate/conformance/chaos/evidence"
)

// Tools serves the MCP servers mail and crm, and notes the calls of tools in log.
func Tools(log *evidence.Log, seed uint64) http.Handler {
	t := &tools{desk: newDesk(log, seed), sessions: map[string]int64{}}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /ready", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("POST /{server}", t.post)
	return mux
}

// Sessions of crm end after so many calls, as those of servers do that are restarted.
const sessionCalls = 400

// sessionsMax bounds the sessions that crm remembers; the oldest are then all forgotten.
const sessionsMax = 1000

type tools struct {
	*desk

	sessionsMu sync.Mutex       // guards what follows
	sessions   map[string]int64 // of crm: calls that each may still make
	opened     int64
}

// catalog are the tools of each server.
var catalog = map[string][]string{"mail": {"echo", "search", "slow", "dying"}, "crm": {"echo", "slow", "dying"}}

// message is one JSON-RPC request.
type message struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params struct {
		Name            string `json:"name"`
		ProtocolVersion string `json:"protocolVersion"`
	} `json:"params"`
}

func (t *tools) post(w http.ResponseWriter, r *http.Request) {
	body, ok := bodyOf(w, r)
	if !ok {
		return
	}
	var m message
	if err := json.Unmarshal(body, &m); err != nil {
		http.Error(w, "not JSON-RPC", http.StatusBadRequest)
		return
	}
	server := r.PathValue("server")
	legacy := server == "crm"
	switch {
	case m.ID == nil:
		w.WriteHeader(http.StatusAccepted)
	case m.Method == "initialize" && legacy:
		w.Header().Set("Mcp-Session-Id", t.open())
		result(w, &m, fmt.Sprintf(`"protocolVersion":%q,"capabilities":{"tools":{}},"serverInfo":{"name":"crm","version":"1"}`, m.Params.ProtocolVersion))
	case legacy && r.Header.Get("Mcp-Session-Id") == "":
		failure(w, &m, http.StatusBadRequest, `{"code":-32000,"message":"Bad Request: no valid session id"}`)
	case m.Method == "initialize":
		failure(w, &m, http.StatusBadRequest, `{"code":-32022,"message":"this server speaks 2026-07-28","data":{"supported":["2026-07-28"],"requested":"2025-11-25"}}`)
	case m.Method == "server/discover" && !legacy:
		result(w, &m, `"resultType":"complete","supportedVersions":["2026-07-28"],"capabilities":{"tools":{}},"ttlMs":60000,"cacheScope":"public","_meta":{"io.modelcontextprotocol/serverInfo":{"name":"mail","version":"1"}}`)
	case m.Method == "tools/list":
		result(w, &m, `"resultType":"complete","ttlMs":60000,"cacheScope":"public","tools":`+list(catalog[server]))
	case m.Method == "ping":
		result(w, &m, `"resultType":"complete"`)
	case m.Method == "tools/call":
		t.call(w, r, server, &m, nonceIn(body))
	default:
		failure(w, &m, http.StatusNotFound, `{"code":-32601,"message":"no such method"}`)
	}
}

// open opens a session.
func (t *tools) open() string {
	t.sessionsMu.Lock()
	defer t.sessionsMu.Unlock()
	if len(t.sessions) >= sessionsMax {
		clear(t.sessions)
	}
	t.opened++
	id := fmt.Sprintf("session-%d", t.opened)
	t.sessions[id] = sessionCalls
	return id
}

// used takes a call from a session, and reports whether it had one.
func (t *tools) used(session string) bool {
	t.sessionsMu.Lock()
	defer t.sessionsMu.Unlock()
	if t.sessions[session] == 0 {
		delete(t.sessions, session)
		return false
	}
	t.sessions[session]--
	return true
}

func (t *tools) call(w http.ResponseWriter, r *http.Request, server string, m *message, nonce string) {
	v := t.arrive(nonce, server, m.Params.Name)
	if server == "crm" && !t.used(r.Header.Get("Mcp-Session-Id")) {
		v.end(evidence.NoSession, 0, 0)
		w.WriteHeader(http.StatusNotFound)
		return
	}
	delay := t.span(time.Millisecond, 40*time.Millisecond)
	if m.Params.Name == "slow" {
		delay = t.span(300*time.Millisecond, 4*time.Second)
	}
	luck := t.tenth()
	if m.Params.Name == "dying" && luck < 3 {
		v.end(evidence.Cut, 0, 0)
		hangUp(w)
		return
	}
	if !wait(r, delay) {
		v.end(evidence.Left, 0, 0)
		return
	}
	const text = `"resultType":"complete","content":[{"type":"text","text":"nonce:%s"}],"isError":%t`
	switch {
	case m.Params.Name == "search" && luck == 0:
		v.end(evidence.ToolError, 0, 0)
		result(w, m, fmt.Sprintf(text, nonce, true))
	case m.Params.Name == "search" && luck == 1:
		v.end(evidence.Refused, 0, 0)
		failure(w, m, http.StatusOK, `{"code":-32603,"message":"the mock fails"}`)
	case m.Params.Name == "dying" && luck == 3:
		v.end(evidence.Cut, 0, 0)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = fmt.Fprintf(w, "data: {\"jsonrpc\":\"2.0\",\"id\":%s,", m.ID) // it breaks off anyway
		panic(http.ErrAbortHandler)
	default:
		v.end(evidence.Whole, 0, 0)
		result(w, m, fmt.Sprintf(text, nonce, false))
	}
}

func result(w http.ResponseWriter, m *message, members string) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"result":{%s}}`, m.ID, members) // who left was answered all the same
}

func failure(w http.ResponseWriter, m *message, status int, object string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"jsonrpc":"2.0","id":%s,"error":%s}`, m.ID, object) // who left was answered all the same
}

func list(names []string) string {
	var items []string
	for _, n := range names {
		items = append(items, fmt.Sprintf(`{"name":%q,"description":"A tool of the chaos run.","inputSchema":{"type":"object","properties":{"text":{"type":"string"}}}}`, n))
	}
	return "[" + strings.Join(items, ",") + "]"
}
