package webhook

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/ledger/sink"
	"github.com/tollgate/tollgate/ledger/sink/post"
	"github.com/tollgate/tollgate/ledger/sink/shape"
)

const (
	// secretPrefix marks a secret in the form of Standard Webhooks: base64 follows.
	secretPrefix = "whsec_"
	// secretBytesMin and secretBytesMax are what Standard Webhooks asks of a secret.
	secretBytesMin = 24
	secretBytesMax = 64
)

// Config is whom to post to.
type Config struct {
	shape.Shape
	URL     string
	Secret  secret.String            // whsec_BASE64, or the bytes themselves
	Headers map[string]secret.String // further headers
	CA      string                   // PEM; empty: the system's authorities
}

// Key is the secret's bytes.
func (c *Config) Key() ([]byte, error) {
	text := c.Secret.Reveal()
	key := []byte(text)
	if coded, ok := strings.CutPrefix(text, secretPrefix); ok {
		var err error
		if key, err = base64.StdEncoding.DecodeString(coded); err != nil {
			return nil, errors.New("the secret begins with whsec_ and does not go on in base64")
		}
	}
	if len(key) < secretBytesMin || len(key) > secretBytesMax {
		return nil, errors.New("the secret has not 24 to 64 bytes: make one by: echo whsec_$(head -c 32 /dev/urandom | base64)")
	}
	return key, nil
}

// Open makes the client; nothing is sent.
func (c Config) Open(context.Context) (sink.Receiver, error) {
	key, err := c.Key()
	if err != nil {
		return nil, err
	}
	to, err := post.New(c.URL, c.CA, c.Headers)
	if err != nil {
		return nil, err
	}
	return &receiver{c, to, key}, nil
}

type receiver struct {
	cfg Config
	to  *post.Client
	key []byte
}

// Send posts a batch; any 2xx acknowledges it.
func (r *receiver) Send(ctx context.Context, batch []sink.Line) error {
	id, body := r.message(batch)
	resp, text, err := r.to.Do(ctx, body, Signed(r.key, id, time.Now(), body))
	if err != nil {
		return err
	}
	return post.Judge(resp, string(text))
}

// message is the body of a batch and its id.
func (r *receiver) message(batch []sink.Line) (id string, body []byte) {
	ids := sha256.New()
	body = append(body, `{"type":"ledger.entries","timestamp":`...)
	body = append(quote(body, batch[len(batch)-1].Entry.Time.UTC().Format(time.RFC3339Nano)), `,"data":[`...)
	for i := range batch {
		ids.Write(batch[i].Entry.ID[:])
		if i > 0 {
			body = append(body, ',')
		}
		if r.cfg.JSON() {
			body = append(body, batch[i].Text...)
		} else {
			body = quote(body, string(batch[i].Text))
		}
	}
	return "msg_" + hex.EncodeToString(ids.Sum(nil)[:16]), append(body, "]}"...)
}

func quote(b []byte, text string) []byte {
	quoted, _ := json.Marshal(text) // a string always can be
	return append(b, quoted...)
}

// Close releases idle connections.
func (r *receiver) Close() error { return r.to.Close() }
