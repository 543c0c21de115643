package gate

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/policy"
)

// labelSetsMax bounds the label sets that are kept, and with them the series a flood of names can make. Calls beyond it
// are counted under the target "other".
const labelSetsMax = 4096

// secondsBuckets are the boundaries that the gen_ai conventions advise for durations.
var secondsBuckets = []float64{0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92}

// tokenBuckets are the boundaries that the gen_ai conventions advise for token counts.
var tokenBuckets = []float64{1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864}

// method is the MCP method of an action, as the mcp.* conventions want it.
var method = map[policy.Action]string{
	policy.ToolList: "tools/list", policy.ToolCall: "tools/call", policy.ResourceList: "resources/list",
	policy.ResourceRead: "resources/read", policy.PromptList: "prompts/list", policy.PromptGet: "prompts/get",
	policy.Complete: "completion/complete", policy.ResourceSubscribe: "resources/subscribe", policy.SessionOpen: "initialize", policy.ServerDiscover: "server/discover",
	policy.ServerPing: "ping", policy.TaskGet: "tasks/get", policy.TaskUpdate: "tasks/update", policy.TaskCancel: "tasks/cancel",
}

// operation is the gen_ai.operation.name of an action.
func operation(a policy.Action) string {
	switch a {
	case policy.Chat, policy.Responses, policy.Messages:
		return "chat"
	case policy.Embeddings:
		return "embeddings"
	case policy.ToolCall:
		return "execute_tool"
	}
	return string(a)
}

// spanOptions are those of every call's span.
var spanOptions = []trace.SpanStartOption{trace.WithSpanKind(trace.SpanKindClient)}

// start fills the call and begins its span.
func (g *Gate) start(ctx context.Context, call *policy.Call) (context.Context, trace.Span) {
	if g.tracer == nil {
		g.fill(ctx, call)
		return ctx, tracenoop.Span{}
	}
	verb := operation(call.Action)
	if m := method[call.Action]; m != "" {
		verb = m
	}
	name := verb
	if call.Target != "" && call.Action != policy.ResourceRead {
		name += " " + call.Target
	}
	ctx, span := g.tracer.Start(ctx, name, spanOptions...)
	g.fill(ctx, call)
	if !span.IsRecording() {
		return ctx, span
	}
	attrs := append(labelsOf(call, "").attributes(), attribute.String("tollgate.call.id", call.ID))
	if call.Principal != nil {
		attrs = append(attrs, attribute.String("tollgate.key", call.Principal.Key))
	}
	span.SetAttributes(attrs...)
	return ctx, span
}

// spanRefused marks a span whose call was not admitted.
func spanRefused(span trace.Span, err error) {
	if !span.IsRecording() {
		return
	}
	kind := reasonOf(err)
	var denied *DeniedError
	if errors.As(err, &denied) {
		kind = "policy"
	}
	span.SetAttributes(attribute.String("error.type", "refused_by_"+kind))
	span.SetStatus(codes.Error, err.Error())
}

// meters are the instruments. The names follow the gen_ai.* and mcp.* conventions; what those lack is tollgate.*.
type meters struct {
	duration metric.Float64Histogram
	tokens   metric.Int64Histogram
	refusals metric.Int64Counter
	cost     metric.Float64ObservableCounter
	active   metric.Int64ObservableUpDownCounter

	mu   sync.RWMutex // guards sets
	sets map[labels]*labelSet
}

// labels are what the series of a call differ in.
type labels struct {
	action           policy.Action
	upstream, target string
	status           ledger.Status
}

// labelSet is labels in the forms the instruments want, made once: a list of options per call would be an allocation
// per call. What only adds up is counted here and read when somebody looks.
type labelSet struct {
	record, in, out []metric.RecordOption
	observe         []metric.ObserveOption
	active          atomic.Int64
	cost            atomic.Int64 // nano-USD
}

func newMeters(m metric.Meter) (*meters, error) {
	if m == nil {
		m = metricnoop.Meter{}
	}
	var errs [5]error
	ms := &meters{sets: map[labels]*labelSet{}}
	ms.duration, errs[0] = m.Float64Histogram("gen_ai.client.operation.duration", metric.WithUnit("s"),
		metric.WithDescription("Time of a call to a model or a tool, from its admission to its end."), metric.WithExplicitBucketBoundaries(secondsBuckets...))
	ms.tokens, errs[1] = m.Int64Histogram("gen_ai.client.token.usage", metric.WithUnit("{token}"),
		metric.WithDescription("Tokens that a model call used."), metric.WithExplicitBucketBoundaries(tokenBuckets...))
	ms.cost, errs[2] = m.Float64ObservableCounter("tollgate.cost", metric.WithUnit("USD"), metric.WithDescription("Money that calls cost, estimates included."))
	ms.refusals, errs[3] = m.Int64Counter("tollgate.refusals", metric.WithUnit("{call}"), metric.WithDescription("Calls not admitted, by reason."))
	ms.active, errs[4] = m.Int64ObservableUpDownCounter("tollgate.active_calls", metric.WithUnit("{call}"), metric.WithDescription("Calls under way."))
	if err := errors.Join(errs[:]...); err != nil {
		return nil, err
	}
	_, err := m.RegisterCallback(ms.observe, ms.cost, ms.active)
	return ms, err
}

