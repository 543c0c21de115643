package splunk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/ledger/sink"
	"github.com/tollgate/tollgate/ledger/sink/post"
	"github.com/tollgate/tollgate/ledger/sink/shape"
)

const (
	eventPath = "/services/collector/event"
	ackPath   = "/services/collector/ack"
	// ackGapMin and ackGapMax are the first and the longest wait before an acknowledgement is asked for again. Splunk
	// forgets those that were told.
	ackGapMin = 20 * time.Millisecond
	ackGapMax = 2 * time.Second
	// ackWait bounds the wait for one.
	ackWait = time.Minute
)

// The codes of the collector's answers that are told apart.
const (
	codeIncorrectIndex = 7
	codeNoChannel      = 10
	codeBadChannel     = 11
	codeAcksOff        = 14
)

// Config is the collector and how events are marked.
type Config struct {
	shape.Shape
	URL        string // scheme and host
	Token      secret.String
	Index      string // empty: the token's
	Source     string
	SourceType string
	Host       string
	Acks       bool
	CA         string // PEM; empty: the system's authorities
}

// Open makes the client and its channel; nothing is sent.
func (c Config) Open(context.Context) (sink.Receiver, error) {
	base, err := url.Parse(c.URL)
	if err != nil {
		return nil, errors.New("the url of this sink is not one")
	}
	r := &receiver{cfg: c, channel: uuid.NewString()}
	headers := map[string]secret.String{"Authorization": secret.New("Splunk " + c.Token.Reveal())}
	if c.Acks {
		headers["X-Splunk-Request-Channel"] = secret.New(r.channel)
		r.acks = base.JoinPath(ackPath).String() + "?channel=" + r.channel
	}
	r.to, err = post.New(base.JoinPath(eventPath).String(), c.CA, headers)
	return r, err
}

type receiver struct {
	cfg     Config
	to      *post.Client
	channel string
	acks    string // URL; empty: not asked
	body    []byte
}

// answer is what the collector says.
type answer struct {
	Text  string `json:"text"`
	Code  int    `json:"code"`
	AckID *int64 `json:"ackId"`
}

// Send posts a batch and, with Acks, waits until it is indexed.
func (r *receiver) Send(ctx context.Context, batch []sink.Line) error {
	if err := r.encode(batch); err != nil {
		return err
	}
	resp, text, err := r.to.Do(ctx, post.Gzip(r.body), http.Header{"Content-Type": {"application/json"}, "Content-Encoding": {"gzip"}})
	if err != nil {
		return err
	}
	var a answer
	decoded := json.Unmarshal(text, &a)
	if err := post.Judge(resp, a.Text); err != nil {
		return settingOr(err, a.Code)
	}
	switch {
	case decoded != nil || a.Code != 0:
		return fmt.Errorf("what answers is not Splunk's event collector: check the url of this sink: %s", post.Quoted(string(text)))
	case !r.cfg.Acks:
		return nil
	case a.AckID == nil:
		return errors.New("the collector gives no acknowledgements: enable them for the token, or write acks: false")
	}
	return r.indexed(ctx, *a.AckID)
}

// settingOr is err, but not as a refusal of entries when it is the sink that is set up wrongly.
func settingOr(err error, code int) error {
	refused, ok := errors.AsType[*sink.RefusedError](err)
	if !ok {
		return err
	}
	switch code {
	case codeIncorrectIndex:
		return fmt.Errorf("%w: the token may not write to this index", refused.Err)
	case codeNoChannel, codeBadChannel, codeAcksOff:
		return fmt.Errorf("%w: write acks: true if the token has acknowledgements, acks: false if not", refused.Err)
	}
	return err
}

// event is one entry as the collector takes it.
type event struct {
	Time       json.Number     `json:"time"` // seconds
	Host       string          `json:"host,omitempty"`
	Source     string          `json:"source,omitempty"`
	SourceType string          `json:"sourcetype,omitempty"`
	Index      string          `json:"index,omitempty"`
	Event      json.RawMessage `json:"event"`
}

func (r *receiver) encode(batch []sink.Line) error {
	r.body = r.body[:0]
	for i := range batch {
		text := json.RawMessage(batch[i].Text)
		if !r.cfg.JSON() {
			text, _ = json.Marshal(string(batch[i].Text)) // a string always can be
		}
		at := batch[i].Entry.Time
		one, err := json.Marshal(event{
			json.Number(strconv.FormatInt(at.Unix(), 10) + fmt.Sprintf(".%06d", at.Nanosecond()/1000)),
			r.cfg.Host, r.cfg.Source, r.cfg.SourceType, r.cfg.Index, text,
		})
		if err != nil {
			return fmt.Errorf("encode entry %s: %w", batch[i].Entry.ID, err)
		}
		r.body = append(append(r.body, one...), '\n')
	}
	return nil
}

// indexed waits until the indexer has what was answered with id.
func (r *receiver) indexed(ctx context.Context, id int64) error {
	ctx, cancel := context.WithTimeout(ctx, ackWait)
	defer cancel()
	question := fmt.Appendf(nil, `{"acks":[%d]}`, id)
	for gap := ackGapMin; ; gap = min(2*gap, ackGapMax) {
		resp, text, err := r.to.DoAt(ctx, r.acks, question, http.Header{"Content-Type": {"application/json"}})
		if err != nil {
			return fmt.Errorf("ask whether a batch is indexed: %w", err)
		}
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("ask whether a batch is indexed: the collector answered %d", resp.StatusCode)
		}
		var a struct {
			Acks map[string]bool `json:"acks"`
		}
		if err := json.Unmarshal(text, &a); err != nil {
			return errors.New("ask whether a batch is indexed: the answer is not one")
		}
		if a.Acks[strconv.FormatInt(id, 10)] {
			return nil
		}
		t := time.NewTimer(gap)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return errors.New("the indexer did not acknowledge a batch in time")
		}
	}
}

// Close releases idle connections.
func (r *receiver) Close() error { return r.to.Close() }
