package front

import (
	"context"
	"encoding/binary"

	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/mcp/catalog"
	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/rpc"
)

// A task belongs to the server that made it. Its id, as the caller knows it, is a seal on that server, the tool, the caller
// and the server's own id: any replica serves it after any restart, and to everybody else it is no id at all.

// sealOfTask is the purpose of seals on tasks.
const sealOfTask = "mcp task"

// task is what stands in a task's id.
type task struct {
	owner  owner
	server string
	tool   string // as the server names it
	id     string // the server's
}

// fields are the texts of a task in the order in which they are sealed.
func (t *task) fields() [6]*string {
	return [...]*string{&t.owner.keyID, &t.owner.key, &t.owner.user, &t.server, &t.tool, &t.id}
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
	if !ok || t.owner != ownerOf(x.base) {
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
		x.record(x.caller(c.Client).principal, m.Method, "", why)
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

// ownIDs puts the gateway's id of a task into what a server says of it: the one that was asked for, or, of a call that has
// just become a task, a new one.
func (x *exchange) ownIDs(r *era.Result, t target) (*era.Result, error) {
	id := t.asked
	switch {
	case r.Type == era.Task:
		made, err := era.ReadTask(r.Raw)
		if err != nil {
			return nil, err
		}
		id = x.seal(task{owner: ownerOf(x.base), server: t.e.Server, tool: t.e.Name, id: made.ID})
	case t.task == "":
		return r, nil
	}
	return era.ReadResult(era.WithTaskID(r.Raw, id))
}
