package standby

import (
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/tollgate/tollgate/internal/edge"
	"github.com/tollgate/tollgate/mcp/rpc"
)

// refusal is what callers are told. Why, is for operators.
const refusal = "the gateway is starting and cannot take calls yet; try again"

// retryAfter is in seconds.
const retryAfter = "2"

// Door is a handler whose inside comes later. Until Open it answers for the gateway. Safe for concurrent use.
type Door struct {
	reason func() string // why the gateway is not ready
	inside atomic.Pointer[http.Handler]
}

// New makes a door that is not open. reason says why, to this machine.
func New(reason func() string) *Door { return &Door{reason: reason} }

// Open puts h behind the door, for good.
func (d *Door) Open(h http.Handler) { d.inside.Store(&h) }

func (d *Door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := d.inside.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	switch path := r.URL.Path; {
	case path == "/healthz":
		write(w, http.StatusOK, map[string]bool{"alive": true})
	case path == "/readyz":
		answer := map[string]any{"ready": false}
		if edge.Loopback(r) {
			answer["reasons"] = []string{d.reason()}
		}
		write(w, http.StatusServiceUnavailable, answer)
	case under(path, "/mcp") || under(path, "/sse"):
		w.Header().Set("Retry-After", retryAfter)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = w.Write(rpc.AppendError(nil, nil, rpc.Refused(http.StatusServiceUnavailable, refusal)))
	default:
		w.Header().Set("Retry-After", retryAfter)
		// One body that the clients of OpenAI and of Anthropic both read.
		write(w, http.StatusServiceUnavailable, map[string]any{"type": "error", "error": map[string]any{
			"type": "overloaded_error", "code": "unavailable", "message": refusal, "param": nil,
		}})
	}
}

func under(path, prefix string) bool { return path == prefix || strings.HasPrefix(path, prefix+"/") }

func write(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client is gone if it fails
}
