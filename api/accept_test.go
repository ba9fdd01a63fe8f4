package api

import (
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
)

func TestAStreamIsGivenToThoseWhoLikeItAsMuchAsJSON(t *testing.T) {
	t.Parallel()
	app := fiber.New()
	for header, want := range map[string]bool{
		"":                  false,
		"*/*":               false,
		"application/json":  false,
		"text/event-stream": true,
		"Text/Event-Stream; charset=utf-8; Q=0.5":              true,
		"text/event-stream, application/json":                  true,
		"application/json, text/event-stream;q=0.1":            false,
		"application/json;q=0.1, text/event-stream;q=0.2":      true,
		"text/event-stream;q=0.5, application/*":               false,
		"text/event-stream;q=0.5, */*;q=0.8":                   false,
		"text/event-stream, */*;q=0.8":                         true,
		"text/event-stream;q=0.5, application/json;q=0.1, */*": true,
		"text/event-stream;q=0":                                false,
		"text/event-stream;q=0.000":                            false,
		"text/event-stream;q=lots":                             true,
	} {
		c := app.AcquireCtx(&fasthttp.RequestCtx{})
		c.Request().Header.Set(fiber.HeaderAccept, header)
		require.Equal(t, want, wantsStream(c), header)
		app.ReleaseCtx(c)
	}
}
