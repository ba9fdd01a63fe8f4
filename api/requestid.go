package api

import (
	"context"
	"log/slog"
	"regexp"

	"github.com/gofiber/fiber/v2"

	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/internal/obs"
)

const headerRequestID = "X-Request-Id"

var (
	requestIDForm   = regexp.MustCompile(`^[A-Za-z0-9._:/+=-]{1,128}$`)
	traceparentForm = regexp.MustCompile(`^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}`)
)

type requestIDKey struct{}

// requestID is the request's, from the client or made here.
func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// identify gives the request its id and the logger what names it. It may be
// called twice: errors below the handlers have not been through it.
func identify(c *fiber.Ctx) context.Context {
	ctx := c.UserContext()
	if requestID(ctx) != "" {
		return ctx
	}
	id := c.Get(headerRequestID)
	if !requestIDForm.MatchString(id) {
		id = ids.New("req")
	}
	attrs := []slog.Attr{slog.String("request_id", id)}
	if m := traceparentForm.FindStringSubmatch(c.Get("traceparent")); m != nil {
		attrs = append(attrs, slog.String("trace_id", m[1]))
	}
	ctx = obs.With(context.WithValue(ctx, requestIDKey{}, id), attrs...)
	c.SetUserContext(ctx)
	c.Set(headerRequestID, id)
	return ctx
}
