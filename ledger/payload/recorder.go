package payload

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"log/slog"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"

	"github.com/tollgate/tollgate/internal/postgres"
	"github.com/tollgate/tollgate/internal/redact"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/subject"
)

const (
	// batchMax is how many payloads are stored in one transaction.
	batchMax = 64
	// batchBytes is where a batch ends: what is in it is in memory twice more, and is stored within the time of a
	// transaction by a slow line, too.
	batchBytes = 8 << 20
	// storeGap is the pause before storing is tried again that failed. The queue fills meanwhile.
	storeGap = time.Second
	// sweepGap is how often what is past its retention is deleted.
	sweepGap = time.Hour
	// sweepMax is how many rows are deleted in one transaction.
	sweepMax = 500
	// drainTime is how long a stop waits for the queue.
	drainTime = 10 * time.Second
)

// Config opens a Recorder. Subjects, Digest and Mask are required.
type Config struct {
	Path     string       // the SQLite file; not used with Database
	Database *postgres.DB // shared by several gateways; nil: a file

	Subjects *subject.Subjects
	Digest   func(customer string) hash.Hash // *ledger.Ledger's NewDigest
	Mask     *redact.Mask                    // knows the credentials of the config

	Log   *slog.Logger // nil: silent
	Meter metric.Meter // nil: no metrics
	Now   func() time.Time
}

// Recorder captures payloads and keeps them. All methods are safe for concurrent use.
type Recorder struct {
	cfg    Config
	store  store
	tokens *redact.Tokens
	rules  atomic.Pointer[Rules] // nil: nothing is captured

	retention atomic.Int64 // how long payloads are kept, nanoseconds; 0: they are not deleted
	held      atomic.Int64 // bytes of payloads in memory
	dropped   atomic.Int64 // payloads that there was no room for
	queue     chan *captured
}

// Open opens the table and makes it if need be. Nothing is captured before SetRules, and nothing is stored but by Run.
func Open(ctx context.Context, cfg Config) (*Recorder, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Meter == nil {
		cfg.Meter = metricnoop.Meter{}
	}
	r := &Recorder{cfg: cfg, queue: make(chan *captured, queueMax), tokens: redact.NewTokens(cfg.Subjects.TokenKey(), cfg.Mask)}
	var err error
	if r.store, err = openStore(ctx, cfg); err != nil {
		return nil, fmt.Errorf("open payloads: %w", err)
	}
	_, err = cfg.Meter.Int64ObservableCounter("tollgate.payloads.dropped", metric.WithUnit("{payload}"),
		metric.WithDescription("Payloads of calls that were not kept because the queue was full."),
		metric.WithInt64Callback(func(_ context.Context, o metric.Int64Observer) error {
			o.Observe(r.dropped.Load())
			return nil
		}))
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// SetRules says what is captured from now on, and how long it is kept: zero is for ever. Calls under way stay as they began.
func (r *Recorder) SetRules(rules Rules, retention time.Duration) {
	r.retention.Store(int64(retention))
	if rules.Silent() {
		r.rules.Store(nil)
		return
	}
	r.rules.Store(&rules)
}

// Close closes the file, if there is one. Run must have ended.
func (r *Recorder) Close() error { return r.store.db.Close() }

// Run stores what was captured and deletes what is past its retention, until ctx ends; then it stores what is left.
func (r *Recorder) Run(ctx context.Context) {
	sweep := time.NewTimer(0)
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			r.drain(nil)
			return
		case <-sweep.C:
			sweep.Reset(sweepGap)
			if n, err := r.Sweep(ctx); err != nil {
				r.cfg.Log.Error("payloads past their retention are not deleted", "err", err)
			} else if n > 0 {
				r.cfg.Log.Info("payloads past their retention were deleted", "calls", n)
			}
		case p := <-r.queue:
			if all := r.batch(p); !r.keep(ctx, all) {
				r.drain(all)
				return
			}
		}
	}
}

// batch is p and what is behind it in the queue.
func (r *Recorder) batch(p *captured) []*captured {
	all, held := []*captured{p}, p.held
	for len(all) < batchMax && held < batchBytes {
		select {
		case p := <-r.queue:
			all, held = append(all, p), held+p.held
		default:
			return all
		}
	}
	return all
}

// drain stores what a stop has left: a batch, and what is in the queue.
func (r *Recorder) drain(left []*captured) {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	for r.keep(ctx, left) {
		select {
		case p := <-r.queue:
			left = r.batch(p)
		default:
			return
		}
	}
	r.cfg.Log.Error("payloads of the last calls could not be stored and are lost", "calls", len(left)+len(r.queue))
}

