package front

import (
	"context"
	"net/http"
	"time"

	"github.com/tollgate/tollgate/mcp/catalog"
	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/rpc"
)

// watched are the lists a client can be told the change of, with the notification that does it.
var watched = [...]struct {
	kind   catalog.Kind
	member string
	method string
	field  rpc.Field
}{
	{catalog.Tools, "toolsListChanged", "notifications/tools/list_changed", rpc.ListenTools},
	{catalog.Prompts, "promptsListChanged", "notifications/prompts/list_changed", rpc.ListenPrompts},
	{catalog.Resources, "resourcesListChanged", "notifications/resources/list_changed", rpc.ListenResources},
}

// get serves the stream of a legacy session: what the gateway says outside any request.
func (x *exchange) get() {
	if !x.resume(nil) {
		return
	}
	x.out = newReply(x.w, x.r)
	defer x.out.end()
	if !x.out.accepts {
		x.refuse(nil, rpc.Refused(http.StatusNotAcceptable, "this is an event stream: send Accept: text/event-stream"))
		return
	}
	if !x.session.attach(x.out) {
		x.refuse(nil, rpc.Refused(http.StatusTooManyRequests, "this session has enough streams open"))
		return
	}
	defer x.session.detach(x.out)
	ctx, cancel := context.WithCancel(x.r.Context())
	defer cancel()
	defer context.AfterFunc(x.session.ended, cancel)()
	x.out.begin()
	all := [len(watched)]bool{true, true, true}
	x.watch(ctx, x.session.claim, all, nil)
}

// listen serves the one stream of the modern era that outlives its request.
func (x *exchange) listen(ctx context.Context, m *rpc.Message, c *era.Context) ([]byte, error) {
	if !x.out.accepts {
		return nil, rpc.Refused(http.StatusNotAcceptable, "this is an event stream: send Accept: text/event-stream")
	}
	tag := append(append([]byte(`"_meta":{"`+era.KeySubscription+`":`), m.ID...), '}')
	var want [len(watched)]bool
	ack := []byte(`{"notifications":{`)
	for i, w := range watched {
		if want[i] = m.True(w.field); want[i] {
			if ack[len(ack)-1] != '{' {
				ack = append(ack, ',')
			}
			ack = append(ack, `"`+w.member+`":true`...)
		}
	}
	ack = append(append(append(ack, `},`...), tag...), '}')
	x.out.notify("notifications/subscriptions/acknowledged", ack)
	if want != [len(watched)]bool{} {
		x.watch(ctx, c.Client, want, append(append([]byte{'{'}, tag...), '}'))
	}
	return append(append([]byte(`{"resultType":"complete",`), tag...), '}'), nil
}

// watch tells the client which of the wanted lists have changed for it, until ctx ends, the gateway closes or the
// credential of the request is good no more.
func (x *exchange) watch(ctx context.Context, client string, want [len(watched)]bool, params []byte) {
	recheck := time.NewTicker(recheckEvery)
	defer recheck.Stop()
	changed := x.cfg.Backend.Changed()
	seen := x.sums(client)
	for {
		select {
		case <-ctx.Done():
			return
		case <-x.closing.Done():
			return
		case <-changed:
			// What else changes in this moment is told with it.
			select {
			case <-ctx.Done():
				return
			case <-time.After(changeWithin):
			}
		case <-recheck.C:
			base, err := x.cfg.Auth.Authenticate(x.r)
			if err != nil || ownerOf(base) != ownerOf(x.base) {
				return
			}
			x.base = base
		}
		changed = x.cfg.Backend.Changed()
		now := x.sums(client)
		for i, w := range watched {
			if want[i] && now[i] != seen[i] {
				x.out.notify(w.method, params)
			}
		}
		seen = now
	}
}

// sums are the sums of the watched lists as the caller sees them now.
func (x *exchange) sums(client string) (s [len(watched)]uint64) {
	view := x.caller(client).view(x.current())
	for i, w := range watched {
		s[i] = view.Sum(w.kind)
	}
	return s
}
