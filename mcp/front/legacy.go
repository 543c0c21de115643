package front

import (
	"context"
	"net/http"
	"sync"

	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/front/flights"
	"github.com/tollgate/tollgate/mcp/front/replay"
	"github.com/tollgate/tollgate/mcp/front/reply"
	"github.com/tollgate/tollgate/mcp/rpc"
	"github.com/tollgate/tollgate/mcp/upstream"
)

// The bounds of a JSON-RPC batch, which only sessions of 2025-03-26 have.
const (
	batchMax      = 50
	batchParallel = 8
)

// capabilitiesMax bounds what a client declares: it is kept for as long as the session is, and told to servers.
const capabilitiesMax = 8 << 10

// legacy serves one message of a session, or the request that opens one.
func (x *exchange) legacy(m *rpc.Message, meta *era.Meta) {
	if m.Method == "initialize" && !m.Notification() {
		x.initialize(m)
		return
	}
	if !x.resume(m) {
		return
	}
	if m.Response() || m.Notification() {
		if err := x.hear(m); err != nil {
			x.turnAway(m, err)
			return
		}
		x.w.WriteHeader(http.StatusAccepted)
		return
	}
	x.request(m, meta)
}

// hear takes a message that is not answered: a notification, or a response to what the client was asked.
func (x *exchange) hear(m *rpc.Message) *rpc.Error {
	switch m.Method {
	case "":
		return x.session.answered(m)
	case "notifications/cancelled":
		if id := m.Get(rpc.RequestID); id != nil {
			x.session.inFlight.Cancel(id)
		}
	case "notifications/progress":
		if server, params, ok := x.session.questions.Progress(m.Get(rpc.Params)); ok {
			x.cfg.Backend.Tell(server, x.session.client.ID, m.Method, params)
		}
	case "notifications/roots/list_changed":
		if x.session.asks {
			x.cfg.Backend.Tell("", x.session.client.ID, m.Method, m.Get(rpc.Params))
		}
	}
	return nil
}

// request serves a request of the session. That the client goes away does not cancel it, as the revisions before
// 2026-07-28 say; notifications/cancelled, the end of the session and the gateway's do.
func (x *exchange) request(m *rpc.Message, meta *era.Meta) {
	c := meta.Legacy(x.session.version)
	c.Client, c.Capabilities, c.LogLevel = x.session.claim, x.session.capabilities, x.session.logLevel()
	ctx, cancel := context.WithCancel(context.WithoutCancel(x.r.Context()))
	defer cancel()
	defer context.AfterFunc(x.session.ended, cancel)() // which the gateway's closing is, too
	if err := x.session.inFlight.Enter(m.ID, flights.Flight{Cancel: cancel}); err != nil {
		x.turnAway(m, err)
		return
	}
	var once sync.Once
	finish := func() { once.Do(func() { x.session.finish(m.ID) }) }
	defer finish()
	x.session.belong(x.out, replay.Call)
	x.out.Ending = finish // whoever has the answer may use its id again
	x.cancel = cancel
	x.serve(ctx, m, c)
}

// initialize opens a session.
func (x *exchange) initialize(m *rpc.Message) {
	if x.session != nil {
		x.turnAway(m, rpc.Invalid("this connection has a session already"))
		return
	}
	asked, ok := m.Text(rpc.ProtocolVersion)
	if !ok {
		x.turnAway(m, rpc.BadParams("protocolVersion is missing or no string"))
		return
	}
	capabilities := m.Get(rpc.Capabilities)
	if k := m.Kind(rpc.Capabilities); k != 0 && k != '{' || len(capabilities) > capabilitiesMax {
		x.turnAway(m, rpc.BadParams("capabilities must be an object of at most 8 KiB"))
		return
	}
	name, _ := m.Text(rpc.ClientName)
	version, _ := m.Text(rpc.ClientVersion)
	s := x.sessions.open(hello{ownerOf(x.base), x.space.Name, era.Negotiate(asked), era.Claim(name, version), capabilities})
	if s == nil {
		x.turnAway(m, rpc.Refused(http.StatusServiceUnavailable, "too many sessions are busy; end one and try again"))
		return
	}
	x.w.Header().Set("Mcp-Session-Id", s.id)
	view := x.settled(x.r.Context(), s.claim).View
	s.seen = sumsOf(view) // nobody else has the session yet
	if x.link != nil && !x.link.open(s) {
		x.sessions.close(s)
		x.turnAway(m, rpc.Invalid("this connection has a session already"))
		return
	}
	b := strictjson.Quote([]byte(`{"protocolVersion":`), s.version)
	b = append(b, `,"capabilities":`...)
	b = appendCapabilities(b, view, &era.Context{Era: upstream.Legacy, Capabilities: m.Get(rpc.Capabilities)})
	b = append(b, `,"serverInfo":`...)
	b = append(b, x.self...)
	b = appendInstructions(b, view)
	x.out.Result(m.ID, nil, append(b, '}'))
}

// batch serves an array of messages. Its answers come as one array, or one by one on the event stream once there is one.
func (x *exchange) batch(body []byte) {
	if err := strictjson.Check(body, strictjson.Limits{}); err != nil {
		x.turnAway(nil, &rpc.Error{Code: rpc.CodeParse, Message: "the body is refused: " + err.Error(), HTTP: http.StatusBadRequest})
		return
	}
	switch {
	case x.session != nil:
	case x.link != nil || !x.inSession():
		x.turnAway(nil, rpc.Invalid("batches belong to sessions of protocol version "+era.V2025Mar+"; send one message"))
		return
	case !x.resume(nil):
		return
	}
	if x.session.version != era.V2025Mar {
		x.turnAway(nil, rpc.Invalid("protocol version "+x.session.version+" has no batches; send one message"))
		return
	}
	var parts [][]byte
	for _, v := range strictjson.Elements(body, strictjson.Whole(body)) {
		parts = append(parts, v.In(body))
	}
	if len(parts) == 0 || len(parts) > batchMax {
		x.turnAway(nil, rpc.Invalid("a batch has 1 to 50 messages"))
		return
	}
	x.session.belong(x.out, replay.Call)
	answers := x.batchParts(parts)
	if len(answers) == 0 {
		x.w.WriteHeader(http.StatusAccepted)
		return
	}
	x.out.All(answers)
}

// batchParts serves the messages of a batch, a few at a time, and returns the answers in the order of the requests.
func (x *exchange) batchParts(parts [][]byte) [][]byte {
	answers := make([][]byte, len(parts))
	slots := make(chan struct{}, batchParallel)
	var wg sync.WaitGroup
	for i, part := range parts {
		m, err := rpc.Parse(part)
		var meta *era.Meta
		if err == nil {
			meta, err = era.Read(m)
		}
		heard := err == nil && (m.Response() || m.Notification())
		if heard {
			err = x.hear(m)
		}
		switch {
		case err != nil:
			x.record(x.base, "", "", err.Message)
			answers[i] = rpc.AppendError(nil, idOf(m), err)
			continue
		case heard:
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			one := *x
			one.out = reply.PartOf(x.out)
			one.apart(m.ID, func() { one.request(m, meta) })
			answers[i] = one.out.Kept()
		})
	}
	wg.Wait()
	out := answers[:0]
	for _, a := range answers {
		if a != nil {
			out = append(out, a)
		}
	}
	return out
}

func idOf(m *rpc.Message) []byte {
	if m == nil {
		return nil
	}
	return m.ID
}
