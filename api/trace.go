package api

import (
	"errors"
	"net/http"

	"github.com/gofiber/fiber/v2"
)

// traceRequests puts a span around every request that is routed after it, so health
// and metrics, which are asked all the time, have none. Of a stream the span ends
// with its beginning.
func (a *API) traceRequests(app *fiber.App) {
	tracer := a.deps.Tracer
	if tracer == nil {
		return
	}
	app.Use(func(c *fiber.Ctx) error {
		scheme := "http"
		if a.secure(c) {
			scheme = "https"
		}
		ctx, span := tracer.Request(c.UserContext(), c.Method(), scheme, func(name string) string { return c.Get(name) })
		c.SetUserContext(ctx)
		status := http.StatusInternalServerError // of a panic, which is caught further out
		route := ""
		defer func() { span.End(route, status) }()
		err := c.Next()
		status = c.Response().StatusCode()
		if err != nil {
			status = http.StatusInternalServerError
			if fe, ok := errors.AsType[*fiber.Error](err); ok {
				status = fe.Code
			}
		}
		if r := c.Route().Path; r != "/" || c.Path() == "/" { // else nothing matched but what is before all routes
			route = r
		}
		return err
	})
}
