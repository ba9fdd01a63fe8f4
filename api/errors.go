package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/models"
)

// problem is the one map from errors to what a client sees. What has no kind is
// an internal error: logged here, and shown as nothing but a request id.
func (a *API) problem(ctx context.Context, err error) *Problem {
	p := a.kindOf(ctx, err)
	out := *p // a Problem may be a shared value
	out.RequestID = requestID(ctx)
	return &out
}

func (a *API) kindOf(ctx context.Context, err error) *Problem {
	var (
		ready    *Problem
		fields   *models.InvalidError
		conflict *models.ConflictError
	)
	switch {
	case errors.As(err, &ready):
		return ready
	case errors.As(err, &fields):
		return invalid(fields.Fields...)
	case errors.As(err, &conflict):
		p := newProblem(http.StatusConflict, conflict.Code, sentence(conflict.Message))
		p.RunID = conflict.Run
		return p
	case errors.Is(err, models.ErrNotFound):
		return newProblem(http.StatusNotFound, codeNotFound, "There is nothing here by that name.")
	case errors.Is(err, models.ErrInvalid):
		return invalid()
	case errors.Is(err, models.ErrUnauthorized):
		return unauthorized()
	case errors.Is(err, models.ErrForbidden):
		return newProblem(http.StatusForbidden, codeForbidden, "The key's scopes do not allow this.")
	case errors.Is(err, models.ErrConflict):
		return newProblem(http.StatusConflict, models.CodeConflict, "Something else has that name, or was changed at the same time.")
	case errors.Is(err, models.ErrPrecondition):
		return newProblem(http.StatusPreconditionFailed, codePrecondition, "It has been changed since; read it again and repeat the change.")
	case errors.Is(err, models.ErrTooLarge):
		return newProblem(http.StatusRequestEntityTooLarge, codeTooLarge, "The request is larger than this server accepts.")
	case errors.Is(err, models.ErrUnavailable), errors.Is(err, context.DeadlineExceeded):
		a.log.WarnContext(ctx, "request could not be answered", obs.Err(err))
		return newProblem(http.StatusServiceUnavailable, codeUnavailable, "A part of the service cannot be reached just now; try again in a moment.").
			header("Retry-After", "1")
	}
	a.log.ErrorContext(ctx, "request failed", obs.Err(err))
	return internal()
}

func internal() *Problem {
	return newProblem(http.StatusInternalServerError, codeInternal, "Something went wrong on our side; the request id names it in our logs.")
}

func unauthorized() *Problem {
	return newProblem(http.StatusUnauthorized, codeUnauthorized, "A valid API key is needed: Authorization: Bearer tnx_….").
		header("WWW-Authenticate", "Bearer")
}

func malformed(detail string) *Problem {
	return newProblem(http.StatusBadRequest, codeMalformed, detail)
}

// ofStatus is the problem of a refusal that comes from below the operations.
func ofStatus(status int) *Problem {
	switch status {
	case http.StatusForbidden:
		return newProblem(status, codeCrossSite, "This was sent by a page of another site.")
	case http.StatusNotFound:
		return newProblem(status, codeNotFound, "There is nothing here by that name.")
	case http.StatusMethodNotAllowed:
		return newProblem(status, codeNotAllowed, "This address does not know that method.")
	case http.StatusRequestTimeout:
		return newProblem(status, codeTimeout, "The request did not arrive in time.")
	case http.StatusRequestEntityTooLarge:
		return newProblem(status, codeTooLarge, "The request is larger than this server accepts.")
	case http.StatusUnsupportedMediaType:
		return newProblem(status, codeMediaType, "The body has to be JSON, sent as application/json.")
	case http.StatusUnprocessableEntity:
		return invalid()
	case http.StatusRequestHeaderFieldsTooLarge:
		return newProblem(status, codeHeaders, "The request's headers are larger than this server accepts.")
	}
	if status >= 500 {
		return internal()
	}
	return newProblem(http.StatusBadRequest, codeMalformed, "The request cannot be read.")
}

// sentence makes an error's words one for people.
func sentence(s string) string {
	if s == "" {
		return s
	}
	if c := s[0]; c >= 'a' && c <= 'z' {
		s = string(c-'a'+'A') + s[1:]
	}
	if last := s[len(s)-1]; last != '.' && last != '!' && last != '?' {
		s += "."
	}
	return s
}
