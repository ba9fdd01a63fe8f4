package http

import (
	"context"
	"encoding/json"
	"io"
	nethttp "net/http"

	"github.com/10ex/flows/connectors"
)

// CodeNothingToTest is the code of a connection that names no address to read.
const CodeNothingToTest = "nothing_to_test"

// TestConnection reads the test_url of the connection, or its base_url. At the base
// there need not be anything: there every answer will do but one about credentials or
// of a server in trouble.
func (c *Connector) TestConnection(ctx context.Context, conn *connectors.Connection) error {
	var config struct {
		TestURL string `json:"test_url"`
	}
	if err := json.Unmarshal(conn.Config, &config); err != nil {
		return err
	}
	if config.TestURL == "" && conn.BaseURL == "" {
		return connectors.Permanent(CodeNothingToTest, "the connection has neither a test_url nor a base_url")
	}
	in := input{Method: nethttp.MethodGet, URL: config.TestURL}
	if in.URL == "" {
		in.URL = conn.BaseURL
	}
	req, err := in.request(ctx, conn, "")
	if err != nil {
		return err
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return connectors.NetworkError(ctx, err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode >= 200 && resp.StatusCode <= 299:
	case config.TestURL == "" && resp.StatusCode < 500 && !aboutCredentials(resp.StatusCode):
	default:
		return connectors.HTTPError(resp)
	}
	_, _ = io.CopyN(io.Discard, resp.Body, 64<<10) // so that the connection can be used again
	return nil
}

func aboutCredentials(status int) bool {
	return status == nethttp.StatusUnauthorized || status == nethttp.StatusForbidden ||
		status == nethttp.StatusProxyAuthRequired || status == nethttp.StatusTooManyRequests
}
