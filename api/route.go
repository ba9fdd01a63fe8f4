package api

import (
	"context"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"

	"github.com/10ex/flows/models"
)

// route is a row of the table: an operation and what a request to it must bring.
type route struct {
	method string
	path   string // under the root of the server
	// scope a key needs. Empty: any live key will do.
	scope models.Scope
	// flags say how the route differs from the plainest one.
	flags routeFlags
	name  string // of the operation, as OpenAPI and the metrics have it
	does  string // one line for people
	bind  binder
}

type routeFlags uint8

const (
	// acts: the route makes something or acts, so an Idempotency-Key is obeyed.
	acts routeFlags = 1 << iota
	// created and accepted are the statuses of success, where it is not 200.
	created
	accepted
	// follows: the answer names a run, which can be waited for or streamed.
	follows
	// streams: the answer is a stream of events.
	streams
	// secret: the answer holds one, so it is kept for repetition only in a form
	// that takes the caller's key to read.
	secret
	// conditional: If-Match is obeyed, or If-None-Match where the route reads.
	conditional
	// mayAccept: the answer is 200, or 202 where something was started.
	mayAccept
)

func (r route) has(f routeFlags) bool { return r.flags&f != 0 }

func (r route) status() int {
	switch {
	case r.has(created):
		return http.StatusCreated
	case r.has(accepted):
		return http.StatusAccepted
	case r.method == http.MethodDelete:
		return http.StatusNoContent
	}
	return http.StatusOK
}

// tag groups operations: the noun in the path.
func (r route) tag() string {
	rest := strings.TrimPrefix(strings.TrimPrefix(r.path, base+"/"), adminBase+"/")
	noun, _, _ := strings.Cut(rest, "/")
	return noun
}

// binder puts an operation behind a route.
type binder func(a *API, h huma.API, op huma.Operation)

// bind makes a binder of an operation. The operation gets a deadline, and its
// error becomes a problem here and nowhere else.
func bind[I, O any](do func(context.Context, *I) (*O, error)) binder {
	return func(a *API, h huma.API, op huma.Operation) {
		huma.Register(h, op, func(ctx context.Context, in *I) (*O, error) {
			ctx, stop := context.WithTimeout(ctx, a.cfg.RequestTimeout)
			defer stop()
			out, err := do(ctx, in)
			if err != nil {
				return nil, a.problem(ctx, err)
			}
			return out, nil
		})
	}
}

// register puts a route into the server and into the OpenAPI document.
func (a *API) register(h huma.API, r route) {
	op := huma.Operation{
		OperationID:   r.name,
		Method:        r.method,
		Path:          r.path,
		Summary:       r.does,
		Tags:          []string{r.tag()},
		DefaultStatus: r.status(),
		Security:      []map[string][]string{{securityName: {}}},
		Middlewares:   a.chain(r),
		// The body has been checked on the way, against the same schema.
		SkipValidateBody: true,
		MaxBodyBytes:     -1,
		BodyReadTimeout:  -1,
	}
	op.Errors = []int{
		http.StatusBadRequest, http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusConflict,
		http.StatusUnprocessableEntity, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable,
	}
	if r.method != http.MethodGet {
		op.Errors = append(op.Errors, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType)
	}
	if r.has(conditional) && r.method != http.MethodGet {
		op.Errors = append(op.Errors, http.StatusPreconditionFailed)
	}
	if r.scope != "" {
		op.Description = "Needs a key with the scope `" + string(r.scope) + "`."
		op.Extensions = map[string]any{"x-scope": string(r.scope)}
	}
	a.document(&op, r)
	r.bind(a, h, op)
	if r.method == http.MethodGet && !r.has(streams) {
		// Whoever may GET may ask for the headers alone. The document need not say so.
		op.Method, op.Hidden = http.MethodHead, true
		r.bind(a, h, op)
	}
}

// document adds to the OpenAPI document what cannot be read off the types.
func (a *API) document(op *huma.Operation, r route) {
	if r.has(acts) {
		op.Parameters = append(op.Parameters, &huma.Param{
			Name: headerIdempotency, In: "header", Schema: &huma.Schema{Type: huma.TypeString, MinLength: new(1), MaxLength: new(255)},
			Description: "Repeating the request with the same key gives the first answer again and has no second effect. Kept for 24 hours.",
		})
	}
	if r.has(follows) {
		op.Parameters = append(op.Parameters, &huma.Param{
			Name: "Prefer", In: "header", Schema: &huma.Schema{Type: huma.TypeString},
			Description: "wait=N answers with the finished run if it ends within N seconds (1 to 60).",
		})
		op.Description += " With `Accept: text/event-stream` the answer is the run's stream instead."
	}
	if r.has(conditional) && r.method == http.MethodGet {
		op.Parameters = append(op.Parameters, &huma.Param{
			Name: fiber.HeaderIfNoneMatch, In: "header", Schema: &huma.Schema{Type: huma.TypeString},
			Description: "ETags of states the client has; the answer is 304 without a body where it is in one of them.",
		})
		op.Responses = map[string]*huma.Response{"304": {Description: "It is as the client has it"}}
	}
	if r.has(mayAccept) {
		op.Responses = map[string]*huma.Response{"202": {
			Description: "Something was started",
			Content:     map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Ref: "#/components/schemas/BulkResult"}}},
		}}
	}
	if r.has(follows) || r.has(streams) {
		status := "202"
		if r.has(streams) {
			status = "200"
		}
		op.Responses = map[string]*huma.Response{status: {
			Description: http.StatusText(r.status()),
			Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}}},
		}}
		if r.has(streams) {
			op.Responses["204"] = &huma.Response{Description: "The run has ended, and all of its log was seen"}
		}
		if r.has(follows) {
			op.Responses[status].Content["application/json"] = &huma.MediaType{}
			op.Responses["200"] = &huma.Response{
				Description: "The run has ended within the time given by Prefer",
				Content:     map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{Ref: "#/components/schemas/Run"}}},
			}
		}
	}
}
