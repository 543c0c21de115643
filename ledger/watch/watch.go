package watch

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/metric"

	"github.com/tollgate/tollgate/ledger"
)

// syncSeconds are the bounds of the histogram: from a disk with its own power to one that makes callers wait.
var syncSeconds = []float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}

// Syncs returns what records how long a sync took, for ledger.Config.SyncTook.
func Syncs(m metric.Meter) (func(time.Duration), error) {
	took, err := m.Float64Histogram("tollgate.journal.sync.duration", metric.WithUnit("s"),
		metric.WithDescription("How long the disk took to make a group of entries durable."), metric.WithExplicitBucketBoundaries(syncSeconds...))
	if err != nil {
		return nil, err
	}
	return func(d time.Duration) { took.Record(context.Background(), d.Seconds()) }, nil
}

// Observe tells of l whenever metrics are read, until stop is called, which is to be before l closes.
func Observe(m metric.Meter, l *ledger.Ledger) (stop func() error, err error) {
	var errs []error
	gauge := func(name, unit, what string) metric.Int64ObservableGauge {
		one, err := m.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(what))
		errs = append(errs, err)
		return one
	}
	waiting := gauge("tollgate.journal.waiting", "By", "Entries that are not on the disk yet.")
	segments := gauge("tollgate.journal.segments", "{file}", "Files of the journal.")
	size := gauge("tollgate.journal.size", "By", "What the journal takes of the disk.")
	free := gauge("tollgate.journal.disk.free", "By", "What is left of the journal's disk.")
	writable := gauge("tollgate.journal.writable", "1", "1 while calls can be recorded, 0 while they are refused because they cannot.")
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	r, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		ready := int64(1)
		if l.Ready() != nil {
			ready = 0
		}
		o.ObserveInt64(writable, ready)
		s, err := l.Stats()
		if err != nil {
			return err
		}
		o.ObserveInt64(waiting, s.WaitingBytes)
		o.ObserveInt64(segments, int64(s.Segments))
		o.ObserveInt64(size, s.Bytes)
		if s.FreeBytes >= 0 {
			o.ObserveInt64(free, s.FreeBytes)
		}
		return nil
	}, waiting, segments, size, free, writable)
	if err != nil {
		return nil, err
	}
	return r.Unregister, nil
}
