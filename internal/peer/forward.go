package peer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/tollgate/tollgate/internal/dial"
	"github.com/tollgate/tollgate/internal/edge"
)

// Outcome is what became of a request that was to be forwarded.
type Outcome int

const (
	// Answered: the other replica has answered, or began to. There is nothing more to write.
	Answered Outcome = iota
	// Gone: there is no such replica any more, and it has not seen the request. Nothing is written.
	Gone
	// Lost: the other replica may have begun to serve the request, and has not answered. Nothing is written.
	Lost
)

const (
	// pieceBytes is how much of an answer is passed on at a time.
	pieceBytes = 32 << 10
	// writeWithin bounds how long a piece may take to be written: a client that does not read is given up, as one is that
	// came to the right replica.
	writeWithin = 30 * time.Second
)

// Forward has the replica of that name serve r, whose body is given, and passes its answer on to w. When the answer ends
// before its end, the connection of w is cut: it panics with http.ErrAbortHandler.
func (n *Net) Forward(w http.ResponseWriter, r *http.Request, to ID, body []byte) Outcome {
	ctx, stop := n.alive(r.Context(), to)
	defer stop()
	resp, outcome, err := n.post(ctx, r, to, body)
	if err != nil {
		n.lost.Add(1)
		if r.Context().Err() == nil {
			n.cfg.Log.Warn("a request could not be forwarded to the replica it belongs to", "method", r.Method, "path", r.URL.Path, "err", err)
		}
		return outcome
	}
	defer resp.Body.Close()
	edge.CopyAnswer(w.Header(), resp.Header)
	w.Header().Del(takenHeader)
	w.WriteHeader(resp.StatusCode)
	if err := pass(w, resp.Body); err != nil {
		n.lost.Add(1)
		panic(http.ErrAbortHandler) // an answer without its end must not look whole
	}
	n.forwarded.Add(1)
	return Answered
}

func (n *Net) post(ctx context.Context, r *http.Request, to ID, body []byte) (*http.Response, Outcome, error) {
	if Forwarded(r) {
		return nil, Gone, errForwarded
	}
	address, ok := n.cfg.Address(to)
	if !ok {
		return nil, Gone, errors.New("there is no such replica any more")
	}
	text, err := message(&head{
		Method: r.Method, URI: r.URL.RequestURI(), Host: r.Host, Source: r.RemoteAddr, Local: edge.Loopback(r), Header: r.Header,
	}, body)
	if err != nil {
		return nil, Gone, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+address+Path, bytes.NewReader(text))
	if err != nil {
		return nil, Gone, err
	}
	req.Header.Set("Authorization", newTicket(to, n.cfg.Now(), text).sign(n.cfg.Key))
	req.Header.Set("Content-Type", contentType)
	resp, err := n.client.Do(req)
	var unreached *dial.Error
	switch {
	case errors.As(err, &unreached):
		return nil, Gone, err
	case err != nil:
		return nil, Lost, err
	case resp.Header.Get(takenHeader) != "":
		return resp, Answered, nil
	}
	_ = resp.Body.Close()
	return nil, Gone, errors.New("the replica did not take it: its secret_key or its clock is another, or it is another one by now")
}

// pass copies an answer piece by piece, each at once. The deadline of each is the connection's, so it is taken back for whoever
// writes on it next.
func pass(w http.ResponseWriter, from io.Reader) error {
	out := http.NewResponseController(w)
	defer func() { _ = out.SetWriteDeadline(time.Time{}) }()
	_ = out.SetWriteDeadline(time.Now().Add(writeWithin)) // not every writer has one
	if err := out.Flush(); err != nil {
		return err
	}
	piece := make([]byte, pieceBytes)
	for {
		k, err := from.Read(piece)
		if k > 0 {
			_ = out.SetWriteDeadline(time.Now().Add(writeWithin))
			if _, err := w.Write(piece[:k]); err != nil {
				return nil // the client is gone, and knows
			}
			if err := out.Flush(); err != nil {
				return nil
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
