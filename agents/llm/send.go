package llm

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"mime"
	"net/http"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/internal/egress"
)

// maxAnswer bounds what is read of an answer, streamed or not.
const maxAnswer = 32 << 20

// wire is what both vendors share: JSON over HTTP to a path of a connection.
type wire struct {
	client *egress.Client
	// prepare adds what a vendor wants beside the credentials, and fills in what goes
	// without saying in a connection, of which it gets a copy.
	prepare func(req *http.Request, c *connectors.Connection)
}

// send sends body, if any, and gives an answer that is a success. The caller closes
// its body.
func (w wire) send(ctx context.Context, c *connectors.Connection, method, path, key string, body any) (resp *http.Response, sent int, err error) {
	if c == nil {
		return nil, 0, connectors.Permanent(connectors.CodeNotConnected, "a model is asked over a connection, and there is none")
	}
	var payload []byte
	if body != nil {
		if payload, err = json.Marshal(body); err != nil {
			return nil, 0, connectors.Permanent(connectors.CodeInputInvalid, "the question cannot be written as JSON")
		}
	}
	at, err := c.URL(path)
	if err != nil {
		return nil, 0, err
	}
	req, err := http.NewRequestWithContext(ctx, method, at.String(), bytes.NewReader(payload))
	if err != nil {
		return nil, 0, connectors.Permanent(connectors.CodeInputInvalid, "the connection's base_url is not valid")
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json, text/event-stream")
	if key != "" {
		req.Header.Set("Idempotency-Key", key)
	}
	mine := *c
	w.prepare(req, &mine)
	if err := mine.Authorize(req); err != nil {
		return nil, 0, err
	}
	resp, err = w.client.WithMaxBody(maxAnswer).Do(req)
	if err != nil {
		return nil, 0, connectors.NetworkError(ctx, err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		defer resp.Body.Close()
		return nil, 0, connectors.HTTPError(resp)
	}
	return resp, len(payload), nil
}

// isStream tells whether an answer comes as server-sent events. Some servers give a
// plain answer to who asked for a stream.
func isStream(resp *http.Response) bool {
	media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	return err == nil && media == "text/event-stream"
}

// decode reads a JSON answer.
func decode(ctx context.Context, resp *http.Response, into any) error {
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return connectors.NetworkError(ctx, err)
	}
	if json.Unmarshal(body, into) != nil {
		return connectors.Permanent(connectors.CodeBadResponse, "the model's server did not answer in its protocol")
	}
	return nil
}

// listed is the answer of both vendors to the question which models there are.
type listed struct {
	Data []struct {
		ID string `json:"id"`
	} `json:"data"`
}

func (w wire) models(ctx context.Context, c *connectors.Connection, path string) ([]string, error) {
	resp, _, err := w.send(ctx, c, http.MethodGet, path, "", nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var list listed
	if err := decode(ctx, resp, &list); err != nil {
		return nil, err
	}
	names := make([]string, 0, len(list.Data))
	for _, m := range list.Data {
		names = append(names, m.ID)
	}
	return names, nil
}
