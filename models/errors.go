package models

import (
	"errors"
	"fmt"
	"strings"
)

// Kinds of failure a caller can act on. Everything else is an internal error:
// logged for the operator, and shown to a client without its text.
var (
	ErrNotFound     = errors.New("not found")
	ErrInvalid      = errors.New("invalid")
	ErrForbidden    = errors.New("forbidden")
	ErrUnauthorized = errors.New("unauthorized")
	ErrConflict     = errors.New("conflict")
	ErrPrecondition = errors.New("precondition failed")
	ErrTooLarge     = errors.New("too large")
	// ErrUnavailable means a store or broker could not be reached; trying again
	// later may work and nothing half-done stays behind.
	ErrUnavailable = errors.New("unavailable")
)

// Codes of conflicts, as clients see them.
const (
	CodeConflict          = "conflict"
	CodeInvalidState      = "invalid_state"
	CodeWorkflowNotActive = "workflow_not_active"
	CodeVersionArchived   = "version_archived"
	CodeConcurrencyLimit  = "concurrency_limit"
)

// ConflictError says why the present state does not allow what was asked. It is
// an ErrConflict.
type ConflictError struct {
	Code    string // one of the Code… constants
	Message string // a sentence for people
	Run     RunID  // of a start that made no run of its own: the one it gave way to, or became part of
}

// Error gives the sentence.
func (e *ConflictError) Error() string { return e.Message }

// Is makes every ConflictError an ErrConflict.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

// Conflict makes a ConflictError from a format.
func Conflict(code, format string, args ...any) error {
	return &ConflictError{Code: code, Message: fmt.Sprintf(format, args...)}
}

// FieldError is one thing wrong with one place of an input.
type FieldError struct {
	Loc  []any  `json:"loc"` // keys and indexes from the root of the value checked
	Msg  string `json:"msg"`
	Type string `json:"type"` // a stable word: missing, invalid, unknown, limit, cycle, expression, …
}

// InvalidError is an ErrInvalid that names every field at fault.
type InvalidError struct{ Fields []FieldError }

// Error lists the messages; callers that can show fields use Fields.
func (e *InvalidError) Error() string {
	msgs := make([]string, 0, len(e.Fields))
	for _, f := range e.Fields {
		msgs = append(msgs, f.Msg)
	}
	return "invalid: " + strings.Join(msgs, "; ")
}

// Is makes every InvalidError an ErrInvalid.
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid }

// Under returns the fields with prefix put before their places.
func Under(fields []FieldError, prefix ...any) []FieldError {
	out := make([]FieldError, len(fields))
	for i, f := range fields {
		loc := make([]any, 0, len(prefix)+len(f.Loc))
		out[i] = FieldError{Loc: append(append(loc, prefix...), f.Loc...), Msg: f.Msg, Type: f.Type}
	}
	return out
}
