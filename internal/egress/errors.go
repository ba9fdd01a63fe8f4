package egress

import (
	"errors"
	"fmt"
)

// ErrTooManyRedirects is returned when a server keeps redirecting.
var ErrTooManyRedirects = errors.New("too many redirects")

// ErrBadRedirect is returned when a server redirects to what is no address.
var ErrBadRedirect = errors.New("the answer redirects to something that is not an address")

// BlockedError says that a request was refused before anything was sent. Its
// text is safe to show: it names the rule, never the address a name resolved to.
type BlockedError struct{ reason string }

func (e *BlockedError) Error() string { return e.reason }

// TooLargeError says that an answer was longer than the client reads.
type TooLargeError struct{ Limit int64 }

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("the answer is larger than %d bytes", e.Limit)
}

// HeaderError says that a header cannot be sent. It names the header and never
// repeats its value.
type HeaderError struct{ Name, Reason string }

func (e *HeaderError) Error() string {
	return fmt.Sprintf("header %q %s", e.Name, e.Reason)
}

func errAddress() error {
	return &BlockedError{reason: "this address is not allowed"}
}

func errScheme() error {
	return &BlockedError{reason: "only http and https addresses are allowed"}
}

func errUserinfo() error {
	return &BlockedError{reason: "a user name or password in an address is not allowed; use a header"}
}

// UnsentError is a failure before anything of a request was sent.
type UnsentError struct{ cause error }

func (e *UnsentError) Error() string { return e.cause.Error() }

// Unwrap gives what failed.
func (e *UnsentError) Unwrap() error { return e.cause }
