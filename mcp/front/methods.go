package front

import (
	"context"

	"go.opentelemetry.io/otel/propagation"

	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/mcp/catalog"
	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/front/views"
	"github.com/tollgate/tollgate/mcp/rpc"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/policy"
)

// method is one row of the method table.
type method struct {
	action         policy.Action // what policy is asked for; empty: it reaches nothing and tells nothing
	legacy, modern bool          // the eras it exists in
	serve          func(*exchange, context.Context, *rpc.Message, *era.Context) ([]byte, error)
}

// methodTable lists all methods a client can call. initialize is not among them: it opens the session the others live
// in. Whatever else is missing here is answered as unknown, so an extension with methods that are
// not here does not work through the gateway. The experimental tasks of 2025-11-25 are another protocol under the same names.
func methodTable() map[string]method {
	return map[string]method{
		"ping":             {"", true, false, (*exchange).ping},
		"logging/setLevel": {"", true, false, (*exchange).setLevel},

		"resources/subscribe":   {policy.ResourceSubscribe, true, false, (*exchange).subscribe},
		"resources/unsubscribe": {"", true, false, (*exchange).unsubscribe},

		"server/discover":          {"", false, true, (*exchange).discover},
		"subscriptions/listen":     {"", false, true, (*exchange).listen},
		"tools/list":               {policy.ToolList, true, true, list(catalog.Tools)},
		"prompts/list":             {policy.PromptList, true, true, list(catalog.Prompts)},
		"resources/list":           {policy.ResourceList, true, true, list(catalog.Resources)},
		"resources/templates/list": {policy.ResourceList, true, true, list(catalog.Templates)},

		"tools/call":          {policy.ToolCall, true, true, (*exchange).callTool},
		"prompts/get":         {policy.PromptGet, true, true, (*exchange).getPrompt},
		"resources/read":      {policy.ResourceRead, true, true, (*exchange).readResource},
		"completion/complete": {policy.Complete, true, true, (*exchange).complete},

		"tasks/get":    {policy.TaskGet, false, true, (*exchange).onTask},
		"tasks/update": {policy.TaskUpdate, false, true, (*exchange).onTask},
		"tasks/cancel": {policy.TaskCancel, false, true, (*exchange).onTask},
	}
}

// serve answers one request of either era.
func (x *exchange) serve(ctx context.Context, m *rpc.Message, c *era.Context) {
	row, ok := x.methods[m.Method]
	if modern := c.Era == upstream.Modern; !ok || modern && !row.modern || !modern && !row.legacy {
		e := &rpc.Error{Code: rpc.CodeMethod, Message: "method not found"}
		if modern {
			e.HTTP = 404
		}
		x.turnAway(m, e)
		return
	}
	result, err := row.serve(x, x.traced(ctx, c), m, c)
	switch e := err.(type) {
	case nil:
		x.out.Result(m.ID, x.page, result)
	case *rpc.Error:
		x.out.Fail(m.ID, e)
	default:
		x.out.Fail(m.ID, &rpc.Error{Code: rpc.CodeInternal, Message: "the gateway could not answer"})
	}
}

// traced puts the caller's trace into ctx: that of params._meta, else that of the HTTP headers.
func (x *exchange) traced(ctx context.Context, c *era.Context) context.Context {
	if h := x.r.Header; c.TraceParent == "" && h["Traceparent"] == nil && h["Baggage"] == nil {
		return ctx
	}
	w3c := propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})
	if c.TraceParent == "" {
		return w3c.Extract(ctx, propagation.HeaderCarrier(x.r.Header))
	}
	return w3c.Extract(ctx, propagation.MapCarrier{"traceparent": c.TraceParent, "tracestate": c.TraceState, "baggage": c.Baggage})
}

func (x *exchange) ping(context.Context, *rpc.Message, *era.Context) ([]byte, error) {
	return []byte("{}"), nil
}

func (x *exchange) setLevel(_ context.Context, m *rpc.Message, _ *era.Context) ([]byte, error) {
	level, _ := m.Text(rpc.Level)
	if !era.IsLevel(level) {
		return nil, rpc.BadParams("level must be a log level of RFC 5424")
	}
	x.session.setLevel(level)
	return []byte("{}"), nil
}

