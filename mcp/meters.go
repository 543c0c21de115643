package mcp

import (
	"context"
	"errors"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
)

// watchServers has m tell of every server when it is read. The figures are those of Health; nothing is counted on a call's
// way. stop ends that.
func (g *Gateway) watchServers(m metric.Meter) (stop func() error, err error) {
	if m == nil {
		return func() error { return nil }, nil
	}
	gauge := func(name, unit, what string) metric.Int64ObservableGauge {
		one, problem := m.Int64ObservableGauge(name, metric.WithUnit(unit), metric.WithDescription(what))
		err = errors.Join(err, problem)
		return one
	}
	counter := func(name, unit, what string) metric.Int64ObservableCounter {
		one, problem := m.Int64ObservableCounter(name, metric.WithUnit(unit), metric.WithDescription(what))
		err = errors.Join(err, problem)
		return one
	}
	state := gauge("tollgate.mcp.server.state", "{server}", "1 for the state a tool server is in, 0 for the others.")
	sessions := gauge("tollgate.mcp.server.sessions", "{session}", "Open sessions with a tool server, or its running child processes.")
	streams := gauge("tollgate.mcp.server.streams", "{stream}", "Open streams on which a tool server speaks by itself.")
	questions := counter("tollgate.mcp.server.questions", "{question}", "What a tool server asked callers: elicitation, sampling, roots.")
	reconnects := counter("tollgate.mcp.server.reconnects", "{connection}", "Sessions, streams and child processes opened again after they were lost.")
	if err != nil {
		return nil, fmt.Errorf("mcp: metrics: %w", err)
	}
	r, err := m.RegisterCallback(func(_ context.Context, o metric.Observer) error {
		for _, h := range g.Health() {
			of := attribute.String("server", h.Name)
			for _, s := range [...]State{Connecting, Ready, Unavailable} {
				in := int64(0)
				if s == h.State {
					in = 1
				}
				o.ObserveInt64(state, in, metric.WithAttributes(of, attribute.String("state", string(s))))
			}
			o.ObserveInt64(sessions, int64(h.Sessions), metric.WithAttributes(of))
			o.ObserveInt64(streams, int64(h.Streams), metric.WithAttributes(of))
			o.ObserveInt64(questions, h.Questions, metric.WithAttributes(of))
			o.ObserveInt64(reconnects, h.Reconnects, metric.WithAttributes(of))
		}
		return nil
	}, state, sessions, streams, questions, reconnects)
	if err != nil {
		return nil, fmt.Errorf("mcp: metrics: %w", err)
	}
	return r.Unregister, nil
}
