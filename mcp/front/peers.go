package front

import (
	"crypto/rand"
	"net/http"
	"strings"

	"github.com/tollgate/tollgate/internal/peer"
	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/mcp/front/owned"
	"github.com/tollgate/tollgate/mcp/park"
	"github.com/tollgate/tollgate/mcp/rpc"
)

// Sessions, the streams of HTTP+SSE, parked calls and the tasks of a child process are in the memory of one replica. What a
// client holds of them (an id, a requestState) names that replica, sealed, and whichever replica a request comes to passes it
// on there. A replica that is gone answers for itself in the words of a session or call that has ended.

// sealOfID is the purpose of seals on ids.
const sealOfID = "mcp place"

// secretBytes is what makes an id one that nobody guesses, beside its seal.
const secretBytes = 16

// placeOf is the name of this process in what it seals.
func placeOf(peers *peer.Net) (p park.Place) {
	if peers != nil {
		p = park.Place(peers.Self())
	}
	return p
}

// newID makes the id of a session or a link.
func (f *Front) newID() string {
	if f.cfg.Peers == nil {
		return owned.ID()
	}
	var b [len(peer.ID{}) + secretBytes]byte
	self := f.cfg.Peers.Self()
	_, _ = rand.Read(b[copy(b[:], self[:]):]) // never fails
	return f.cfg.Sealer.Seal(sealOfID, b[:])
}

// madeBy is the other replica that has made an id; false: none has.
func (f *Front) madeBy(id string) (to peer.ID, ok bool) {
	if f.cfg.Peers == nil {
		return to, false
	}
	b, err := f.cfg.Sealer.Open(sealOfID, id)
	if err != nil || len(b) != len(to)+secretBytes {
		return to, false
	}
	to = peer.ID(b[:len(to)])
	return to, to != f.cfg.Peers.Self()
}

// reach is the place that stands in the tasks of a server: that of this replica where no other can ask the server.
func (f *Front) reach(server string) string {
	if f.cfg.Peers == nil || !f.cfg.Backend.Local(server) {
		return ""
	}
	self := f.cfg.Peers.Self()
	return string(self[:])
}

// away reports whether a task's place is another replica.
func (f *Front) away(place string) bool {
	self := placeOf(f.cfg.Peers)
	return place != "" && place != string(self[:])
}

// elsewhere is the replica that a modern request belongs to, and the answer if that one is gone; false: any can serve it.
func (x *exchange) elsewhere(m *rpc.Message) (to peer.ID, gone *rpc.Error, ok bool) {
	if x.cfg.Peers == nil || x.link != nil {
		return to, nil, false
	}
	if m.Kind(rpc.RequestState) != 0 {
		state, _ := m.Text(rpc.RequestState)
		place, ok := x.lot.Elsewhere(state)
		return peer.ID(place), park.Lost(), ok
	}
	switch {
	case strings.HasPrefix(m.Method, "tasks/"):
		id, _ := m.Text(rpc.TaskID)
		to, ok = x.taskAt(id)
	case m.Method == "subscriptions/listen" && m.Kind(rpc.ListenTasks) == '[':
		to, ok = x.tasksAt(m)
	}
	return to, noTask(), ok
}

// taskAt is the other replica that alone can reach a task's server.
func (x *exchange) taskAt(id string) (to peer.ID, ok bool) {
	t, ok := x.unseal(id)
	if !ok || len(t.place) != len(to) || !x.away(t.place) {
		return to, false
	}
	return peer.ID([]byte(t.place)), true
}

// tasksAt is the other replica that alone can reach all tasks of a listen request which not every replica can. Where they
// are at several, the request stays here, and is told of those that are here.
func (x *exchange) tasksAt(m *rpc.Message) (to peer.ID, ok bool) {
	params := m.Get(rpc.Params)
	list := strictjson.Lookup(params, strictjson.Lookup(params, strictjson.Whole(params), "notifications"), "taskIds")
	for _, v := range strictjson.Elements(params, list) {
		text, err := strictjson.Unquote(v.In(params))
		if err != nil || v.Kind != '"' {
			continue
		}
		t, sealed := x.unseal(text)
		if !sealed || t.place == "" {
			continue
		}
		at, away := x.taskAt(text)
		if !away || ok && at != to {
			return to, false
		}
		to, ok = at, true
	}
	return to, ok
}

// passOrEnd has the replica serve the request that made the id; ended is the answer if none has, or it is gone.
func (x *exchange) passOrEnd(id string, m *rpc.Message, ended *rpc.Error) {
	if to, ok := x.madeBy(id); ok {
		x.passOn(to, m, ended)
		return
	}
	x.turnAway(m, ended)
}

// passOn has another replica serve the request, and records it here only if that one is gone.
func (x *exchange) passOn(to peer.ID, m *rpc.Message, gone *rpc.Error) {
	if x.out != nil {
		x.out.End() // the answer is not ours
		x.out = nil
	}
	switch x.cfg.Peers.Forward(x.w, x.r, to, x.body) {
	case peer.Gone:
		x.turnAway(m, gone)
	case peer.Lost:
		x.refuse(idOf(m), rpc.Refused(http.StatusBadGateway, "the replica that this belongs to was lost before it had answered; what came of it is not known"))
	}
}
