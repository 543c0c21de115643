package front

import (
	"bytes"
	"context"
	"encoding/binary"

	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/mcp/catalog"
	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/front/updates"
	"github.com/tollgate/tollgate/mcp/rpc"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/policy"
)

// A task belongs to the server that made it. Its id, as the caller knows it, is a seal on that server, the tool, the caller
// and the server's own id: any replica serves it after any restart, and to everybody else it is no id at all. Only the tasks
// of a child process are one replica's.

// sealOfTask is the purpose of seals on tasks.
const sealOfTask = "mcp task"

// task is what stands in a task's id.
type task struct {
	owner  owner
	server string
	tool   string // as the server names it
	id     string // the server's
	place  string // the replica that alone can reach the server; empty: any can
}

// fields are the texts of a task in the order in which they are sealed.
func (t *task) fields() [7]*string {
	return [...]*string{&t.owner.keyID, &t.owner.key, &t.owner.user, &t.server, &t.tool, &t.id, &t.place}
}

// seal is the id of t for its caller.
func (f *Front) seal(t task) string {
	var b []byte
	for _, s := range t.fields() {
		b = binary.AppendUvarint(b, uint64(len(*s)))
		b = append(b, *s...)
	}
	return f.cfg.Sealer.Seal(sealOfTask, b)
}

// unseal reads an id; false: it is none of ours.
func (f *Front) unseal(text string) (t task, ok bool) {
	b, err := f.cfg.Sealer.Open(sealOfTask, text)
	if err != nil {
		return task{}, false
	}
	for _, s := range t.fields() {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return task{}, false
		}
		*s, b = string(b[size:][:n]), b[size+int(n):]
	}
	return t, len(b) == 0
}

// task finds what an id stands for: the tool that the task came from and the server's own id. Nil: the id is no id for this
// caller on this path; why, it is not told.
func (x *exchange) task(ctx context.Context, text string) (*catalog.Entry, string) {
	t, ok := x.unseal(text)
	if !ok || t.owner != ownerOf(x.base) || x.away(t.place) {
		return nil, ""
	}
	e := x.find(ctx, func(s *catalog.Space) *catalog.Entry { return s.ToolOf(t.server, t.tool) })
	if e == nil || !x.space.Offers(t.server, era.Tasks) {
		return nil, ""
	}
	return e, t.id
}

// onTask asks for a task, answers what it asks or cancels it.
func (x *exchange) onTask(ctx context.Context, m *rpc.Message, c *era.Context) ([]byte, error) {
	asked, ok := m.Text(rpc.TaskID)
	if !ok {
		return nil, rpc.BadParams("taskId is missing or no string")
	}
	refuse := func(e *rpc.Error, why string) ([]byte, error) {
		x.record(x.caller(c.Client).Principal, m.Method, "", why)
		return nil, e
	}
	if !c.Declares(era.Tasks) {
		return refuse(era.Needs(era.Tasks), "extension not declared")
	}
	e, id := x.task(ctx, asked)
	if e == nil {
		return refuse(noTask(), "unknown task")
	}
	edits := []strictjson.Change{{Name: "_meta"}, {Name: "taskId", Value: rpc.String(id)}}
	return x.call(ctx, m, c, target{e: e, asked: asked, task: id, edits: edits, unknown: noTask()})
}

// noTask is the answer to an id that is none for its caller, in the words of a server that has forgotten a task.
func noTask() *rpc.Error { return rpc.BadParams("task not found") }

// ownIDs puts the gateway's names into what a server says: of a task, the id that was asked for or, when a call has just
// become one, a new one; of a resource, the URI that was asked for.
func (x *exchange) ownIDs(r *era.Result, t target) (*era.Result, error) {
	id := t.asked
	switch {
	case r.Type == era.Task:
		made, err := era.ReadTask(r.Raw)
		if err != nil {
			return nil, err
		}
		id = x.seal(task{owner: ownerOf(x.base), server: t.e.Server, tool: t.e.Name, id: made.ID, place: x.reach(t.e.Server)})
	case t.e.Kind == catalog.Resources && t.e.Name != t.asked:
		return era.ReadResult(era.WithURI(r.Raw, t.e.Name, t.asked))
	case t.task == "":
		return r, nil
	}
	return era.ReadResult(era.WithTaskID(r.Raw, id))
}

// followAll has the tasks watched that a listen request names; see watchAll.
func (x *exchange) followAll(ctx context.Context, m *rpc.Message, c *era.Context, to *updates.Queue) (ids []string, stop func(), err error) {
	if m.Kind(rpc.ListenTasks) != 0 && !c.Declares(era.Tasks) {
		return nil, nil, era.Needs(era.Tasks)
	}
	return x.watchAll(m, "taskIds", func(x *exchange, id string) (func(), error) { return x.watchTask(ctx, c, id, to) })
}

// watchTask has a task watched for the caller. Whether it may still see the task is asked again each time.
func (x *exchange) watchTask(ctx context.Context, c *era.Context, asked string, to *updates.Queue) (stop func(), err error) {
	p := x.caller(c.Client).Principal
	e, id := x.task(ctx, asked)
	if e == nil {
		x.record(p, "tasks/get", "", "unknown task")
		return nil, noTask()
	}
	backend := x.cfg.Backend
	call := &Call{Principal: p, Action: policy.TaskGet, Entry: e, Method: upstream.TasksGet, Task: id, Context: c}
	return backend.Subscribe(ctx, call, func(params []byte) {
		if backend.Visible(p)(&e.Tool) {
			to.Task(asked, bytes.Clone(era.WithTaskID(params, asked)))
		}
	})
}
