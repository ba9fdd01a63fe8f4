package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"
	"github.com/valyala/fasthttp"

	"github.com/10ex/flows/models"
)

// A door is another way to the same operations: something that is asked at an
// address of its own, in a language of its own. It brings nothing along but that
// language. Who asks is found out at the door, and counted once; what is asked for
// goes through the same route, with the same checks, as if it had come by itself.

// passage marks what came through a door.
type passage struct {
	closing <-chan struct{} // closed when the server stops
}

type passageKey struct{}

func throughDoor(ctx context.Context) (*passage, bool) {
	w, ok := ctx.Value(passageKey{}).(*passage)
	return w, ok
}

// startedBy is the kind of trigger that a request to start a run is.
func startedBy(ctx context.Context) models.TriggerType {
	if _, ok := throughDoor(ctx); ok {
		return models.TriggerMCP // the only door there is
	}
	return models.TriggerManual
}

// closing is closed when the server stops, also for a call from within, which has
// no connection of its own.
func closing(ctx context.Context, c *fiber.Ctx) <-chan struct{} {
	if w, ok := throughDoor(ctx); ok {
		return w.closing
	}
	return c.Context().Done()
}

// fromOutside makes a link one that calls from within have behind them.
func fromOutside(link func(huma.Context, func(huma.Context))) func(huma.Context, func(huma.Context)) {
	return func(hc huma.Context, next func(huma.Context)) {
		if _, ok := throughDoor(hc.Context()); ok {
			next(hc)
			return
		}
		link(hc, next)
	}
}

// Open makes a door at path: h answers what callers with a key POST there as JSON,
// one at a time within the caller's rate, and may ask operations by Invoke with the
// context of its request. It has to be called before Listen.
func (a *API) Open(path string, h http.Handler) {
	a.app.Post(path, a.noteOrigin)
	links := huma.Middlewares{a.refuseOtherSites, a.authenticate, a.limitRate}
	op := &huma.Operation{Method: http.MethodPost, Path: path}
	a.huma.Adapter().Handle(op, links.Handler(func(hc huma.Context) { a.serveDoor(hc, path, h) }))
}

// refuseOtherSites keeps pages that a browser has loaded from elsewhere out.
func (a *API) refuseOtherSites(hc huma.Context, next func(huma.Context)) {
	if !sameOrigin(humafiber.Unwrap(hc)) {
		a.refuse(hc, ofStatus(http.StatusForbidden))
		return
	}
	next(hc)
}

func (a *API) serveDoor(hc huma.Context, path string, h http.Handler) {
	c := humafiber.Unwrap(hc)
	if !isJSON(c.Get(fiber.HeaderContentType)) || c.Get(fiber.HeaderContentEncoding) != "" {
		a.refuse(hc, ofStatus(http.StatusUnsupportedMediaType))
		return
	}
	ctx, end := context.WithCancel(context.WithValue(hc.Context(), passageKey{}, &passage{closing: c.Context().Done()}))
	defer end()
	// Nothing of Fiber's goes along: the handler may keep what it gets.
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, path, bytes.NewReader(bytes.Clone(c.Request().Body())))
	if err != nil {
		a.refuse(hc, err)
		return
	}
	for name, values := range c.GetReqHeaders() {
		for _, v := range values {
			req.Header.Add(name, strings.Clone(v))
		}
	}
	req.Header.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	w := &doorWriter{header: http.Header{}, status: http.StatusOK}
	h.ServeHTTP(w, req)
	for name, values := range w.header {
		for _, v := range values {
			c.Set(name, v)
		}
	}
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Status(w.status)
	c.Response().SetBodyRaw(w.body.Bytes())
}

// doorWriter gathers what a door's handler answers.
type doorWriter struct {
	header  http.Header
	status  int
	started bool
	body    bytes.Buffer
}

func (w *doorWriter) Header() http.Header { return w.header }

func (w *doorWriter) WriteHeader(status int) {
	if !w.started {
		w.status, w.started = status, true
	}
}

func (w *doorWriter) Write(b []byte) (int, error) {
	w.started = true
	return w.body.Write(b)
}

