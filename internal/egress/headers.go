package egress

import (
	"net/http"
	"strings"
)

// reserved headers belong to the connection or are set by the client itself.
var reserved = map[string]bool{
	"Accept-Encoding":     true, // decompression is the client's, with its limit
	"Connection":          true,
	"Content-Length":      true,
	"Expect":              true,
	"Host":                true,
	"Keep-Alive":          true,
	"Proxy-Authenticate":  true,
	"Proxy-Authorization": true,
	"Proxy-Connection":    true,
	"Te":                  true,
	"Trailer":             true,
	"Transfer-Encoding":   true,
	"Upgrade":             true,
}

// Headers turns what an author wrote into headers that may be sent, or says with
// a *HeaderError why not.
func Headers(written map[string]string) (http.Header, error) {
	h := make(http.Header, len(written)+3)
	for name, value := range written {
		if !isToken(name) {
			return nil, &HeaderError{Name: name, Reason: "is not a valid name"}
		}
		canonical := http.CanonicalHeaderKey(name)
		if reserved[canonical] {
			return nil, &HeaderError{Name: name, Reason: "cannot be set"}
		}
		if _, twice := h[canonical]; twice {
			return nil, &HeaderError{Name: name, Reason: "is given twice"}
		}
		if strings.ContainsFunc(value, isControl) {
			return nil, &HeaderError{Name: name, Reason: "has a control character in its value"}
		}
		h[canonical] = []string{strings.TrimSpace(value)}
	}
	return h, nil
}

func isToken(s string) bool {
	const marks = "!#$%&'*+-.^_`|~"
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !letter && !strings.ContainsRune(marks, r)
	})
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }
