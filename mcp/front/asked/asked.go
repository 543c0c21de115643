package asked

import (
	"strconv"
	"sync"

	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/mcp/rpc"
	"github.com/tollgate/tollgate/mcp/upstream"
)

// Max bounds the questions that one session's client has not answered yet.
const Max = 64

// Question is one that waits.
type Question struct {
	ID     []byte                  // of the request, raw
	Answer <-chan *upstream.Answer // gets the answer

	answer chan *upstream.Answer // takes one
	server string                // whose question it is; empty: nobody can tell
	token  []byte                // under which that server wants to hear of progress; nil: it does not
}

// Questions are those of a session. Safe for concurrent use; there are none in the zero Questions.
type Questions struct {
	mu    sync.Mutex // guards what follows
	asked uint64     // so far: the last id
	byID  map[string]*Question
}

// Pose enters a question of a server under an id of its own and returns the params to ask it with; false: there are too
// many. Whoever poses it must Withdraw it.
func (qs *Questions) Pose(server string, params []byte) (*Question, []byte, bool) {
	answer := make(chan *upstream.Answer, 1)
	q := &Question{Answer: answer, answer: answer, server: server}
	if server != "" {
		q.token = progressToken(params)
	}
	qs.mu.Lock()
	defer qs.mu.Unlock()
	if len(qs.byID) >= Max {
		return nil, nil, false
	}
	qs.asked++
	q.ID = strconv.AppendUint(nil, qs.asked, 10)
	if qs.byID == nil {
		qs.byID = map[string]*Question{}
	}
	qs.byID[string(q.ID)] = q
	return q, q.withToken(params), true
}

// Withdraw forgets the question of that id and returns it: whatever comes for its id from now on is nobody's. Nil: it
// waits no more.
func (qs *Questions) Withdraw(id []byte) *Question {
	qs.mu.Lock()
	defer qs.mu.Unlock()
	q := qs.byID[string(id)]
	delete(qs.byID, string(id))
	return q
}

// Settle answers a question that was withdrawn, once.
func (q *Question) Settle(a *upstream.Answer) { q.answer <- a }

// Progress returns which server the params of a client's notifications/progress are for, and those with that server's own
// token; false: for none.
func (qs *Questions) Progress(params []byte) (server string, theirs []byte, ok bool) {
	token := strictjson.Lookup(params, strictjson.Whole(params), "progressToken")
	qs.mu.Lock()
	defer qs.mu.Unlock()
	q := qs.byID[string(token.In(params))]
	if q == nil || q.token == nil {
		return "", nil, false
	}
	return q.server, rpc.With(params, strictjson.Change{Name: "progressToken", Value: q.token}), true
}

// progressToken is the token under which a server wants to hear how its question gets on; nil: there is none.
func progressToken(params []byte) []byte {
	v := strictjson.Lookup(params, strictjson.Lookup(params, strictjson.Whole(params), "_meta"), "progressToken")
	if v.Kind != '"' && v.Kind != '0' {
		return nil
	}
	return v.In(params)
}

// withToken puts the question's id in the place of the server's progress token: two servers may use the same. Where it is
// not known whose the progress would be, none is asked for.
func (q *Question) withToken(params []byte) []byte {
	meta := strictjson.Lookup(params, strictjson.Whole(params), "_meta")
	if !strictjson.Lookup(params, meta, "progressToken").Present() {
		return params
	}
	change := strictjson.Change{Name: "progressToken"}
	if q.token != nil {
		change.Value = q.ID
	}
	return rpc.With(params, strictjson.Change{Name: "_meta", Value: rpc.With(meta.In(params), change)})
}
