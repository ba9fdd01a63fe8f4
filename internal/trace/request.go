package trace

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strconv"

	"go.opentelemetry.io/otel/codes"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/10ex/flows/internal/obs"
)

// methods are those whose names may be told; any other is somebody's invention.
var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
	http.MethodConnect, http.MethodTrace,
}

func methodOf(name string) string {
	if slices.Contains(methods, name) {
		return name
	}
	return "_OTHER"
}

// headers lets the propagator read a request.
type headers func(name string) string

// Get gives a header.
func (h headers) Get(name string) string { return h(name) }

// Set does nothing: a request is only read.
func (headers) Set(string, string) {}

// Keys is asked by nobody here.
func (headers) Keys() []string { return nil }

// Request begins the span of a request that came in, below the one its caller
// names in traceparent. header gives a header of the request.
func (t *Tracer) Request(ctx context.Context, method, scheme string, header func(name string) string) (context.Context, RequestSpan) {
	if t == nil {
		return ctx, RequestSpan{}
	}
	if !t.ignoreCallers {
		ctx = t.propagator.Extract(ctx, headers(header))
	}
	caller := trace.SpanContextFromContext(ctx)
	method = methodOf(method)
	ctx, span := t.tracer.Start(ctx, method, trace.WithSpanKind(trace.SpanKindServer),
		trace.WithAttributes(semconv.HTTPRequestMethodKey.String(method), semconv.URLScheme(scheme)))
	if !caller.IsValid() { // else the lines of the log have the id already
		ctx = obs.With(ctx, slog.String(logTraceID, span.SpanContext().TraceID().String()))
	}
	return ctx, RequestSpan{span, method}
}

// RequestSpan is the span of a request that came in. The zero RequestSpan is off.
type RequestSpan struct {
	span   trace.Span
	method string
}

// End says what was answered. route is the pattern the address matched, empty if
// none did: the address itself may hold a token.
func (s RequestSpan) End(route string, status int) {
	if s.span == nil {
		return
	}
	if route != "" {
		s.span.SetName(s.method + " " + route)
		s.span.SetAttributes(semconv.HTTPRoute(route))
	}
	s.span.SetAttributes(semconv.HTTPResponseStatusCode(status))
	if status >= http.StatusInternalServerError { // what is below is the client's to mend
		s.span.SetAttributes(semconv.ErrorTypeKey.String(strconv.Itoa(status)))
		s.span.SetStatus(codes.Error, "")
	}
	s.span.End()
}
