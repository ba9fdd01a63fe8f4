package connectors

import (
	"errors"
	"fmt"
	"time"
)

// Error is how an action fails: what a flow and its author get to see. Message
// is for people and holds no secret.
type Error struct {
	Code    string `json:"code"`
	Message string `json:"message"`
	// Status is the HTTP status the other side answered, 0 if it did not.
	Status int `json:"status,omitempty"`
	// Retryable says that trying again may help.
	Retryable bool `json:"retryable"`
	// RetryAfter is how long the other side asked to wait, 0 if it did not.
	RetryAfter time.Duration `json:"-"`
	// Unsent says that nothing the action has to do has reached the other side.
	Unsent bool `json:"-"`
	// Unauthorized says that the other side does not take the credentials.
	Unauthorized bool `json:"-"`

	cause error
}

// Codes of failures that any connector may give. HTTP answers give http_<status>.
const (
	CodeInputInvalid  = "input_invalid"
	CodeOutputInvalid = "output_invalid"
	// CodeOutputTooLarge is the code of an output that is larger than a step may keep.
	CodeOutputTooLarge = "output_too_large"
	CodeUnknownAction  = "unknown_action"
	CodeNetwork        = "network"
	CodeTimeout        = "timeout"
	CodeCancelled      = "cancelled"
	CodeBlocked        = "blocked_address"
	CodeTooLarge       = "too_large"
	CodeBadResponse    = "bad_response"
	CodeInternal       = "internal"
)

// ErrHandedOver is behind the cause of a context that ends because the attempt goes on
// elsewhere: what was begun at the other side must go on, too.
var ErrHandedOver = errors.New("the attempt goes on elsewhere")

func (e *Error) Error() string { return e.Message }

// Unwrap gives what lies behind, for logs and errors.Is; it is never shown.
func (e *Error) Unwrap() error { return e.cause }

// OutcomeUnknown tells whether nobody can say if the other side has done what it was
// asked for: it may have been, and no answer arrived.
func (e *Error) OutcomeUnknown() bool {
	return !e.Unsent && (e.Code == CodeNetwork || e.Code == CodeTimeout)
}

// Permanent makes an *Error that trying again cannot mend. A %w argument becomes
// the hidden cause as well as part of the text.
func Permanent(code, format string, args ...any) error {
	return newError(code, false, format, args)
}

// Retryable makes an *Error that may pass by itself.
func Retryable(code, format string, args ...any) error {
	return newError(code, true, format, args)
}

func newError(code string, retryable bool, format string, args []any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), Retryable: retryable, cause: errors.Unwrap(err)}
}

// RetryAfter makes err retryable, not before d has passed.
func RetryAfter(d time.Duration, err error) error {
	e := *AsError(err)
	e.Retryable, e.RetryAfter = true, max(d, 0)
	return &e
}

// AsError gives the *Error in err. Another error is a connector's own fault: it
// becomes a retryable one whose text tells nothing of the insides.
func AsError(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	if e := fromContext(err); e != nil {
		return e
	}
	return &Error{Code: CodeInternal, Message: "the action failed unexpectedly", Retryable: true, cause: err}
}
