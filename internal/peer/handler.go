package peer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"
)

const (
	// contentType is that of a message.
	contentType = "application/vnd.tollgate.replica"
	// takenHeader is on every answer to a message that was taken, so that it is told from that of something else at the
	// address.
	takenHeader = "X-Tollgate-Replica"
	// readWithin bounds how long a message may take to arrive.
	readWithin = 30 * time.Second
)

// Handler serves at Path what other replicas forward: each request is made anew and handed to inside, with Forwarded set.
// What is no message of a replica gets the same answer whatever is wrong with it.
func (n *Net) Handler(inside http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h, body, why := n.take(w, r)
		if h == nil {
			n.refused.Add(1)
			// Anybody can come here, and must not fill the log; the replica that has forwarded something in vain says so.
			n.cfg.Log.Debug("a request for replicas only was refused", "source", r.RemoteAddr, "why", why)
			w.Header().Set("Connection", "close")
			http.Error(w, "this is for other replicas of the gateway", http.StatusForbidden)
			return
		}
		n.taken.Add(1)
		w.Header().Set(takenHeader, "1")
		inside.ServeHTTP(w, h.request(r, body))
	})
}

// take reads a message and checks that it is for this replica, from another one, now and the first time. Of what is not,
// nothing is read.
func (n *Net) take(w http.ResponseWriter, r *http.Request) (h *head, body []byte, why string) {
	if r.Method != http.MethodPost || r.Header.Get("Content-Type") != contentType || len(r.Header["Authorization"]) != 1 {
		return nil, nil, "it is no message"
	}
	t, ok := readTicket(n.cfg.Key, r.Header.Get("Authorization"))
	if !ok {
		return nil, nil, "it is not signed with the secret_key of this gateway"
	}
	now := n.cfg.Now()
	age := now.Sub(t.at)
	switch {
	case t.to != n.cfg.Self:
		return nil, nil, "it is for another replica"
	case age > goodFor || age < -goodFor:
		return nil, nil, "it is from another time: the clocks of the replicas differ"
	case t.bytes > headBytesMax+1+bodyBytesMax || r.ContentLength != int64(t.bytes):
		return nil, nil, "it is too large, or not what was signed"
	case !n.seen.first(t.once, now):
		return nil, nil, "it has come before, or too many come"
	}
	text, why := arrive(w, r, t.bytes)
	if why != "" {
		return nil, nil, why
	}
	if sha256.Sum256(text) != t.sum {
		return nil, nil, "it is not what was signed"
	}
	h, body, err := read(text)
	if err != nil {
		return nil, nil, err.Error()
	}
	return h, body, ""
}

// arrive reads the body of r, which is as long as that.
func arrive(w http.ResponseWriter, r *http.Request, bytes int) (text []byte, why string) {
	conn := http.NewResponseController(w)
	if err := conn.SetReadDeadline(time.Now().Add(readWithin)); err != nil {
		return nil, "its time cannot be limited"
	}
	text = make([]byte, bytes)
	if _, err := io.ReadFull(r.Body, text); err != nil {
		return nil, "it did not arrive whole"
	}
	_, _ = io.Copy(io.Discard, r.Body) // to its end, which is here: then the server notices when the connection is lost
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		return nil, "the connection was lost"
	}
	return text, ""
}

// request makes the request that was forwarded; r brought it.
func (h *head) request(r *http.Request, body []byte) *http.Request {
	ctx := context.WithValue(r.Context(), forwardedKey{}, true)
	local := net.IPv4zero
	if h.Local {
		local = net.IPv4(127, 0, 0, 1)
	}
	ctx = context.WithValue(ctx, http.LocalAddrContextKey, &net.TCPAddr{IP: local})
	out := r.WithContext(ctx)
	out.Method, out.Host, out.RequestURI, out.RemoteAddr, out.Header = h.Method, h.Host, h.URI, h.Source, h.Header
	out.URL, _ = url.ParseRequestURI(h.URI) // checked by read
	out.ContentLength, out.TransferEncoding, out.Trailer = int64(len(body)), nil, nil
	out.Body = http.NoBody
	if len(body) > 0 {
		out.Body = io.NopCloser(bytes.NewReader(body))
	}
	return out
}
