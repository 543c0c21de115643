package queries

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/tollgate/tollgate/ledger/index"
)

// feedsTime bounds the question for other replicas' feeds when metrics are read.
const feedsTime = 2 * time.Second

// Observe adds the gauge of how far the index is behind: with each replica's entries, where there are several.
func Observe(m metric.Meter, ix *index.Index) error {
	lag, err := m.Float64ObservableGauge("tollgate.index.lag", metric.WithUnit("s"),
		metric.WithDescription("How far the searchable index is behind the entries of each replica."))
	if err != nil {
		return err
	}
	_, err = m.RegisterCallback(func(ctx context.Context, o metric.Observer) error {
		ctx, cancel := context.WithTimeout(ctx, feedsTime)
		defer cancel()
		feeds, _ := ix.Feeds(ctx) // without the database, this one's
		for _, f := range feeds {
			o.ObserveFloat64(lag, f.Lag, metric.WithAttributes(attribute.String("replica", f.Replica)))
		}
		return nil
	}, lag)
	return err
}
