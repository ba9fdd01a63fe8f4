package api

import (
	"encoding/json"
	"net/http"

	"github.com/10ex/flows/models"
)

// Problem is every error a client sees (RFC 9457). It carries no stack, no SQL
// and no text of a library.
type Problem struct { //nolint:errname // the RFC's word, and the schema's name in the OpenAPI document
	Type      string              `json:"type" format:"uri-reference" doc:"Where the code is explained"`
	Title     string              `json:"title" doc:"The status in words"`
	Status    int                 `json:"status"`
	Detail    string              `json:"detail" doc:"What happened, for people"`
	Code      string              `json:"code" doc:"What happened, for programs; it does not change"`
	RequestID string              `json:"request_id" doc:"Names this request in the logs"`
	Errors    []models.FieldError `json:"errors,omitempty" doc:"What is wrong with which part of the request"`
	RunID     models.RunID        `json:"run_id,omitempty" doc:"Of a start that made no run: the one it gave way to, or became part of"`

	headers http.Header
}

// Codes of problems, beside those of conflicts in models.
const (
	codeMalformed     = "malformed"
	codeInvalidCursor = "invalid_cursor"
	codeUnauthorized  = "unauthorized"
	codeForbidden     = "forbidden_scope"
	codeCrossSite     = "forbidden_origin"
	codeNotFound      = "not_found"
	codeNotAllowed    = "method_not_allowed"
	codeTimeout       = "request_timeout"
	codePrecondition  = "precondition_failed"
	codeTooLarge      = "too_large"
	codeMediaType     = "unsupported_media_type"
	codeInvalid       = "invalid"
	codeIdempotency   = "idempotency_mismatch"
	codeRateLimited   = "rate_limited"
	codeHeaders       = "headers_too_large"
	codeInternal      = "internal"
	codeUnavailable   = "unavailable"
)

func newProblem(status int, code, detail string) *Problem {
	return &Problem{
		Type: "/docs#" + code, Title: http.StatusText(status), Status: status,
		Detail: detail, Code: code,
	}
}

func invalid(fields ...models.FieldError) *Problem {
	p := newProblem(http.StatusUnprocessableEntity, codeInvalid, "The request is not valid; errors says where.")
	p.Errors = fields
	return p
}

func (p *Problem) header(name, value string) *Problem {
	if p.headers == nil {
		p.headers = http.Header{}
	}
	p.headers.Set(name, value)
	return p
}

// Error is the sentence for people.
func (p *Problem) Error() string { return p.Detail }

// GetStatus gives the status; huma asks for it, and for the two below, to write an
// error as it stands.
func (p *Problem) GetStatus() int { return p.Status }

// GetHeaders gives the headers that go with the answer.
func (p *Problem) GetHeaders() http.Header { return p.headers }

// ContentType is that of problems.
func (p *Problem) ContentType(string) string { return problemType }

const problemType = "application/problem+json"

func (p *Problem) json() []byte {
	b, err := json.Marshal(p)
	if err != nil {
		panic("api: problem: " + err.Error()) // strings and numbers always marshal
	}
	return b
}
