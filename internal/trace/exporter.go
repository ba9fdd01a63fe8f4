package trace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	sdk "go.opentelemetry.io/otel/sdk/trace"

	"github.com/10ex/flows/internal/obs"
)

// exporter hands spans over and says now and then that it could not. It can be
// given up, which the SDK's way of stopping cannot.
type exporter struct {
	to      *otlptrace.Exporter
	log     *slog.Logger
	alive   context.Context //nolint:containedctx // it is the exporter's own life
	abandon context.CancelFunc

	mu   sync.Mutex
	lost int       // since it was last said
	said time.Time // the last time
}

// quiet is how long nothing more is said of lost spans.
const quiet = time.Minute

func newExporter(cfg Config) (*exporter, error) {
	e := &exporter{log: cfg.Log}
	e.alive, e.abandon = context.WithCancel(context.Background())
	to, err := otlptrace.New(e.alive, otlptracehttp.NewClient(cfg.options()...))
	if err != nil {
		e.abandon()
		return nil, fmt.Errorf("traces cannot be sent: %w", err)
	}
	e.to = to
	return e, nil
}

// ExportSpans sends spans. It never fails: nobody could do more about it than it
// has done.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(e.alive, cancel)() //nolint:contextcheck // both lives count
	if err := e.to.ExportSpans(ctx, spans); err != nil {
		e.tell(ctx, len(spans), err)
	}
	return nil
}

func (e *exporter) tell(ctx context.Context, n int, err error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lost += n
	if time.Since(e.said) < quiet {
		return
	}
	if withURL, ok := errors.AsType[*url.Error](err); ok {
		err = withURL.Err // the address is the operator's, and may hold a key
	}
	e.log.WarnContext(ctx, "spans were not handed over to the collector", obs.Count(e.lost), obs.Err(err))
	e.lost, e.said = 0, time.Now()
}

// Shutdown ends the exporter.
func (e *exporter) Shutdown(ctx context.Context) error { return e.to.Shutdown(ctx) }

var _ sdk.SpanExporter = (*exporter)(nil)
