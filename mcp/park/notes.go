package park

import (
	"bytes"
	"sync"

	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/rpc"
)

// notes carries the notifications of a call to the visit that listens, in that visit's words, and keeps the newest few
// while none does.
type notes struct {
	mu    sync.Mutex   // guards what follows, and is held while a notification is written
	visit *Visit       // nil: nobody listens
	first *era.Context // of the visit that began the call: its server speaks as that one wanted
	held  []note
	size  int // bytes of held
}

type note struct {
	method string
	params []byte
}

// attach lets v listen, beginning with what was kept.
func (n *notes) attach(v *Visit) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.first == nil {
		n.first = v.Context
	}
	n.visit = v
	for _, h := range n.held {
		n.tell(h.method, h.params)
	}
	n.held, n.size = nil, 0
}

// detach waits for a notification that is being written; none is after it.
func (n *notes) detach() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.visit = nil
}

// take is the Notify of the call.
func (n *notes) take(method string, params []byte) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.visit != nil {
		n.tell(method, params)
		return
	}
	n.held = append(n.held, note{method, bytes.Clone(params)})
	n.size += len(params)
	for len(n.held) > notesMax || n.size > noteMaxSize {
		n.size -= len(n.held[0].params)
		n.held = n.held[1:]
	}
}

// tell writes a notification to the visit, if it wants it. Holding mu.
func (n *notes) tell(method string, params []byte) {
	v := n.visit
	if v.Notify == nil {
		return
	}
	switch now := v.Context; method {
	case "notifications/progress":
		if now.ProgressToken == nil {
			return
		}
		if !bytes.Equal(now.ProgressToken, n.first.ProgressToken) {
			params = rpc.With(params, strictjson.Change{Name: "progressToken", Value: now.ProgressToken})
		}
	case "notifications/message":
		if now.LogLevel != n.first.LogLevel && !reaches(params, now.LogLevel) {
			return
		}
	}
	v.Notify(method, params)
}

// reaches reports whether a log message is one that a visit which wants level wants.
func reaches(params []byte, level string) bool {
	text, err := strictjson.Unquote(strictjson.Lookup(params, strictjson.Whole(params), "level").In(params))
	return err == nil && level != "" && era.Reaches(text, level)
}
