package api

import (
	"bytes"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v2"
	"github.com/stretchr/testify/require"
	"github.com/valyala/fasthttp"
)

// The buffers of a connection are the same for all its requests: what they hold after
// one is what they hold for ever.
func TestConnectionsKeepNoLargeBodies(t *testing.T) {
	t.Parallel()
	app := fiber.New()
	large, small := strings.Repeat("x", keptBody+1), "x"
	for name, send := range map[string]func(*fiber.Ctx, string) error{
		"written": func(c *fiber.Ctx, body string) error { _, err := c.WriteString(body); return err },
		"given":   func(c *fiber.Ctx, body string) error { return c.SendString(body) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := app.AcquireCtx(&fasthttp.RequestCtx{})
			defer app.ReleaseCtx(c)
			for _, body := range []string{small, large} {
				c.Request().SetBodyString(body)
				c.Request().Header.SetContentLength(len(body))
				require.NoError(t, send(c, body))
				letGo(c)
				require.Equal(t, body, string(c.Response().Body()))
				require.LessOrEqual(t, cap(c.Request().SwapBody(nil)), keptBody)
				var sent bytes.Buffer
				_, err := c.Response().WriteTo(&sent)
				require.NoError(t, err)
				require.True(t, strings.HasSuffix(sent.String(), body))
				require.LessOrEqual(t, cap(c.Response().SwapBody(nil)), keptBody)
				c.Response().Reset()
			}
		})
	}
}
