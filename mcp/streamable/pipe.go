package streamable

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/sse"
	"github.com/tollgate/tollgate/mcp/upstream"
	"github.com/tollgate/tollgate/mcp/wire"
)

// pipe is a session of HTTP+SSE, the transport of 2024-11-05: one stream that every message of the server comes on, and an
// address, told on it, to post those of the client to. It cannot be taken up again.
type pipe struct {
	endpoint *url.URL
	dead     chan struct{} // closed when nothing more will be read
}

// openPipe opens the session in as such a stream. close ends it and waits for its reader.
func (s *Server) openPipe(ctx context.Context, permit *gate.Permit, in *session) (closePipe func(), err error) {
	c := &s.cfg
	reading, stop := context.WithCancel(ctx)
	opening := time.AfterFunc(sessionTimeout, stop)
	defer opening.Stop()
	t := &turn{server: s, exchange: &upstream.Exchange{Permit: permit}, peer: &wire.Peer{Era: upstream.Legacy}, session: in, ctx: reading}
	nothing := func() {}
	resp, err := t.get(reading, "")
	if err != nil {
		stop()
		return nothing, c.Broken(ctx, err)
	}
	events := sse.NewReader(resp.Body, eventBytesMax)
	endpoint, err := endpointOf(c.URL, resp, events)
	if err != nil {
		stop()
		_ = resp.Body.Close()
		return nothing, c.Fault(upstream.Garbage, err, "offers no MCP session at its address")
	}
	in.pipe = &pipe{endpoint: endpoint, dead: make(chan struct{})}
	s.streams.Add(1)
	go func() {
		defer close(in.pipe.dead)
		defer s.streams.Add(-1)
		defer func() { _ = resp.Body.Close() }()
		err := t.readPipe(reading, events)
		if reading.Err() == nil {
			c.Log.Debug("the stream of a session ended", "server", c.Name, "err", err)
			s.sessions.drop(in)
			if in.key == (sessionKey{}) {
				c.Heard(upstream.Lost)
			}
		}
	}()
	closePipe = func() {
		stop()
		<-in.pipe.dead
	}
	if err := s.greet(ctx, permit, in); err != nil {
		closePipe()
		in.pipe = nil
		return nothing, err
	}
	return closePipe, nil
}

// endpointOf reads the first event of the stream, which names where to post to: nowhere but where the stream came from.
func endpointOf(at *url.URL, resp *http.Response, events *sse.Reader) (*url.URL, error) {
	if !isStream(resp) {
		return nil, errors.New("a GET is no stream")
	}
	for {
		e, err := events.Next()
		switch {
		case err != nil:
			return nil, err
		case string(e.Name) == "endpoint":
			to, err := at.Parse(string(e.Data))
			if err != nil {
				return nil, err
			}
			if to.Scheme != at.Scheme || to.Host != at.Host || to.User != nil {
				return nil, errors.New("the endpoint is at another origin")
			}
			return to, nil
		case e.Data != nil:
			return nil, errors.New("the stream does not begin with an endpoint")
		}
	}
}

// readPipe hands every message of the stream to the exchange that it is for.
func (t *turn) readPipe(ctx context.Context, events *sse.Reader) error {
	for {
		e, err := events.Next()
		if err != nil {
			return err
		}
		if e.Data == nil || len(e.Name) > 0 && string(e.Name) != "message" {
			continue
		}
		m, err := wire.Parse(e.Data)
		if err != nil {
			return err
		}
		if m.Method != "" {
			if err := t.take(ctx, m); err != nil {
				return err
			}
			continue
		}
		id, _ := wire.Integer(m.ID())
		if of := t.session.flight(id); of != nil {
			select {
			case of.answer <- m.Clone():
			default: // a second answer is none
			}
		}
	}
}

// await waits for the answer on the stream of the session, once its POST was answered by resp.
func (t *turn) await(ctx context.Context, resp *http.Response) (*upstream.Answer, error) {
	if resp.StatusCode >= 300 {
		return t.read(ctx, resp)
	}
	_ = resp.Body.Close()
	select {
	case m := <-t.answer:
		return m.Answer(0), nil
	case <-t.session.pipe.dead:
		select {
		case m := <-t.answer: // it was the last thing said
			return m.Answer(0), nil
		default:
		}
		return nil, t.server.cfg.Fault(upstream.Gone, nil, "broke the stream of its session before its answer")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