func (x *exchange) discover(ctx context.Context, _ *rpc.Message, c *era.Context) ([]byte, error) {
	view := x.settled(ctx, c.Client).View
	b := []byte(`{"resultType":"complete","supportedVersions":["` + era.V2026 + `"],"capabilities":`)
	b = appendCapabilities(b, view, c)
	b = appendInstructions(b, view)
	return x.appendModern(append(b, ','), nil), nil
}

// settled is what the caller sees once the servers have had their chance to be heard of: a list that comes a second after
// the start should not be an empty one, and many clients read it only once.
func (x *exchange) settled(ctx context.Context, client string) *views.Class {
	x.cfg.Backend.Settle(ctx, x.space.Servers)
	x.space = x.current()
	return x.caller(client).Class(x.space)
}

// appendCapabilities appends what the gateway does for this caller. Lists are always there, if perhaps empty: a server
// that is heard of later adds to them and the client is told.
func appendCapabilities(b []byte, v *catalog.View, c *era.Context) []byte {
	b = append(b, `{"tools":{"listChanged":true},"prompts":{"listChanged":true},"resources":{"listChanged":true`...)
	if v.Subscriptions() {
		b = append(b, `,"subscribe":true`...)
	}
	b = append(b, `},"logging":{}`...)
	if v.Completions() {
		b = append(b, `,"completions":{}`...)
	}
	if e := v.AppendExtensions(nil, c); e != nil {
		b = append(append(b, `,"extensions":`...), e...)
	}
	return append(b, '}')
}

func appendInstructions(b []byte, v *catalog.View) []byte {
	if text := v.Instructions(); text != "" {
		b = append(b, `,"instructions":`...)
		b = strictjson.Quote(b, text)
	}
	return b
}

// appendModern ends a result that may be cached: never by others, since it is the caller's view, and not for long, since
// the policy may change at any time.
func (x *exchange) appendModern(b, tollgate []byte) []byte {
	b = append(b, `"ttlMs":0,"cacheScope":"private","_meta":{"io.modelcontextprotocol/serverInfo":`...)
	b = append(b, x.self...)
	if tollgate != nil {
		b = append(b, `,"tollgate":`...)
		b = append(b, tollgate...)
	}
	return append(b, "}}"...)
}

// list serves one kind of list from the caller's view.
func list(k catalog.Kind) func(*exchange, context.Context, *rpc.Message, *era.Context) ([]byte, error) {
	return func(x *exchange, ctx context.Context, m *rpc.Message, c *era.Context) ([]byte, error) {
		cursor := ""
		if m.Kind(rpc.Cursor) != 0 {
			text, ok := m.Text(rpc.Cursor)
			if !ok {
				return nil, rpc.BadParams("cursor must be a string")
			}
			cursor = text
		}
		class := x.settled(ctx, c.Client)
		modern := c.Era == upstream.Modern
		if cursor == "" {
			x.page = class.Page(k, !modern)
		} else if page, ok := views.AppendPage(nil, class.View, k, cursor, !modern); ok {
			x.page = page
		} else {
			return nil, rpc.BadParams("this cursor is not one of this list")
		}
		var b []byte
		degraded := x.degraded(class.View)
		if modern {
			return x.appendModern(append(b, ','), degraded), nil
		}
		if degraded != nil {
			b = append(b, `,"_meta":{"tollgate":`...)
			b = append(append(b, degraded...), '}')
		}
		return append(b, '}'), nil
	}
}

// current is the exchange's namespace in the catalog of now; the old one when it is gone.
func (x *exchange) current() *catalog.Space {
	if s := x.cfg.Backend.Catalog().Space(x.space.Name); s != nil {
		return s
	}
	return x.space
}

// degraded says which of the servers that the caller may know of are not whole; nil: all are.
func (x *exchange) degraded(v *catalog.View) []byte {
	words := x.cfg.Backend.Degraded(x.space.Servers)
	see := x.cfg.Backend.Visible(x.base)
	var b []byte
	for i, word := range words {
		server := x.space.Servers[i]
		if word == nil || !v.Sees(server) && !see(unheard(server)) {
			continue
		}
		if b == nil {
			b = append(b, `{"degraded":[`...)
		} else {
			b = append(b, ',')
		}
		b = append(b, word...)
	}
	if b == nil {
		return nil
	}
	return append(b, "]}"...)
}
