package api

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"runtime/debug"
	"time"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/internal/apikey"
	"github.com/10ex/flows/internal/obs"
)

// chain is what a request to an operation goes through, in this order. Each link
// either answers or calls the next.
func (a *API) chain(r route) huma.Middlewares {
	links := huma.Middlewares{
		fromOutside(a.authenticate),
		fromOutside(a.limitRate),
		a.requireScope(r),
	}
	if r.has(follows) || r.has(streams) {
		links = append(links, a.takePlace)
	}
	if r.has(follows) {
		links = append(links, a.follow) // outside of idempotency, which keeps the plain answer
	}
	if r.has(conditional) && r.method == http.MethodGet {
		links = append(links, spareKnown)
	}
	links = append(links, a.checkBody(r))
	if r.has(acts) {
		links = append(links, a.once(r))
	}
	return links
}

// refuse writes err as the answer.
func (a *API) refuse(hc huma.Context, err error) {
	writeProblem(humafiber.Unwrap(hc), a.problem(hc.Context(), err))
}

func writeProblem(c *fiber.Ctx, p *Problem) {
	guard(c)
	for name, values := range p.headers {
		for _, v := range values {
			c.Set(name, v)
		}
	}
	c.Status(p.Status)
	c.Set(fiber.HeaderContentType, p.ContentType(""))
	c.Response().SetBodyRaw(p.json())
}

func (a *API) checkBody(r route) func(huma.Context, func(huma.Context)) {
	return func(hc huma.Context, next func(huma.Context)) {
		c := humafiber.Unwrap(hc)
		encoding := c.Get(fiber.HeaderContentEncoding)
		p := a.bodies.check(r.name, c.Get(fiber.HeaderContentType), encoding, c.Request().Body())
		if p != nil {
			a.refuse(hc, p)
			return
		}
		if encoding != "" {
			// Only requests that read come here with a body, and it must not be unpacked.
			c.Request().Header.Del(fiber.HeaderContentEncoding)
		}
		next(hc)
	}
}

// maxDocumentBody is the most a request with a document in it may be: a document, and
// what it takes to write it into JSON.
const maxDocumentBody = connectors.MaxDocument * 3 / 2

// sizeOfBody gives the few routes that take documents of others room for them, before
// the body has been read. Whoever brings no key gets none.
func (a *API) sizeOfBody(h *fasthttp.RequestHeader) fasthttp.RequestConfig {
	path, _, _ := bytes.Cut(h.RequestURI(), []byte("?"))
	rest, ok := bytes.CutPrefix(path, []byte(base+"/connectors"))
	registers := ok && h.IsPost() && len(rest) == 0
	replaces := ok && string(h.Method()) == fiber.MethodPatch && bytes.Count(rest, []byte("/")) == 1
	key, _ := bytes.CutPrefix(h.Peek(fiber.HeaderAuthorization), []byte("Bearer "))
	if _, _, isKey := apikey.Parse(string(key)); !isKey || !registers && !replaces {
		return fasthttp.RequestConfig{}
	}
	return fasthttp.RequestConfig{MaxRequestBodySize: max(a.cfg.MaxBody, maxDocumentBody)}
}

// guard sets what every answer says: it is what it says it is, and for this client.
func guard(c *fiber.Ctx) {
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	c.Set(fiber.HeaderCacheControl, "no-store")
}

// oneOf lists headers that would be ambiguous if sent twice.
var oneOf = []string{fiber.HeaderAuthorization, headerIdempotency, fiber.HeaderIfMatch, "Last-Event-ID"}

// enter is the first thing every request meets.
func (a *API) enter(c *fiber.Ctx) (err error) {
	ctx := identify(c)
	defer func() {
		if r := recover(); r != nil {
			a.log.ErrorContext(ctx, "request panicked", slog.Any("panic", r), slog.String("stack", string(debug.Stack())))
			c.Response().Reset()
			c.Set(headerRequestID, requestID(ctx))
			writeProblem(c, a.problem(ctx, internal()))
			err = nil
		}
	}()
	began := time.Now()
	defer func() {
		took := time.Since(began)
		a.metrics.observe(c, took)
		a.log.DebugContext(ctx, "request answered", slog.String("method", c.Method()), slog.String("route", c.Route().Path),
			slog.Int("status", c.Response().StatusCode()), obs.Took(took))
	}()
	defer letGo(c)
	guard(c)
	for _, name := range oneOf {
		if len(c.Request().Header.PeekAll(name)) > 1 {
			writeProblem(c, a.problem(ctx, malformed("The header "+name+" stands there twice.")))
			return nil
		}
	}
	if raw := c.Request().URI(); !utf8.Valid(raw.Path()) || !goodQuery(string(raw.QueryString())) {
		writeProblem(c, a.problem(ctx, malformed("The address is not valid UTF-8.")))
		return nil
	}
	if err := c.Next(); err != nil {
		return a.onError(c, err)
	}
	return nil
}

// keptBody is how much memory for bodies a connection may keep for its next request.
const keptBody = 32 << 10

// letGo makes sure that what a large body took is given back once it is sent. Else a
// connection would keep room for the largest it has ever seen, as long as it lives.
func letGo(c *fiber.Ctx) {
	const chunked = -1
	if n := c.Request().Header.ContentLength(); n > keptBody || n == chunked {
		c.Request().SwapBody(nil)
	}
	resp := c.Response()
	if resp.IsBodyStream() {
		return
	}
	if body := resp.Body(); len(body) > keptBody {
		resp.SwapBody(nil)
		resp.SetBodyRaw(body)
	}
}

// goodQuery tells whether a query is text once it is decoded. No database takes
// what is not.
func goodQuery(raw string) bool {
	text, err := url.QueryUnescape(raw)
	return err == nil && utf8.ValidString(text)
}

// onError answers what no handler has: unknown addresses, and requests that were
// refused while they were read.
func (a *API) onError(c *fiber.Ctx, err error) error {
	ctx := identify(c)
	status := http.StatusInternalServerError
	if errors.Is(err, fiber.ErrMethodNotAllowed) && c.Method() == fiber.MethodOptions {
		// The router has listed in Allow what there is. Of other sites nothing is said,
		// so browsers keep their pages out.
		c.Append(fiber.HeaderAllow, fiber.MethodOptions)
		return c.SendStatus(http.StatusNoContent)
	}
	if fe, ok := errors.AsType[*fiber.Error](err); ok {
		status = fe.Code
	} else {
		a.log.ErrorContext(ctx, "request failed", obs.Err(err))
	}
	writeProblem(c, a.problem(ctx, ofStatus(status)))
	return nil
}
