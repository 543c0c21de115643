package front

import (
	"context"
	"errors"

	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/mcp/catalog"
	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/rpc"
	"github.com/tollgate/tollgate/mcp/upstream"
)

func (x *exchange) callTool(ctx context.Context, m *rpc.Message, c *era.Context) ([]byte, error) {
	name, ok := m.Text(rpc.Name)
	if !ok {
		return nil, rpc.BadParams("name is missing or no string")
	}
	args, err := arguments(m)
	if err != nil {
		return nil, err
	}
	e := x.find(ctx, func(s *catalog.Space) *catalog.Entry { return s.Tool(name) })
	// A caller that may not know of the tool must not learn of it from its headers either.
	if e != nil && e.Headers != nil && c.Era == upstream.Modern && x.caller(c.Client).See(&e.Tool) {
		if err := era.CheckParams(x.mirror, e.Headers, m); err != nil {
			return nil, err
		}
	}
	edits := []strictjson.Change{{Name: "_meta"}, {Name: "task"}}
	if e != nil && x.space.Prefixed {
		edits = append(edits, strictjson.Change{Name: "name", Value: rpc.String(e.Name)})
	}
	return x.call(ctx, m, c, target{e: e, asked: name, args: args, edits: edits, noun: "tool"})
}

// arguments are what a rule sees as args. Clients write null for none.
func arguments(m *rpc.Message) ([]byte, error) {
	switch m.Kind(rpc.Arguments) {
	case 0, 'n':
		return nil, nil
	case '{':
		return m.Get(rpc.Arguments), nil
	}
	return nil, rpc.BadParams("arguments must be an object")
}

func (x *exchange) getPrompt(ctx context.Context, m *rpc.Message, c *era.Context) ([]byte, error) {
	name, ok := m.Text(rpc.Name)
	if !ok {
		return nil, rpc.BadParams("name is missing or no string")
	}
	args, err := arguments(m)
	if err != nil {
		return nil, err
	}
	e := x.find(ctx, func(s *catalog.Space) *catalog.Entry { return s.Prompt(name) })
	edits := []strictjson.Change{{Name: "_meta"}}
	if e != nil && x.space.Prefixed {
		edits = append(edits, strictjson.Change{Name: "name", Value: rpc.String(e.Name)})
	}
	return x.call(ctx, m, c, target{e: e, asked: name, args: args, edits: edits, noun: "prompt"})
}

func (x *exchange) readResource(ctx context.Context, m *rpc.Message, c *era.Context) ([]byte, error) {
	uri, ok := m.Text(rpc.URI)
	if !ok {
		return nil, rpc.BadParams("uri is missing or no string")
	}
	e := x.find(ctx, func(s *catalog.Space) *catalog.Entry { return x.first(c, s.Resource(uri)) })
	edits := []strictjson.Change{{Name: "_meta"}}
	if e != nil && e.Name != uri {
		edits = append(edits, strictjson.Change{Name: "uri", Value: rpc.String(e.Name)})
	}
	return x.call(ctx, m, c, target{e: e, asked: uri, edits: edits, unknown: noResource(c, uri), cacheable: true})
}

// complete asks the server of a prompt or template to complete an argument.
func (x *exchange) complete(ctx context.Context, m *rpc.Message, c *era.Context) ([]byte, error) {
	kind, _ := m.Text(rpc.RefType)
	t := target{edits: []strictjson.Change{{Name: "_meta"}}}
	switch kind {
	case "ref/prompt":
		name, ok := m.Text(rpc.RefName)
		if !ok {
			return nil, rpc.BadParams("ref.name is missing or no string")
		}
		t.asked, t.noun = name, "prompt"
		t.e = x.find(ctx, func(s *catalog.Space) *catalog.Entry { return s.Prompt(name) })
		if t.e != nil && x.space.Prefixed {
			t.edits = append(t.edits, strictjson.Change{Name: "ref", Value: rpc.With(m.Get(rpc.Ref), strictjson.Change{Name: "name", Value: rpc.String(t.e.Name)})})
		}
	case "ref/resource":
		uri, ok := m.Text(rpc.RefURI)
		if !ok {
			return nil, rpc.BadParams("ref.uri is missing or no string")
		}
		t.asked, t.unknown = uri, noResource(c, uri)
		t.e = x.find(ctx, func(s *catalog.Space) *catalog.Entry {
			if e := x.first(c, s.Template(uri)); e != nil {
				return e
			}
			return x.first(c, s.Resource(uri))
		})
	default:
		return nil, rpc.BadParams("ref.type must be ref/prompt or ref/resource")
	}
	return x.call(ctx, m, c, t)
}

