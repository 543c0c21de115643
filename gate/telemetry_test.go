package gate_test

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/tollgate/tollgate/gate"
	"github.com/tollgate/tollgate/internal/gatetest"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/policy"
)

// watched is a gate whose spans and metrics are kept.
func watched(t *testing.T) (*gatetest.Fixture, *tracetest.InMemoryExporter, *metric.ManualReader) {
	spans, reader := tracetest.NewInMemoryExporter(), metric.NewManualReader()
	f := gatetest.New(t, gatetest.Options{
		Rules:     rules,
		Upstreams: []gate.Upstream{{Side: policy.Models, Name: "gpu"}, {Side: policy.Tools, Name: "srv"}},
		Gate: gate.Config{
			Tracer: sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)).Tracer("test"),
			Meter:  metric.NewMeterProvider(metric.WithReader(reader)).Meter("test"),
		},
	})
	return f, spans, reader
}

func TestSpansAndMetricsOfACall(t *testing.T) {
	f, spans, reader := watched(t)
	chat := policy.Call{Principal: alice, Action: policy.Chat, Upstream: "gpu", Target: "m1", Model: &policy.Model{Provider: "gpu", Name: "m1"}}
	err := f.Gate.Do(t.Context(), chat, ledger.Hold{Cost: 10}, func(ctx context.Context, p *gate.Permit) error {
		p.Sent()
		p.Done(ledger.OK, 200, "")
		_ = p.Charge(ledger.Usage{Cost: 5_000_000_000, Quantities: ledger.Quantities{InputTokens: 100, CacheReadTokens: 20, OutputTokens: 7, ReasoningTokens: 3}})
		return f.Gate.Do(ctx, tool("ok_a"), ledger.Hold{}, func(_ context.Context, p *gate.Permit) error {
			p.Sent()
			p.Done(ledger.Failed, -32000, "broken")
			return nil
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	_ = f.Gate.Do(t.Context(), tool("secret"), ledger.Hold{}, nil)

	want := map[string]string{
		"chat m1":           "gen_ai.operation.name=chat gen_ai.provider.name=gpu gen_ai.request.model=m1 gen_ai.usage.input_tokens=120 gen_ai.usage.output_tokens=10 tollgate.cost_usd=5 tollgate.key=alice",
		"tools/call ok_a":   "error.type=upstream_error gen_ai.operation.name=execute_tool gen_ai.tool.name=ok_a mcp.method.name=tools/call tollgate.cost_usd=0 tollgate.key=alice tollgate.server=srv",
		"tools/call secret": "error.type=refused_by_policy gen_ai.operation.name=execute_tool gen_ai.tool.name=secret mcp.method.name=tools/call tollgate.key=alice tollgate.server=srv",
	}
	for _, s := range spans.GetSpans() {
		if got := attributes(s.Attributes); got != want[s.Name] {
			t.Errorf("span %s:\n got %s\nwant %s", s.Name, got, want[s.Name])
		}
		delete(want, s.Name)
	}
	for name := range want {
		t.Errorf("no span %s", name)
	}
	for _, line := range []string{
		"gen_ai.client.operation.duration gen_ai.operation.name=chat gen_ai.provider.name=gpu gen_ai.request.model=m1: 1 values",
		"gen_ai.client.operation.duration error.type=upstream_error gen_ai.operation.name=execute_tool gen_ai.tool.name=ok_a mcp.method.name=tools/call tollgate.server=srv: 1 values",
		"gen_ai.client.token.usage gen_ai.operation.name=chat gen_ai.provider.name=gpu gen_ai.request.model=m1 gen_ai.token.type=input: sum 120",
		"gen_ai.client.token.usage gen_ai.operation.name=chat gen_ai.provider.name=gpu gen_ai.request.model=m1 gen_ai.token.type=output: sum 10",
		"tollgate.cost gen_ai.operation.name=chat gen_ai.provider.name=gpu gen_ai.request.model=m1: 5",
		"tollgate.refusals gen_ai.operation.name=execute_tool reason=policy: 1",
		"tollgate.active_calls gen_ai.operation.name=chat gen_ai.provider.name=gpu: 0",
	} {
		if got := measured(t, reader); !strings.Contains(got, line+"\n") {
			t.Errorf("no line %q in\n%s", line, got)
		}
	}
}

func TestAgentsTraceIsThatOfItsCalls(t *testing.T) {
	f, spans, _ := watched(t)
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	ctx, agent := provider.Tracer("agent").Start(t.Context(), "agent")
	_ = f.Gate.Do(ctx, tool("ok_a"), ledger.Hold{}, func(_ context.Context, p *gate.Permit) error { p.Sent(); p.Done(ledger.OK, 0, ""); return nil })
	agent.End()
	for _, e := range f.Entries(t) {
		if e.Kind == ledger.Reserved && e.Trace.String() != agent.SpanContext().TraceID().String() {
			t.Errorf("the entry has trace %s, the agent %s", e.Trace, agent.SpanContext().TraceID())
		}
	}
}

// attributes writes attributes in the order of their names, without the call's id.
func attributes(kvs []attribute.KeyValue) string {
	var parts []string
	for _, kv := range kvs {
		if kv.Key != "tollgate.call.id" {
			parts = append(parts, fmt.Sprintf("%s=%s", kv.Key, kv.Value.String()))
		}
	}
	sort.Strings(parts)
	return strings.Join(parts, " ")
}

// measured writes what the instruments hold, a line per series.
func measured(t *testing.T, reader *metric.ManualReader) string {
	t.Helper()
	var data metricdata.ResourceMetrics
	if err := reader.Collect(t.Context(), &data); err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	for _, m := range data.ScopeMetrics[0].Metrics {
		switch d := m.Data.(type) {
		case metricdata.Histogram[float64]:
			for _, p := range d.DataPoints {
				fmt.Fprintf(&b, "%s %s: %d values\n", m.Name, attributes(p.Attributes.ToSlice()), p.Count)
			}
		case metricdata.Histogram[int64]:
			for _, p := range d.DataPoints {
				fmt.Fprintf(&b, "%s %s: sum %d\n", m.Name, attributes(p.Attributes.ToSlice()), p.Sum)
			}
		case metricdata.Sum[float64]:
			for _, p := range d.DataPoints {
				fmt.Fprintf(&b, "%s %s: %v\n", m.Name, attributes(p.Attributes.ToSlice()), p.Value)
			}
		case metricdata.Sum[int64]:
			for _, p := range d.DataPoints {
				fmt.Fprintf(&b, "%s %s: %d\n", m.Name, attributes(p.Attributes.ToSlice()), p.Value)
			}
		}
	}
	return b.String()
}