// keep stores payloads, however often that must be tried. It reports false when ctx ended before.
func (r *Recorder) keep(ctx context.Context, all []*captured) bool {
	var rows []row
	for _, p := range all {
		for {
			sealed, err := r.sealed(ctx, p)
			if errors.Is(err, subject.ErrErased) || errors.Is(err, subject.ErrUnknown) {
				break // nobody may read it any more
			}
			if err == nil {
				rows = append(rows, sealed...)
				break
			}
			if !r.again(ctx, "payloads wait for the keys of their subjects", err) {
				return false
			}
		}
	}
	for {
		err := r.store.insert(ctx, rows)
		if err == nil {
			break
		}
		if !r.again(ctx, "payloads are not stored", err) {
			return false
		}
	}
	for _, p := range all {
		r.held.Add(-int64(p.held))
	}
	return true
}

// again waits a while after a failure and reports whether to go on.
func (r *Recorder) again(ctx context.Context, what string, err error) bool {
	if ctx.Err() != nil {
		return false
	}
	r.cfg.Log.Error(what, "err", err)
	pause := time.NewTimer(storeGap)
	defer pause.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-pause.C:
		return true
	}
}

// sealed redacts p if it is to be, and encrypts it for its subject.
func (r *Recorder) sealed(ctx context.Context, p *captured) ([]row, error) {
	id := p.user
	if id == "" {
		var err error
		if id, err = r.cfg.Subjects.OfKey(ctx, p.keyID); err != nil {
			return nil, err
		}
	}
	key, err := r.cfg.Subjects.DataKey(ctx, id)
	if err != nil {
		return nil, err
	}
	answer := withoutMedia(p.answer.text, partBytesMax)
	answer.cut = answer.cut || p.answer.cut
	parts := [...]part{requestPart: p.request, answerPart: answer}
	if p.mode == Redacted {
		names, err := r.cfg.Subjects.Names(ctx, []string{id})
		if err != nil {
			return nil, err
		}
		red := redactor{tokens: r.tokens, name: names[id], with: id}
		for i := range parts {
			parts[i] = red.part(parts[i])
		}
	}
	var rows []row
	for number, part := range parts {
		if len(part.text) == 0 {
			continue
		}
		row := row{call: p.id, part: number, subject: id, mode: p.mode, cut: part.cut, at: p.at}
		row.seal(key, part.text)
		rows = append(rows, row)
	}
	return rows, nil
}

// Payload is what was kept of a call.
type Payload struct {
	Call    ledger.ID `json:"call"`
	Subject string    `json:"subject"`
	Mode    Mode      `json:"mode"`
	Time    time.Time `json:"time"`
	Request string    `json:"request,omitempty"`
	Answer  string    `json:"answer,omitempty"`
	Cut     []string  `json:"cut,omitempty"` // which of them were longer
}

// ErrNone means that nothing is kept of a call.
var ErrNone = errors.New("no payload is kept of this call: it was not captured, or its retention is over")

// Of says whose the payload of a call is and how it was kept, without opening it.
func (r *Recorder) Of(ctx context.Context, call ledger.ID) (Payload, error) {
	rows, err := r.store.read(ctx, call)
	if err != nil {
		return Payload{}, fmt.Errorf("read the payload of %s: %w", call, err)
	}
	if len(rows) == 0 {
		return Payload{}, ErrNone
	}
	return Payload{Call: call, Subject: rows[0].subject, Mode: rows[0].mode, Time: rows[0].at}, nil
}

// Read opens the payload of a call. Whoever reads one must have recorded that before.
func (r *Recorder) Read(ctx context.Context, call ledger.ID) (Payload, error) {
	p, err := r.Of(ctx, call)
	if err != nil {
		return p, err
	}
	key, err := r.cfg.Subjects.DataKey(ctx, p.Subject)
	if err != nil {
		return p, fmt.Errorf("read the payload of %s: %w", call, err)
	}
	rows, err := r.store.read(ctx, call)
	if err != nil {
		return p, fmt.Errorf("read the payload of %s: %w", call, err)
	}
	for _, row := range rows {
		text, err := row.open(key)
		if err != nil {
			return p, fmt.Errorf("read the payload of %s: %w", call, err)
		}
		name := "request"
		if row.part == answerPart {
			p.Answer, name = string(text), "answer"
		} else {
			p.Request = string(text)
		}
		if row.cut {
			p.Cut = append(p.Cut, name)
		}
	}
	return p, nil
}

// Forget deletes all payloads of a subject and returns of how many calls. Those in the queue are not kept either once the
// subject is erased.
func (r *Recorder) Forget(ctx context.Context, subject string) (int, error) {
	n, err := r.store.forget(ctx, subject)
	if err != nil {
		return n, fmt.Errorf("delete the payloads of %s: %w", subject, err)
	}
	return n, nil
}

// Sweep deletes what is past its retention and returns of how many calls that was.
func (r *Recorder) Sweep(ctx context.Context) (int, error) {
	keep := time.Duration(r.retention.Load())
	if keep == 0 {
		return 0, nil
	}
	n, err := r.store.sweep(ctx, r.cfg.Now().Add(-keep))
	if err != nil {
		return n, fmt.Errorf("delete payloads past their retention: %w", err)
	}
	return n, nil
}
