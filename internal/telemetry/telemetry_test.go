package telemetry

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

func start(t *testing.T) *Telemetry {
	t.Helper()
	tel, err := Start(context.Background(), "test")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tel.Shutdown(context.Background()) })
	return tel
}

func TestEveryCallHasATraceIDWithoutAnExporter(t *testing.T) {
	tel := start(t)
	ctx, span := tel.Tracer.Start(context.Background(), "call")
	if !span.SpanContext().HasTraceID() {
		t.Error("no trace id")
	}
	if span.IsRecording() {
		t.Error("a span is recorded that goes nowhere")
	}
	_, child := tel.Tracer.Start(ctx, "child")
	if child.SpanContext().TraceID() != span.SpanContext().TraceID() {
		t.Error("a child has another trace id")
	}
	remote := trace.NewSpanContext(trace.SpanContextConfig{TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled, Remote: true})
	_, joined := tel.Tracer.Start(trace.ContextWithRemoteSpanContext(context.Background(), remote), "joined")
	if joined.SpanContext().TraceID() != remote.TraceID() {
		t.Error("the caller's trace id is not kept")
	}
}

func TestMetricsPageShowsWhatWasRecorded(t *testing.T) {
	tel := start(t)
	h, err := tel.Meter.Float64Histogram("gen_ai.client.operation.duration", metric.WithUnit("s"))
	if err != nil {
		t.Fatal(err)
	}
	h.Record(context.Background(), 0.5)
	w := httptest.NewRecorder()
	tel.Metrics.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	for _, want := range []string{"gen_ai_client_operation_duration_seconds_count 1", "go_goroutines", `service_version="test"`} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%q is not on the page:\n%s", want, w.Body)
		}
	}
}

func TestSpansLeaveByOTLPWhenTheEnvironmentSaysWhere(t *testing.T) {
	got := make(chan string, 8)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		select {
		case got <- r.URL.Path + " " + string(b):
		default:
		}
	}))
	defer srv.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", srv.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
	tel := start(t)
	_, span := tel.Tracer.Start(context.Background(), "chat demo")
	span.End()
	if err := tel.Shutdown(context.Background()); err != nil {
		t.Fatal(err)
	}
	for range len(got) {
		if text := <-got; strings.HasPrefix(text, "/v1/traces ") && strings.Contains(text, "chat demo") {
			return
		}
	}
	t.Error("the span did not arrive")
}
