package trace

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"strconv"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"
)

// Call begins the span of an outbound request, if it is made on behalf of a request
// or step that has one. It gives the request to send in place of req, which it does
// not change, and what to call with the answer.
//
// traceparent is sent only over connections to private and loopback addresses, which
// is where an installation's own services are. Strangers learn nothing, and cannot
// fill somebody's tracing tool with spans of theirs. A header that an author
// wrote stays as it is.
func (t *Tracer) Call(req *http.Request) (*http.Request, func(*http.Response, error)) {
	if t == nil {
		return req, func(*http.Response, error) {}
	}
	parent := trace.SpanContextFromContext(req.Context())
	if !parent.IsValid() {
		return req, func(*http.Response, error) {}
	}
	method := methodOf(req.Method)
	ctx, span := t.tracer.Start(req.Context(), method, trace.WithSpanKind(trace.SpanKindClient))
	if span.IsRecording() {
		span.SetAttributes(semconv.HTTPRequestMethodKey.String(method), semconv.URLScheme(req.URL.Scheme))
		if !strayed(req) {
			span.SetAttributes(semconv.ServerAddress(req.URL.Hostname()), semconv.ServerPort(portOf(req)))
		}
	}
	carries := req.Header.Get(headerTraceparent) != ""
	sent := req.Clone(ctx)
	if !carries {
		// Where a request goes is known when it has its connection, and not before:
		// its head is written after that. A repetition has another one.
		sent = sent.WithContext(httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
			sent.Header.Del(headerTraceparent)
			sent.Header.Del(headerTracestate)
			if ours(info.Conn.RemoteAddr()) {
				t.propagator.Inject(ctx, propagation.HeaderCarrier(sent.Header))
			}
		}}))
	}
	return sent, func(resp *http.Response, err error) {
		switch {
		case err != nil:
			kind := kindOf(err)
			span.SetAttributes(semconv.ErrorTypeKey.String(kind))
			span.SetStatus(codes.Error, kind)
		default:
			span.SetAttributes(semconv.HTTPResponseStatusCode(resp.StatusCode))
			if resp.StatusCode >= http.StatusBadRequest {
				span.SetAttributes(semconv.ErrorTypeKey.String(strconv.Itoa(resp.StatusCode)))
				span.SetStatus(codes.Error, "")
			}
		}
		span.End()
	}
}

// strayed tells whether a redirect leads a request to another host. The other side has
// chosen its name then, and may have made it of what it was sent.
func strayed(req *http.Request) bool {
	first := req
	for first.Response != nil && first.Response.Request != nil {
		first = first.Response.Request
	}
	return first.URL.Host != req.URL.Host
}

const (
	headerTraceparent = "Traceparent"
	headerTracestate  = "Tracestate"
)

// ours tells whether an address is one of this installation's networks. Link-local
// ones are not: clouds answer there.
func ours(at net.Addr) bool {
	tcp, ok := at.(*net.TCPAddr)
	if !ok {
		return false
	}
	ip, ok := netip.AddrFromSlice(tcp.IP)
	if !ok {
		return false
	}
	ip = ip.Unmap()
	return ip.IsLoopback() || ip.IsPrivate()
}

func portOf(req *http.Request) int {
	if n, err := strconv.Atoi(req.URL.Port()); err == nil {
		return n
	}
	if req.URL.Scheme == "https" {
		return 443
	}
	return 80
}

// kindOf tells what went wrong, without the words, which may hold an address.
func kindOf(err error) string {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	}
	return fmt.Sprintf("%T", err)
}
