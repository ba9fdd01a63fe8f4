package connectors

import (
	"encoding/json"
	"sync"
)

// Guard takes the secrets of all connections that one attempt uses out of what the
// attempt gives back. It may be used concurrently, and the zero Guard works. Nothing
// of an attempt may be recorded, sent or logged past it.
type Guard struct {
	mu       sync.Mutex
	redactor *Redactor // of all of them: one may be the beginning of another
}

// Watch has the guard look for the secrets of a connection from now on.
func (g *Guard) Watch(c *Connection) {
	r := c.Redactor()
	if r == nil {
		return
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.redactor = g.redactor.with(r)
}

func (g *Guard) watched() *Redactor {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.redactor
}

// Text gives s without secrets.
func (g *Guard) Text(s string) string {
	return g.watched().Text(s)
}

// JSON gives a JSON value without secrets.
func (g *Guard) JSON(v json.RawMessage) json.RawMessage {
	return g.watched().JSON(v)
}

// Error gives an error without secrets.
func (g *Guard) Error(err error) error {
	return g.watched().Error(err)
}

// Response gives a response without secrets.
func (g *Guard) Response(resp Response) Response {
	resp.Output = g.JSON(resp.Output)
	if resp.Usage != nil {
		used := *resp.Usage
		used.Model = g.Text(used.Model)
		resp.Usage = &used
	}
	return resp
}

// Outcome gives what an attempt came to without secrets. An output of more than most
// bytes is a failure, and thrown away unread: to look for secrets in it may take seconds.
func (g *Guard) Outcome(resp Response, err error, most int) (Response, error) {
	if err == nil {
		resp, err = within(resp, most)
	}
	resp, err = g.Response(resp), g.Error(err)
	if err == nil { // what stands in place of secrets may be longer
		resp, err = within(resp, most)
	}
	return resp, err
}

func within(resp Response, most int) (Response, error) {
	size := len(resp.Output)
	if size <= most {
		return resp, nil
	}
	resp.Output = nil
	return resp, Permanent(CodeOutputTooLarge, "the output is %d bytes, more than the %d allowed", size, most)
}

// Longest is how long the longest spelling of a secret may be.
func (g *Guard) Longest() int { return g.watched().Longest() }
