package trace

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"time"

	"github.com/google/uuid"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/10ex/flows/internal/obs"
)

// Config says where spans go and which are made.
type Config struct {
	// Endpoint is the whole address spans are posted to. Default
	// http://localhost:4318/v1/traces.
	Endpoint string
	// Headers are sent along, such as a key of the collector's.
	Headers map[string]string
	// Timeout bounds one request to the collector. Default 10s.
	Timeout time.Duration
	// Uncompressed leaves gzip out.
	Uncompressed bool
	// TLS is for an endpoint of https. Default: the system's authorities.
	TLS *tls.Config
	// Sampler picks the traces that are kept. Default ParentBasedAlwaysOn.
	Sampler Sampler
	// Ratio is the part of traces that the samplers by ratio keep.
	Ratio float64
	// IgnoreCallers makes requests the beginnings of traces even where the caller
	// names one.
	IgnoreCallers bool
	// Service names this process. Default flows.
	Service string
	// Version is this build's.
	Version string
	// Attributes describe this process further.
	Attributes map[string]string
	// Delay is how long an ended span may wait for others to be sent along with.
	// Default 5s.
	Delay time.Duration
	// ExportTimeout bounds the sending of one batch with all repetitions. Default 30s.
	ExportTimeout time.Duration
	// Queue is how many ended spans may wait; more are dropped. Default 2048.
	Queue int
	// Batch is how many spans are sent at once. Default 512.
	Batch int
	// Log hears of spans that were lost. Default: nowhere.
	Log *slog.Logger
}

// Tracer makes spans. It may be used concurrently. Nil is one that is off.
type Tracer struct {
	provider      *sdk.TracerProvider
	tracer        trace.Tracer
	roots         sdk.Sampler // decides on traces that begin here
	exporter      *exporter
	propagator    propagation.TextMapPropagator
	ignoreCallers bool
}

// scope is the name under which spans are made.
const scope = "github.com/10ex/flows"

// New makes a Tracer. It does not reach for the collector, which may be away.
func New(cfg Config) (*Tracer, error) {
	if cfg.Log == nil {
		cfg.Log = obs.Discard()
	}
	cfg.Queue = cmp.Or(cfg.Queue, 2048)
	cfg.Batch = min(cmp.Or(cfg.Batch, 512), cfg.Queue)
	roots, sampler, err := cfg.samplers()
	if err != nil {
		return nil, err
	}
	exp, err := newExporter(cfg)
	if err != nil {
		return nil, err
	}
	provider := sdk.NewTracerProvider(
		sdk.WithResource(cfg.resource()),
		sdk.WithSampler(sampler),
		sdk.WithIDGenerator(idGenerator{}),
		// Said here, so that the SDK's own look at the environment changes nothing.
		sdk.WithRawSpanLimits(sdk.SpanLimits{
			AttributeValueLengthLimit: 1024, AttributeCountLimit: 128, EventCountLimit: 128, LinkCountLimit: 512,
			AttributePerEventCountLimit: 128, AttributePerLinkCountLimit: 128,
		}),
		sdk.WithBatcher(exp,
			sdk.WithBatchTimeout(cmp.Or(cfg.Delay, 5*time.Second)), sdk.WithExportTimeout(cmp.Or(cfg.ExportTimeout, 30*time.Second)),
			sdk.WithMaxQueueSize(cfg.Queue), sdk.WithMaxExportBatchSize(cfg.Batch)),
	)
	return &Tracer{
		provider: provider, tracer: provider.Tracer(scope, trace.WithInstrumentationVersion(cfg.Version)),
		roots: roots, exporter: exp, propagator: propagation.TraceContext{}, ignoreCallers: cfg.IgnoreCallers,
	}, nil
}

func (cfg Config) resource() *resource.Resource {
	attrs := map[attribute.Key]string{
		semconv.ServiceNameKey:       cmp.Or(cfg.Service, "flows"),
		semconv.ServiceInstanceIDKey: uuid.NewString(),
	}
	if cfg.Version != "" {
		attrs[semconv.ServiceVersionKey] = cfg.Version
	}
	for name, value := range cfg.Attributes {
		if name == string(semconv.ServiceNameKey) && cfg.Service != "" {
			continue // the name said by itself counts more
		}
		attrs[attribute.Key(name)] = value
	}
	list := make([]attribute.KeyValue, 0, len(attrs))
	for key, value := range attrs {
		list = append(list, key.String(value))
	}
	own := resource.NewWithAttributes(semconv.SchemaURL, list...)
	// Of equal schemas, so nothing can clash.
	host, err := resource.New(context.Background(), resource.WithHost(), resource.WithTelemetrySDK())
	if err != nil {
		return own // a process without a host's name is described well enough
	}
	merged, err := resource.Merge(host, own)
	if err != nil {
		return own
	}
	return merged
}

func (cfg Config) options() []otlptracehttp.Option {
	compression := otlptracehttp.GzipCompression
	if cfg.Uncompressed {
		compression = otlptracehttp.NoCompression
	}
	opts := []otlptracehttp.Option{
		otlptracehttp.WithEndpointURL(cmp.Or(cfg.Endpoint, "http://localhost:4318/v1/traces")),
		otlptracehttp.WithHeaders(cfg.Headers),
		otlptracehttp.WithTimeout(cmp.Or(cfg.Timeout, 10*time.Second)),
		otlptracehttp.WithCompression(compression),
	}
	if cfg.TLS != nil {
		opts = append(opts, otlptracehttp.WithTLSClientConfig(cfg.TLS))
	}
	return opts
}

// Shutdown sends what waits, until ctx ends; then it gives up. It returns by then
// whether the collector answers or not. No span is made afterwards.
func (t *Tracer) Shutdown(ctx context.Context) error {
	if t == nil {
		return nil
	}
	defer t.exporter.abandon()
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("not all spans were handed over: %w", err)
	}
	return nil
}