// find looks an entry up. What is not there yet may come from a server that has not been heard of since the start: agents
// remember names and call without listing.
func (x *exchange) find(ctx context.Context, look func(*catalog.Space) *catalog.Entry) *catalog.Entry {
	if e := look(x.space); e != nil {
		return e
	}
	x.cfg.Backend.Settle(ctx, x.space.Servers)
	x.space = x.current()
	return look(x.space)
}

// first chooses the first entry that the caller may see; when it may see none, the first, which the gate then refuses.
func (x *exchange) first(c *era.Context, entries []*catalog.Entry) *catalog.Entry {
	see := x.caller(c.Client).See
	for _, e := range entries {
		if see(&e.Tool) {
			return e
		}
	}
	if len(entries) > 0 {
		return entries[0]
	}
	return nil
}

// nothing is the answer for a name that does not exist. What is hidden from the caller gets the very same.
func (t *target) nothing() *rpc.Error {
	if t.unknown != nil {
		return t.unknown
	}
	return rpc.BadParams("unknown " + t.noun + ": " + clip(t.asked))
}

func noResource(c *era.Context, uri string) *rpc.Error {
	e := &rpc.Error{Code: rpc.CodeParams, Message: "resource not found"}
	if c.Era == upstream.Legacy {
		e.Code = rpc.CodeNotFound
	}
	e.Data = append(strictjson.Quote([]byte(`{"uri":`), clip(uri)), '}')
	return e
}

// target is what a call is for.
type target struct {
	e         *catalog.Entry // nil: there is none of that name
	asked     string         // the name the caller used
	args      []byte
	edits     []strictjson.Change
	noun      string     // what it is that may be unknown…
	unknown   *rpc.Error // …or the answer when it is; nil: one that says noun and asked
	task      string     // the server's id of the task that the request is about; empty: none
	cacheable bool       // the modern revision wants cache hints on the result
}

// call carries a request to its server and adapts the answer to the caller's era.
func (x *exchange) call(ctx context.Context, m *rpc.Message, c *era.Context, t target) ([]byte, error) {
	p := x.caller(c.Client).Principal
	if t.e == nil {
		x.record(p, m.Method, t.asked, "unknown name")
		return nil, t.nothing()
	}
	call := &Call{
		Principal: p, Action: x.methods[m.Method].action, Entry: t.e, Method: m.Method,
		Params: m.ParamsWith(t.edits...), Args: t.args, Task: t.task, Context: c,
	}
	if x.out.Accepts {
		call.Notify = x.out.Notify
	}
	if x.session != nil {
		call.Client, call.Ask = x.session.client, x.session.asker(x.out, t.e.Server)
	}
	var result *era.Result
	var err error
	if x.waits(m, call) {
		result, err = x.wait(ctx, m, call, t.asked)
	} else {
		call.Cancel = x.cancel
		result, err = x.cfg.Backend.Call(ctx, call)
	}
	switch {
	case errors.Is(err, ErrHidden):
		return nil, t.nothing()
	case err != nil:
		return nil, err
	}
	if result, err = x.ownIDs(result, t); err != nil {
		return nil, err
	}
	return result.For(c, x.self, t.cacheable), nil
}
