package front

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/tollgate/tollgate/mcp/front/reply"
	"github.com/tollgate/tollgate/mcp/rpc"
)

// lineBytesMax bounds one message of stdio: it is what the body of a POST may have.
const lineBytesMax = 4 << 20

// Stdio returns the handler of /stdio and /stdio/{name}, the other end of a process that a client has spawned and speaks
// to over its standard input and output. One POST is one client: the body is what the client writes, the response is what
// it reads, one message per line, both for as long as it lives. Messages of both eras come as they are; there are no
// headers that repeat them, so nothing that routes on headers may stand before this handler: it belongs on a socket
// that only the gateway's owner can open.
func (f *Front) Stdio() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		x := &exchange{Front: f, w: w, r: r, mirror: r.Header}
		ctl := http.NewResponseController(w)
		// Else the server would read the body to its end before it answers, and once more when all is said: it has no end.
		duplex := ctl.EnableFullDuplex()
		defer func() { _ = ctl.SetReadDeadline(time.Now()) }()
		name, ok := spaceName(r.URL.Path, "/stdio")
		switch {
		case duplex != nil && r.ProtoMajor == 1:
			x.refuse(nil, rpc.Refused(http.StatusInternalServerError, "the server cannot read and write at once"))
		case !x.enter(name, ok):
		case r.Method != http.MethodPost:
			w.Header().Set("Allow", http.MethodPost)
			x.refuse(nil, rpc.Refused(http.StatusMethodNotAllowed, "use POST; its body is a client's standard input"))
		default:
			x.stdio()
		}
	})
}

// stdio serves one client until its input ends: what it has asked by then is still answered.
func (x *exchange) stdio() {
	ctl := http.NewResponseController(x.w)
	x.out = reply.NewLines(x.w, x.r)
	defer x.out.End()
	var telling sync.WaitGroup
	defer telling.Wait()
	l := x.newLink(x.out, true)
	defer l.close()
	// Whatever ends the link ends the reading.
	unread := func() { _ = ctl.SetReadDeadline(time.Now()) }
	defer context.AfterFunc(l.ended, unread)()
	defer context.AfterFunc(x.quiet, unread)()
	x.out.Begin()
	telling.Go(func() {
		told := *x
		l.converse(&told)
		if x.quiet.Err() == nil {
			l.end() // the key is good no more
		}
	})
	if err := l.read(x.r.Body); err == nil || x.quiet.Err() != nil {
		l.drain()
	}
}

// read takes the messages of a link one by one until the input ends. An error means that the client is gone or may not go
// on.
func (l *link) read(body io.Reader) error {
	in := bufio.NewReaderSize(body, 16<<10)
	for {
		line, err := rpc.ReadLine(in, lineBytesMax)
		long := errors.Is(err, rpc.ErrLineTooLong)
		if long {
			err = rpc.SkipLine(in)
		}
		line = bytes.TrimSpace(line)
		switch {
		case len(line) > 0 || long: // what cut the last line is met again
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		default:
			continue
		}
		base, refused := l.cfg.Auth.Authenticate(l.r)
		x := l.exchange(l.r, base)
		switch {
		case refused != nil:
			x.unauthorized(refused)
			return refused
		case ownerOf(base) != l.owner:
			return errors.New("the key has become another's")
		case long:
			x.turnAway(nil, rpc.Invalid("a message has at most 4 MiB"))
		default:
			x.line(line)
		}
	}
}

// line takes one line: a message, or a batch of them.
func (x *exchange) line(line []byte) {
	if line[0] == '[' {
		x.link.begin(x, nil, func() { x.batch(line) }) // nothing is read any more when the link is ending
		return
	}
	if m, meta := x.message(line); m != nil {
		x.take(m, meta)
	}
}
