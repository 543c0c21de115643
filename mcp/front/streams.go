package front

import (
	"bytes"
	"context"
	"net/http"
	"time"

	"github.com/tollgate/tollgate/internal/strictjson"
	"github.com/tollgate/tollgate/mcp/catalog"
	"github.com/tollgate/tollgate/mcp/era"
	"github.com/tollgate/tollgate/mcp/front/replay"
	"github.com/tollgate/tollgate/mcp/front/reply"
	"github.com/tollgate/tollgate/mcp/front/updates"
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

// get serves a stream of a legacy session: a new one for what the gateway says outside any request, or one that the
// client has lost.
func (x *exchange) get() {
	if !x.resume(nil) {
		return
	}
	s := x.session
	if !reply.AcceptsEvents(x.r) {
		x.refuse(nil, rpc.Refused(http.StatusNotAcceptable, "this is an event stream: send Accept: text/event-stream"))
		return
	}
	ctx, cancel := context.WithCancel(x.r.Context())
	defer cancel()
	defer context.AfterFunc(s.ended, cancel)()
	lost, n, refused := x.seenLast()
	switch {
	case refused != nil:
		x.refuse(nil, refused)
		return
	case lost != nil && lost.Kind() == replay.Call:
		x.goOn(ctx, lost, n, cancel) // there are no more of these than calls
		return
	case !s.read():
		x.refuse(nil, rpc.Refused(http.StatusTooManyRequests, "this session has enough streams open"))
		return
	}
	defer s.hasRead()
	if lost == nil {
		x.out = reply.New(x.w, x.r)
		x.out.HangUp(cancel)
		s.belong(x.out, replay.Session)
	} else {
		whole, ok := lost.Attach(x.w, x.r, n, cancel)
		if !ok {
			x.refuse(nil, eventsGone())
			return
		}
		if x.out = lost; !whole {
			s.forget()
		}
	}
	x.stand(ctx)
}

// stand has the session's client told on this GET of what changes.
func (x *exchange) stand(ctx context.Context) {
	s := x.session
	s.enter(x.out)
	defer s.leave(x.out, x.w)
	x.out.Begin() // now that nothing the client can wait for is lost
	x.watch(ctx, s.claim, s.updates, s.tellLists, s.tellUpdates)
}

// tellLists tells the client which of its lists have changed since it was told last.
func (s *session) tellLists(now sums) {
	s.mu.Lock()
	then := s.seen
	s.seen = now
	s.mu.Unlock()
	for i, w := range watched {
		if now[i] != then[i] && !s.say(rpc.AppendNotification(nil, w.method, nil)) {
			s.mu.Lock()
			s.seen[i] = ^now[i] // to be told by the next stream
			s.mu.Unlock()
		}
	}
}

// tellUpdates tells the client of its resources.
func (s *session) tellUpdates() {
	all := s.updates.Take()
	for i, u := range all {
		if !s.say(rpc.AppendNotification(nil, u.Method, u.Params)) {
			s.updates.PutBack(all[i:])
			return
		}
	}
}

// listen serves the one stream of the modern era that outlives its request.
func (x *exchange) listen(ctx context.Context, m *rpc.Message, c *era.Context) ([]byte, error) {
	if !x.out.Accepts {
		return nil, rpc.Refused(http.StatusNotAcceptable, "this is an event stream: send Accept: text/event-stream")
	}
	changes := updates.NewQueue()
	uris, stop, err := x.subscribeAll(ctx, m, c, changes)
	if err != nil {
		return nil, err
	}
	defer stop()
	tasks, stopTasks, err := x.followAll(ctx, m, c, changes)
	if err != nil {
		return nil, err
	}
	defer stopTasks()
	var want [len(watched)]bool
	tag := append(append([]byte(`"_meta":{"`+era.KeySubscription+`":`), m.ID...), '}')
	ack := []byte(`{"notifications":{`)
	for i, w := range watched {
		if want[i] = m.True(w.field); want[i] {
			ack = append(ack, `"`+w.member+`":true,`...)
		}
	}
	if uris != nil {
		ack = append(appendStrings(append(ack, `"resourceSubscriptions":`...), uris), ',')
	}
	if tasks != nil {
		ack = appendStrings(append(ack, `"taskIds":`...), tasks)
	}
	ack = append(bytes.TrimSuffix(ack, []byte{','}), `},`...)
	x.out.Notify("notifications/subscriptions/acknowledged", append(append(ack, tag...), '}'))
	if want != [len(watched)]bool{} || uris != nil || tasks != nil {
		x.listenOn(ctx, c.Client, want, changes, append(append([]byte{'{'}, tag...), '}'))
	}
	return append(append([]byte(`{"resultType":"complete",`), tag...), '}'), nil
}

// appendStrings appends a JSON array of strings.
func appendStrings(b []byte, all []string) []byte {
	for i, s := range all {
		separator := byte(',')
		if i == 0 {
			separator = '['
		}
		b = strictjson.Quote(append(b, separator), s)
	}
	return append(b, ']')
}

// listenOn tells a listen stream what it wants to hear; params, which tags each message as this stream's, are all there
// is to say of a list.
func (x *exchange) listenOn(ctx context.Context, client string, want [len(watched)]bool, changes *updates.Queue, params []byte) {
	meta := strictjson.Lookup(params, strictjson.Whole(params), "_meta").In(params)
	seen := x.sums(client)
	lists := func(now sums) {
		for i, w := range watched {
			if want[i] && now[i] != seen[i] {
				x.out.Notify(w.method, params)
			}
		}
		seen = now
	}
	x.watch(ctx, client, changes, lists, func() {
		for _, u := range changes.Take() {
			x.out.Notify(u.Method, tagged(u.Params, meta))
		}
	})
}

// tagged is a server's params with the stream's tag in their _meta; meta is an object of the tag alone.
func tagged(params, meta []byte) []byte {
	theirs := strictjson.Lookup(params, strictjson.Whole(params), "_meta")
	for name, v := range rpc.Members(meta) {
		if theirs.Kind == '{' {
			meta = rpc.With(theirs.In(params), strictjson.Change{Name: string(name), Value: v.In(meta)})
		}
	}
	return rpc.With(params, strictjson.Change{Name: "_meta", Value: meta})
}

// watch has the client told what changes, lists by lists and resources by updated, until ctx ends, the gateway closes or
// the credential of the request is good no more.
func (x *exchange) watch(ctx context.Context, client string, changes *updates.Queue, lists func(now sums), updated func()) {
	recheck := time.NewTicker(recheckEvery)
	defer recheck.Stop()
	changed := x.cfg.Backend.Changed()
	lists(x.sums(client))
	updated()
	for {
		select {
		case <-ctx.Done():
			return
		case <-x.quiet.Done():
			return
		case <-changes.Wake():
			updated()
			continue
		case <-changed:
			// What else changes in this moment is told with it.
			select {
			case <-ctx.Done():
				return
			case <-time.After(changeWithin):
			}
		case <-recheck.C:
			if !x.stillGood() {
				return
			}
		}
		changed = x.cfg.Backend.Changed()
		lists(x.sums(client))
	}
}

// stillGood reports whether the credential of the request is what it was, which may be long ago.
func (x *exchange) stillGood() bool {
	base, err := x.cfg.Auth.Authenticate(x.r)
	if err != nil || ownerOf(base) != ownerOf(x.base) {
		return false
	}
	x.base = base
	return true
}

// sums are those of the watched lists, as one caller sees them at one moment.
type sums [len(watched)]uint64

func (x *exchange) sums(client string) sums { return sumsOf(x.caller(client).View(x.current())) }

func sumsOf(view *catalog.View) (s sums) {
	for i, w := range watched {
		s[i] = view.Sum(w.kind)
	}
	return s
}