// observe reads what is counted in the label sets.
func (ms *meters) observe(_ context.Context, o metric.Observer) error {
	ms.mu.RLock()
	defer ms.mu.RUnlock()
	for l, s := range ms.sets {
		if l.status == "" {
			o.ObserveInt64(ms.active, s.active.Load(), s.observe...)
		} else if n := s.cost.Load(); n > 0 {
			o.ObserveFloat64(ms.cost, float64(n)/float64(ledger.USD), s.observe...)
		}
	}
	return nil
}

// set returns the label set of l, made at most once.
func (ms *meters) set(l labels) *labelSet {
	ms.mu.RLock()
	s, n := ms.sets[l], len(ms.sets)
	ms.mu.RUnlock()
	if s != nil {
		return s
	}
	if n >= labelSetsMax {
		l.target = "other"
	}
	attrs := l.attributes()
	if l.status != "" && l.status != ledger.OK {
		attrs = append(attrs, attribute.String("error.type", string(l.status)))
	}
	of := func(more ...attribute.KeyValue) metric.MeasurementOption {
		return metric.WithAttributeSet(attribute.NewSet(append(attrs[:len(attrs):len(attrs)], more...)...))
	}
	s = &labelSet{
		observe: []metric.ObserveOption{of()}, record: []metric.RecordOption{of()},
		in:  []metric.RecordOption{of(attribute.String("gen_ai.token.type", "input"))},
		out: []metric.RecordOption{of(attribute.String("gen_ai.token.type", "output"))},
	}
	ms.mu.Lock()
	defer ms.mu.Unlock()
	if before := ms.sets[l]; before != nil {
		return before
	}
	ms.sets[l] = s
	return s
}

// attributes are l's in the names of the conventions, without the status.
func (l labels) attributes() []attribute.KeyValue {
	attrs := []attribute.KeyValue{attribute.String("gen_ai.operation.name", operation(l.action))}
	switch l.action.Side() {
	case policy.Models:
		attrs = append(attrs, attribute.String("gen_ai.provider.name", l.upstream))
		if l.target != "" {
			attrs = append(attrs, attribute.String("gen_ai.request.model", l.target))
		}
	case policy.Tools:
		attrs = append(attrs, attribute.String("mcp.method.name", method[l.action]), attribute.String("tollgate.server", l.upstream))
		if l.action == policy.ToolCall && l.target != "" {
			attrs = append(attrs, attribute.String("gen_ai.tool.name", l.target))
		}
	}
	return attrs
}

func labelsOf(c *policy.Call, status ledger.Status) labels {
	l := labels{action: c.Action, upstream: c.Upstream, status: status}
	if c.Action != policy.ResourceRead { // URIs are without number
		l.target = c.Target
	}
	return l
}

func (ms *meters) began(c *policy.Call) {
	ms.set(labels{action: c.Action, upstream: c.Upstream}).active.Add(1)
}

func (ms *meters) refused(ctx context.Context, c *policy.Call, reason string) {
	ms.refusals.Add(ctx, 1, metric.WithAttributes(attribute.String("reason", reason), attribute.String("gen_ai.operation.name", operation(c.Action))))
}

// settled counts a call that has ended and closes its span.
func (g *Gate) settled(p *Permit, o *ledger.Outcome) {
	ctx, ms, q := &p.ctx, g.meters, &o.Usage.Quantities
	ms.set(labels{action: p.call.Action, upstream: p.call.Upstream}).active.Add(-1)
	set := ms.set(labelsOf(&p.call, o.Status))
	ms.duration.Record(ctx, o.Latency.Seconds(), set.record...)
	out := q.OutputTokens + q.ReasoningTokens + q.AudioOutputTokens
	in := q.Tokens() - out
	if p.call.Action.Side() == policy.Models && in+out > 0 {
		ms.tokens.Record(ctx, in, set.in...)
		ms.tokens.Record(ctx, out, set.out...)
	}
	set.cost.Add(int64(o.Usage.Cost))
	if !p.span.IsRecording() {
		return
	}
	p.span.SetAttributes(attribute.Float64("tollgate.cost_usd", float64(o.Usage.Cost)/float64(ledger.USD)))
	if in+out > 0 {
		p.span.SetAttributes(attribute.Int64("gen_ai.usage.input_tokens", in), attribute.Int64("gen_ai.usage.output_tokens", out))
	}
	if o.Status != ledger.OK {
		p.span.SetAttributes(attribute.String("error.type", string(o.Status)))
		p.span.SetStatus(codes.Error, o.Detail)
	}
}