// Call asks for an operation from within.
type Call struct {
	// Operation is its name, as the OpenAPI document has it.
	Operation string
	// Path are the values for the braces in its path.
	Path map[string]string
	// Query is its query.
	Query url.Values
	// Header are those of its headers that matter, such as Idempotency-Key.
	Header map[string]string
	// Body is JSON. Nil: none.
	Body []byte
}

// Answer is what an operation answered.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte
}

// OK tells whether the operation did what it was asked for.
func (a *Answer) OK() bool { return a.Status >= 200 && a.Status <= 299 }

// Invoke asks for an operation, for the caller who came through the door that ctx is
// from. The call takes the operation's own route and so meets every check of it;
// what is refused is an Answer, too. An error means that the asking itself was wrong.
func (a *API) Invoke(ctx context.Context, call Call) (*Answer, error) {
	if _, ok := throughDoor(ctx); !ok {
		return nil, errors.New("api: a call from within needs the context of a door")
	}
	r, ok := a.table[call.Operation]
	if !ok {
		return nil, fmt.Errorf("api: there is no operation %q", call.Operation)
	}
	path, err := r.at(call.Path)
	if err != nil {
		return nil, err
	}
	inner := new(fasthttp.RequestCtx)
	inner.Init2(noConn{}, nil, true)
	req := &inner.Request
	req.Header.SetMethod(r.method)
	req.SetRequestURI(path)
	req.URI().SetQueryString(call.Query.Encode())
	for name, value := range call.Header {
		req.Header.Set(name, value)
	}
	if call.Body != nil {
		req.Header.SetContentType(fiber.MIMEApplicationJSON)
		req.SetBodyRaw(call.Body)
	}
	c := a.app.AcquireCtx(inner)
	c.SetUserContext(ctx) // which says who calls
	a.app.ReleaseCtx(c)
	a.app.Handler()(inner)
	resp := &inner.Response
	answer := &Answer{Status: resp.StatusCode(), Header: http.Header{}, Body: bytes.Clone(resp.Body())}
	for name, value := range resp.Header.All() {
		answer.Header.Add(string(name), string(value))
	}
	return answer, nil
}

// Fault says what is wrong with a part of what was asked.
type Fault = models.FieldError

// Refuse answers a call that fits no request of the operation: as the operation does
// where it finds fault, and after its scope has been asked for.
func (a *API) Refuse(ctx context.Context, operation string, faults ...Fault) *Answer {
	p := a.problem(ctx, invalid(faults...))
	if !a.Allows(ctx, operation) {
		p = a.problem(ctx, forbidden(a.table[operation]))
	}
	return &Answer{Status: p.Status, Header: http.Header{fiber.HeaderContentType: {problemType}}, Body: p.json()}
}

// Allows tells whether the caller who came through the door may ask for an operation.
func (a *API) Allows(ctx context.Context, operation string) bool {
	r, ok := a.table[operation]
	key, known := ctx.Value(callerKey{}).(*models.APIKey)
	return ok && known && (r.scope == "" || key.Allows(r.scope))
}

// nobody stands in a path for a name that nothing can have.
const nobody = "-"

// at fills the braces of the route's path. A value that could be no name of
// anything, and might lead to another path, becomes one that names nothing, so that
// it is answered as such after everything that comes before.
func (r route) at(values map[string]string) (string, error) {
	path := r.path
	for {
		before, rest, ok := strings.Cut(path, "{")
		if !ok {
			return path, nil
		}
		name, after, _ := strings.Cut(rest, "}")
		value, given := values[name]
		if !given {
			return "", fmt.Errorf("api: %s needs %s", r.name, name)
		}
		if !goodName(value) {
			value = nobody
		}
		path = before + value + after
	}
}

// goodName tells whether a name is one that something may have. Those of actions have
// dots between words, as crm.create_lead has; a path of dots leads elsewhere.
func goodName(s string) bool {
	for word := range strings.SplitSeq(s, ".") {
		if word == "" {
			return false
		}
		for _, c := range []byte(word) {
			if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '_' && c != '-' {
				return false
			}
		}
	}
	return true
}

// noConn is the connection of a call from within: there is none. Only what is
// answered here is ever asked of it.
type noConn struct{ net.Conn }

func (noConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (noConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (noConn) SetDeadline(time.Time) error      { return nil }
func (noConn) SetReadDeadline(time.Time) error  { return nil }
func (noConn) SetWriteDeadline(time.Time) error { return nil }
