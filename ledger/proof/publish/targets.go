package publish

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/tollgate/tollgate/internal/dial"
	"github.com/tollgate/tollgate/internal/durable"
	"github.com/tollgate/tollgate/internal/s3"
	"github.com/tollgate/tollgate/ledger/proof/sequencer"
	"github.com/tollgate/tollgate/ledger/sink/webhook"
)

// Target takes checkpoints. Taking one again does no harm.
type Target interface {
	Put(ctx context.Context, origin string, c sequencer.Signed) error
}

// Directory appends checkpoints to files checkpoints-YYYY-MM.jsonl, a line each: {"checkpoint": NOTE}. They are what
// audit verify --checkpoint reads.
type Directory string

// Put returns when the line is on the disk. A crash may leave half a line, which the next one ends.
func (d Directory) Put(_ context.Context, _ string, c sequencer.Signed) error {
	line, err := json.Marshal(map[string]string{"checkpoint": string(c.Note)})
	if err != nil {
		return err
	}
	dir, err := durable.Disk(string(d))
	if err != nil {
		return err
	}
	path := filepath.Join(string(d), "checkpoints-"+c.Time.UTC().Format("2006-01")+".jsonl")
	// Appended, since replicas on one machine may have one directory: none may write where another does.
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(appendLine(f, append(line, '\n')), f.Close(), dir.Sync())
}

func appendLine(f *os.File, line []byte) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	end := info.Size()
	if end > 0 {
		var last [1]byte
		if _, err := f.ReadAt(last[:], end-1); err != nil {
			return err
		}
		if last[0] != '\n' { // the machine died in the middle of a line
			line = append([]byte{'\n'}, line...)
		}
	}
	if _, err := f.Write(line); err != nil {
		return err
	}
	return f.Sync()
}

// Bucket puts each checkpoint as an object of its own, PREFIXcheckpoint-NUMBER.txt.
type Bucket struct {
	S3     s3.Bucket
	Prefix string
	Retain time.Duration // how long nobody may change or remove it, where the bucket has Object Lock; 0: as the bucket says
}

// Put returns when the store has acknowledged the object.
func (b *Bucket) Put(ctx context.Context, _ string, c sequencer.Signed) error {
	o := s3.Object{Key: fmt.Sprintf("%scheckpoint-%012d.txt", b.Prefix, c.Number), Body: c.Note, ContentType: "text/plain; charset=utf-8"}
	if b.Retain > 0 {
		o.RetainUntil = c.Time.Add(b.Retain)
	}
	return b.S3.Put(ctx, o)
}

// Hook posts each checkpoint to a URL, signed as Standard Webhooks has it:
//
//	{"type": "ledger.checkpoint", "timestamp": TIME, "data": {"origin": …, "number": …, "size": …, "checkpoint": NOTE}}
type Hook struct {
	URL  string
	Key  []byte // what the message is signed with
	HTTP *http.Client
}

// Put returns when the receiver has answered 2xx.
func (h *Hook) Put(ctx context.Context, origin string, c sequencer.Signed) error {
	body, err := json.Marshal(map[string]any{"type": "ledger.checkpoint", "timestamp": c.Time, "data": map[string]any{
		"origin": origin, "number": c.Number, "size": c.Size, "checkpoint": string(c.Note),
	}})
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header = webhook.Signed(h.Key, fmt.Sprintf("msg_checkpoint%d", c.Number), time.Now(), body)
	resp, err := h.HTTP.Do(req)
	if err != nil {
		if u, ok := errors.AsType[*url.Error](err); ok {
			err = u.Err // without the URL, which may hold a secret
		}
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("the receiver answered %d", resp.StatusCode)
	}
	return nil
}

// Client is for targets that are reached over the network.
func Client() *http.Client { return dial.Proof.Client("") }
