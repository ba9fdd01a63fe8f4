package connectors

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"syscall"

	"github.com/10ex/flows/internal/egress"
)

// NetworkError puts a failure to send a request or to read its answer into a few
// words without addresses: a library's text may hold a URL with a token in it.
// ctx is the one the request ran under.
func NetworkError(ctx context.Context, err error) *Error {
	var e *Error
	if err == nil || errors.As(err, &e) {
		return e
	}
	if e := fromEgress(err); e != nil {
		return e
	}
	e = fromLine(ctx, err)
	var unsent *egress.UnsentError
	e.Unsent = errors.As(err, &unsent)
	return e
}

func fromLine(ctx context.Context, err error) *Error {
	// When the context has ended, err may be its cause, which can be anything.
	if e := fromContext(ctx.Err()); e != nil {
		return e
	}
	if e := fromContext(err); e != nil {
		return e
	}
	return &Error{Code: CodeNetwork, Message: describe(err), Retryable: true, cause: err}
}

// fromEgress covers what the egress rules refused; trying again meets them again.
func fromEgress(err error) *Error {
	var (
		blocked *egress.BlockedError
		large   *egress.TooLargeError
		header  *egress.HeaderError
	)
	switch {
	case errors.As(err, &blocked):
		return &Error{Code: CodeBlocked, Message: blocked.Error(), cause: err}
	case errors.As(err, &large):
		return &Error{Code: CodeTooLarge, Message: large.Error(), cause: err}
	case errors.As(err, &header):
		return &Error{Code: CodeInputInvalid, Message: header.Error(), cause: err}
	case errors.Is(err, egress.ErrTooManyRedirects):
		return &Error{Code: CodeBadResponse, Message: "the server redirected too many times", cause: err}
	}
	return nil
}

func fromContext(err error) *Error {
	var timeout net.Error
	switch {
	case errors.Is(err, context.Canceled):
		return &Error{Code: CodeCancelled, Message: "the action was stopped before it finished", Retryable: true, cause: err}
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return &Error{Code: CodeTimeout, Message: "no complete answer arrived in time", Retryable: true, cause: err}
	}
	return nil
}

func describe(err error) string {
	var (
		dns     *net.DNSError
		cert    *tls.CertificateVerificationError
		invalid x509.CertificateInvalidError
		record  tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &dns):
		return "the host name could not be resolved"
	case errors.As(err, &cert), errors.As(err, &invalid):
		return "the server's certificate is not trusted"
	case errors.As(err, &record):
		return "the server does not speak TLS on this port"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "the connection was refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "the connection was reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection was closed before the answer was complete"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return "the host cannot be reached"
	}
	return "the request could not be completed"
}
