package otlp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	collector "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	common "go.opentelemetry.io/proto/otlp/common/v1"
	logs "go.opentelemetry.io/proto/otlp/logs/v1"
	resource "go.opentelemetry.io/proto/otlp/resource/v1"
	"google.golang.org/protobuf/proto"

	"github.com/tollgate/tollgate/internal/secret"
	"github.com/tollgate/tollgate/ledger"
	"github.com/tollgate/tollgate/ledger/sink"
	"github.com/tollgate/tollgate/ledger/sink/post"
	"github.com/tollgate/tollgate/ledger/sink/shape"
	"github.com/tollgate/tollgate/policy"
)

// logsPath is where receivers of OTLP take logs.
const logsPath = "/v1/logs"

// Config is the receiver.
type Config struct {
	shape.Shape
	URL      string // a URL without a path means its /v1/logs
	Headers  map[string]secret.String
	CA       string // PEM; empty: the system's authorities
	Instance string // service.instance.id; empty: none
}

// Open makes the client; nothing is sent.
func (c Config) Open(context.Context) (sink.Receiver, error) {
	to, err := url.Parse(c.URL)
	if err != nil {
		return nil, errors.New("the url of this sink is not one")
	}
	if to.Path == "" || to.Path == "/" {
		to.Path = logsPath
	}
	client, err := post.New(to.String(), c.CA, c.Headers)
	if err != nil {
		return nil, err
	}
	r := &receiver{to: client, resource: &resource.Resource{Attributes: []*common.KeyValue{text("service.name", "tollgate")}}}
	if c.Instance != "" {
		r.resource.Attributes = append(r.resource.Attributes, text("service.instance.id", c.Instance))
	}
	return r, nil
}

type receiver struct {
	to       *post.Client
	resource *resource.Resource
}

// Send posts a batch. It is acknowledged by an answer that rejects no record.
func (r *receiver) Send(ctx context.Context, batch []sink.Line) error {
	records := make([]*logs.LogRecord, len(batch))
	for i := range batch {
		records[i] = record(&batch[i])
	}
	body, err := proto.Marshal(&collector.ExportLogsServiceRequest{ResourceLogs: []*logs.ResourceLogs{{
		Resource:  r.resource,
		ScopeLogs: []*logs.ScopeLogs{{Scope: &common.InstrumentationScope{Name: "tollgate.ledger"}, LogRecords: records}},
	}}})
	if err != nil {
		return fmt.Errorf("encode a batch: %w", err)
	}
	const protobuf = "application/x-protobuf"
	resp, answer, err := r.to.Do(ctx, post.Gzip(body), http.Header{"Content-Type": {protobuf}, "Content-Encoding": {"gzip"}})
	if err != nil {
		return err
	}
	if err := post.Judge(resp, ""); err != nil {
		return err
	}
	var got collector.ExportLogsServiceResponse
	if resp.Header.Get("Content-Type") != protobuf || proto.Unmarshal(answer, &got) != nil {
		return errors.New("what answers is not a receiver of OTLP in protobuf: check the url of this sink")
	}
	if p := got.GetPartialSuccess(); p.GetRejectedLogRecords() > 0 {
		return &sink.RefusedError{Err: fmt.Errorf("%d of %d records were rejected: %s", p.GetRejectedLogRecords(), len(batch), post.Quoted(p.GetErrorMessage()))}
	}
	return nil
}

// Close releases idle connections.
func (r *receiver) Close() error { return r.to.Close() }

// record is the log record of one entry.
func record(line *sink.Line) *logs.LogRecord {
	e := &line.Entry
	at := uint64(e.Time.UnixNano())
	rec := &logs.LogRecord{
		TimeUnixNano: at, ObservedTimeUnixNano: at, EventName: "tollgate." + e.Kind.String(),
		SeverityNumber: logs.SeverityNumber_SEVERITY_NUMBER_INFO, SeverityText: "INFO",
		Body: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: string(line.Text)}},
	}
	if e.Kind == ledger.Denied || e.Status != "" && e.Status != ledger.OK {
		rec.SeverityNumber, rec.SeverityText = logs.SeverityNumber_SEVERITY_NUMBER_WARN, "WARN"
	}
	if e.Trace != (ledger.TraceID{}) {
		rec.TraceId = e.Trace[:]
	}
	add := func(kv *common.KeyValue) { rec.Attributes = append(rec.Attributes, kv) }
	maybe := func(key, value string) {
		if value != "" {
			add(text(key, value))
		}
	}
	add(text("log.record.uid", e.ID.String()))
	add(text("tollgate.call.id", e.Call().String()))
	maybe("tollgate.action", string(e.Action))
	maybe("tollgate.outcome", string(e.Status))
	maybe("tollgate.key.id", e.Who.KeyID)
	maybe("tollgate.key.name", e.Who.Key)
	maybe("tollgate.team", e.Who.Team)
	maybe("tollgate.customer", e.Who.Customer)
	maybe("user.id", e.Who.User)
	maybe("client.address", e.Source)
	maybe("tollgate.upstream", e.Upstream)
	switch e.Action.Side() {
	case policy.Models:
		maybe("gen_ai.request.model", e.Target)
		maybe("gen_ai.provider.name", e.Upstream)
		if e.Kind == ledger.Posted {
			add(number("gen_ai.usage.input_tokens", e.Quantities.Tokens()-e.Quantities.OutputTokens-e.Quantities.ReasoningTokens-e.Quantities.AudioOutputTokens-e.Quantities.ImageTokens))
			add(number("gen_ai.usage.output_tokens", e.Quantities.OutputTokens+e.Quantities.ReasoningTokens+e.Quantities.AudioOutputTokens+e.Quantities.ImageTokens))
		}
	case policy.Tools:
		if e.Action == policy.ToolCall {
			maybe("gen_ai.tool.name", e.Target)
			add(text("mcp.method.name", "tools/call"))
		} else {
			maybe("tollgate.target", e.Target)
		}
	default:
		maybe("tollgate.target", e.Target)
	}
	if e.Kind == ledger.Posted {
		add(number("tollgate.cost.nano_usd", int64(e.Cost)))
	}
	return rec
}

// text is an attribute. protobuf takes no text that is not UTF-8.
func text(key, value string) *common.KeyValue {
	value = strings.ToValidUTF8(value, "\uFFFD")
	return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_StringValue{StringValue: value}}}
}

func number(key string, value int64) *common.KeyValue {
	return &common.KeyValue{Key: key, Value: &common.AnyValue{Value: &common.AnyValue_IntValue{IntValue: value}}}
}
