// Package telemetry starts what watches the process: OpenTelemetry traces and metrics, and the Prometheus page.
//
// The gate records every call through the tracer and the meter made here; nothing else in a request's path knows this
// package. Traces and metrics leave by OTLP over HTTP when the standard variables say where
// (OTEL_EXPORTER_OTLP_ENDPOINT or its _TRACES_ and _METRICS_ forms; OTEL_SDK_DISABLED, OTEL_TRACES_EXPORTER=none,
// OTEL_METRICS_EXPORTER=none, OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES are obeyed). Without them no
// span is recorded, but every call still has a trace id, so that the ledger can join the calls of one agent.
package telemetry
