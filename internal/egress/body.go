package egress

import (
	"io"
	"net/http"
)

// cappedBody gives at most limit bytes, then a *TooLargeError. It sits outside
// the transport's decompression, so what counts is what reaches memory.
type cappedBody struct {
	io.ReadCloser
	limit, left int64
}

func capBody(resp *http.Response, limit int64) io.ReadCloser {
	b := &cappedBody{ReadCloser: resp.Body, limit: limit, left: limit}
	if resp.ContentLength > limit && resp.Request.Method != http.MethodHead {
		b.left = -1 // announced too large: refuse without reading any of it
	}
	return b
}

func (b *cappedBody) Read(p []byte) (int, error) {
	if b.left < 0 {
		return 0, &TooLargeError{Limit: b.limit}
	}
	// One byte more than allowed tells a body that ends at the limit from one that goes on.
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.ReadCloser.Read(p)
	b.left -= int64(n)
	if b.left < 0 {
		return n - 1, &TooLargeError{Limit: b.limit}
	}
	return n, err
}
