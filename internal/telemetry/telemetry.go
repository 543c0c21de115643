package telemetry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlpmetric/otlpmetrichttp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	otelprom "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/tollgate/tollgate/internal/dial"
)

// scope names the instruments' owner.
const scope = "github.com/tollgate/tollgate"

// metricsRequestsMax bounds how many scrapes run at once.
const metricsRequestsMax = 4

// Telemetry is what watches the process. Safe for concurrent use.
type Telemetry struct {
	Tracer  trace.Tracer
	Meter   metric.Meter
	Metrics http.Handler // the Prometheus page

	shutdown []func(context.Context) error
}

// Start builds tracer, meter and the Prometheus page as the environment says. version is this program's.
func Start(ctx context.Context, version string) (*Telemetry, error) {
	res, err := resource.New(ctx, resource.WithAttributes(attribute.String("service.name", "tollgate"),
		attribute.String("service.version", version)), resource.WithFromEnv(), resource.WithTelemetrySDK())
	if err != nil {
		return nil, fmt.Errorf("telemetry: reading OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	t := &Telemetry{}
	if err := t.startTraces(ctx, res, version); err != nil {
		return nil, err
	}
	if err := t.startMetrics(ctx, res, version); err != nil {
		return nil, errors.Join(err, t.Shutdown(ctx))
	}
	return t, nil
}

// Shutdown flushes what is still to be exported and stops.
func (t *Telemetry) Shutdown(ctx context.Context) error {
	var errs []error
	for _, stop := range t.shutdown {
		errs = append(errs, stop(ctx))
	}
	return errors.Join(errs...)
}

// exports reports whether OTLP is wanted for signal, "TRACES" or "METRICS".
func exports(signal string) bool {
	if os.Getenv("OTEL_SDK_DISABLED") == "true" || os.Getenv("OTEL_"+signal+"_EXPORTER") == "none" {
		return false
	}
	return os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") != "" || os.Getenv("OTEL_EXPORTER_OTLP_"+signal+"_ENDPOINT") != ""
}

func (t *Telemetry) startTraces(ctx context.Context, res *resource.Resource, version string) error {
	opts := []sdktrace.TracerProviderOption{sdktrace.WithResource(res)}
	if exports("TRACES") {
		exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithHTTPClient(dial.Telemetry.Client("")))
		if err != nil {
			return fmt.Errorf("telemetry: starting the OTLP trace exporter: %w", err)
		}
		opts = append(opts, sdktrace.WithBatcher(exporter)) // the sampler is OTEL_TRACES_SAMPLER's
	} else {
		opts = append(opts, sdktrace.WithSampler(sdktrace.NeverSample())) // ids only
	}
	provider := sdktrace.NewTracerProvider(opts...)
	t.shutdown = append(t.shutdown, provider.Shutdown)
	t.Tracer = provider.Tracer(scope, trace.WithInstrumentationVersion(version))
	return nil
}

func (t *Telemetry) startMetrics(ctx context.Context, res *resource.Resource, version string) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	page, err := otelprom.New(otelprom.WithRegisterer(registry), otelprom.WithoutScopeInfo())
	if err != nil {
		return fmt.Errorf("telemetry: starting the Prometheus exporter: %w", err)
	}
	opts := []sdkmetric.Option{sdkmetric.WithResource(res), sdkmetric.WithReader(page)}
	if exports("METRICS") {
		exporter, err := otlpmetrichttp.New(ctx, otlpmetrichttp.WithHTTPClient(dial.Telemetry.Client("")))
		if err != nil {
			return fmt.Errorf("telemetry: starting the OTLP metric exporter: %w", err)
		}
		opts = append(opts, sdkmetric.WithReader(sdkmetric.NewPeriodicReader(exporter)))
	}
	provider := sdkmetric.NewMeterProvider(opts...)
	t.shutdown = append(t.shutdown, provider.Shutdown)
	t.Meter = provider.Meter(scope, metric.WithInstrumentationVersion(version))
	t.Metrics = promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: metricsRequestsMax, EnableOpenMetrics: true})
	return nil
}
