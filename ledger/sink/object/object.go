package object

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/tollgate/tollgate/internal/dial"
	"github.com/tollgate/tollgate/internal/s3"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/sink"
	"github.com/tollgate/tollgate/ledger/sink/post"
	"github.com/tollgate/tollgate/ledger/sink/shape"
)

// Config is the bucket and how objects are named in it.
type Config struct {
	shape.Shape
	Bucket s3.Bucket // without a client
	Prefix string    // of names, with its slash
	CA     string    // PEM; empty: the system's authorities
	Plain  bool      // not compressed
}

// Open makes the client; nothing is sent.
func (c Config) Open(context.Context) (sink.Receiver, error) {
	roots, err := post.Roots(c.CA)
	if err != nil {
		return nil, err
	}
	c.Bucket.HTTP = dial.Sinks.ClientTrusting(roots)
	return &receiver{c}, nil
}

type receiver struct{ cfg Config }

// Part is the folder of an entry and its writer: an object is of one of each.
func (r *receiver) Part(e *ledger.Entry) string {
	return e.Time.UTC().Format("dt=2006-01-02/hour=15/") + e.Writer
}

// Send puts a batch as one object.
func (r *receiver) Send(ctx context.Context, batch []sink.Line) error {
	first, last := &batch[0].Entry, &batch[len(batch)-1].Entry
	o := s3.Object{Key: fmt.Sprintf("%s%s-%012d-%012d.jsonl", r.cfg.Prefix, r.Part(first), first.Seq, last.Seq), ContentType: "application/x-ndjson"}
	for i := range batch {
		o.Body = append(append(o.Body, batch[i].Text...), '\n')
	}
	if !r.cfg.Plain {
		o.Key, o.Body, o.ContentType = o.Key+".gz", post.Gzip(o.Body), "application/gzip"
	}
	err := r.cfg.Bucket.Put(ctx, o)
	answer, ok := errors.AsType[*s3.Error](err)
	switch {
	case !ok:
		return err
	case answer.Status == http.StatusRequestEntityTooLarge:
		return &sink.RefusedError{Err: err}
	case answer.RetryAfter > 0:
		return &sink.BusyError{After: answer.RetryAfter, Err: err}
	}
	return err
}

// Close releases idle connections.
func (r *receiver) Close() error {
	r.cfg.Bucket.HTTP.CloseIdleConnections()
	return nil
}
