package sink

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tollgate/tollgate/ledger/journal"
)

// State says how a sink is.
type State string

// The states.
const (
	Current State = "current" // it has delivered all there is, or is about to
	Behind  State = "behind"  // entries have been waiting for longer than its batches may take
	Failing State = "failing" // the last attempt failed
	Stopped State = "stopped" // no gateway runs
)

// behindAfter is how much later than its batch's wait an entry may be delivered before the sink is behind.
const behindAfter = 10 * time.Second

// Status is how a sink stands.
type Status struct {
	Name       string    `json:"name"`
	Type       string    `json:"type"`
	State      State     `json:"state"`
	LagEntries uint64    `json:"lag_entries"` // on disk and not acknowledged, those it does not want among them
	LagSeconds float64   `json:"lag_seconds"` // age of the oldest that waits
	Sent       uint64    `json:"sent"`        // acknowledged, ever
	Refused    uint64    `json:"refused"`     // put aside, ever
	Failures   uint64    `json:"failures"`    // attempts that failed since the start
	LastSent   time.Time `json:"last_sent,omitzero"`
	Error      string    `json:"error,omitempty"` // why it is failing
	Failed     time.Time `json:"failing_since,omitzero"`
}

// status is how the feed stands at now.
func (f *feed) status(now time.Time) Status {
	end := f.ledger.End()
	f.mu.Lock()
	defer f.mu.Unlock()
	s := Status{
		Name: f.spec.Name, Type: f.spec.Type, State: Current, Sent: f.place.Sent, Refused: f.place.Refused, Failures: f.failures,
		LastSent: f.sentAt,
	}
	all := f.behind + f.appended(end)
	s.LagEntries = all - min(f.passed, all)
	if !f.oldest.IsZero() {
		s.LagSeconds = max(now.Sub(f.oldest).Seconds(), 0)
	}
	switch {
	case f.failing != nil:
		s.State, s.Error, s.Failed = Failing, f.failing.Error(), f.since
	case !f.running:
		s.State = Stopped
	case s.LagSeconds > (f.spec.Batch.Wait + behindAfter).Seconds():
		s.State = Behind
	}
	return s
}

// appended is how many entries this process wrote since counted. mu is held.
func (f *feed) appended(end journal.Position) uint64 {
	if end.Writer == f.counted.Writer {
		return end.Seq - f.counted.Seq
	}
	return end.Seq
}

// waits says that an entry of a time is read and not acknowledged.
func (f *feed) waits(since time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.oldest = since
}

// taken counts entries that the receiver took.
func (f *feed) taken(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.place.Sent += uint64(n)
	if n > 0 {
		f.sentAt = time.Now()
	}
}

// failed notes a failure, and tells the log of the first and then of those that come at the longest interval.
func (f *feed) failed(err error, try int) {
	f.mu.Lock()
	if f.failing == nil || f.since.IsZero() {
		f.since = time.Now()
	}
	f.failing = err
	f.failures++
	f.mu.Unlock()
	if try == 0 || try >= doublings {
		f.log.Warn("a sink cannot deliver; its entries wait in the journal", "err", err, "attempt", try+1)
	}
}

// recovered ends a failure. mu is held.
func (f *feed) recovered() {
	if f.failing != nil {
		f.log.Info("a sink delivers again", "failed_for", time.Since(f.since).Round(time.Second).String())
	}
	f.failing, f.since = nil, time.Time{}
}

// peek finds, when no gateway runs, since when the first entry that the sink wants waits.
func (f *feed) peek() {
	r := f.ledger.Reader(f.position())
	defer r.Close()
	for e, err := range r.All() {
		if err != nil {
			f.mu.Lock()
			f.failing = err
			f.mu.Unlock()
			return
		}
		if !e.Time.Before(f.place.Since) && f.spec.Filter.takes(e) {
			f.waits(e.Time)
			return
		}
	}
}

// watch has m tell of every sink when it is read.
func (s *Set) watch(m metric.Meter) (stop func() error, err error) {
	if m == nil {
		return func() error { return nil }, nil
	}
	lag, err1 := m.Int64ObservableGauge("tollgate.sink.lag", metric.WithUnit("{entry}"), metric.WithDescription("Entries on disk that a sink has not delivered."))
	age, err2 := m.Float64ObservableGauge("tollgate.sink.lag.time", metric.WithUnit("s"), metric.WithDescription("Age of the oldest entry that a sink has not delivered."))
	sent, err3 := m.Int64ObservableCounter("tollgate.sink.sent", metric.WithUnit("{entry}"), metric.WithDescription("Entries that a sink's receiver acknowledged."))
	failed, err4 := m.Int64ObservableCounter("tollgate.sink.failed", metric.WithUnit("{attempt}"), metric.WithDescription("Attempts to deliver that failed."))
	refused, err5 := m.Int64ObservableCounter("tollgate.sink.refused", metric.WithUnit("{entry}"), metric.WithDescription("Entries that were refused for good and put aside."))
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return nil, fmt.Errorf("sinks: metrics: %w", err)
	}
	r, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for _, one := range s.List() {
			of := metric.WithAttributes(attribute.String("sink", one.Name))
			o.ObserveInt64(lag, int64(one.LagEntries), of)
			o.ObserveFloat64(age, one.LagSeconds, of)
			o.ObserveInt64(sent, int64(one.Sent), of)
			o.ObserveInt64(failed, int64(one.Failures), of)
			o.ObserveInt64(refused, int64(one.Refused), of)
		}
		return nil
	}, lag, age, sent, failed, refused)
	if err != nil {
		return nil, fmt.Errorf("sinks: metrics: %w", err)
	}
	return r.Unregister, nil
}
