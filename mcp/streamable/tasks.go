package streamable

import (
	"context"
	"strings"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/mcp/wire"
)

// A feed tells of resources and of tasks alike: a task is watched under a name that no URI is.

// taskPrefix begins the names under which tasks are watched.
const taskPrefix = "\x00task\x00"

// nameOf is the name under which what x is about is watched; false: it is no URI that a server has.
func nameOf(x *upstream.Exchange) (name string, ok bool) {
	if x.Method == upstream.TasksGet {
		return taskPrefix + x.Name, true
	}
	return x.Name, !strings.HasPrefix(x.Name, taskPrefix)
}

// notificationsOf is what a listen request asks for to hear of what is watched under names.
func notificationsOf(names []string) []byte {
	var uris, tasks []string
	for _, name := range names {
		if id, ok := strings.CutPrefix(name, taskPrefix); ok {
			tasks = append(tasks, id)
		} else {
			uris = append(uris, name)
		}
	}
	b := []byte{'{'}
	if uris != nil || tasks == nil {
		b = stringsIn(append(b, `"resourceSubscriptions":`...), uris)
	}
	if tasks != nil {
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = stringsIn(append(b, `"taskIds":`...), tasks)
	}
	return append(b, '}')
}

// acknowledged are the names of what a server has agreed to tell of.
func acknowledged(notifications []byte) []string {
	names := wire.Texts(notifications, "resourceSubscriptions")
	for _, id := range wire.Texts(notifications, "taskIds") {
		names = append(names, taskPrefix+id)
	}
	return names
}

// missedTask asks how a task is, whose changes nobody has heard for a while, and tells of it.
func (fs *feeds) missedTask(ctx context.Context, permit *gate.Permit, p *wire.Peer, name string, w *watched) {
	id := strings.TrimPrefix(name, taskPrefix)
	x := &upstream.Exchange{Permit: permit, Method: upstream.TasksGet, Name: id, Params: wire.Object("taskId", id), Tasks: true}
	a, err := fs.server.exchange(ctx, x, p, nil)
	if err != nil || a.Error != nil {
		return // whoever waits for the task asks itself some time
	}
	w.tell(wire.Without(a.Result, "resultType", "_meta"))
}
