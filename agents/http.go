package agents

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/internal/egress"
)

const (
	firstPoll = time.Second
	maxPoll   = 10 * time.Second
	// maxPollFaults is how many failed looks in a row end the attempt. One lost
	// look must not: the agent is still at work, and a new attempt starts it again.
	maxPollFaults = 5
)

// runHTTP sends the input to the agent's URL and follows the work to its end.
func (r *Runner) runHTTP(ctx context.Context, a Agent, req Request) (Response, error) {
	cfg, err := parseHTTPConfig(a.Config)
	if err != nil {
		return Response{}, connectors.Permanent(codeConfigInvalid, "the agent's %s", err.Error())
	}
	if cfg.timeout > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, cfg.timeout)
		defer stop()
	}
	hidden := secretsOf(req)
	if a.Connection != "" {
		if cfg.connection, err = r.open(ctx, req.WorkspaceID, a.Connection, slugHTTP); err != nil {
			return Response{}, err
		}
		hidden.Watch(cfg.connection)
	}
	var output json.RawMessage
	burden := connectors.Burden{Connection: cfg.connection, Host: "agent " + a.Slug}
	err = req.Use(ctx, burden, func() (err error) {
		output, err = r.followHTTP(ctx, cfg, req, burden)
		return err
	})
	return Response{Output: hidden.JSON(output)}, hidden.error(err)
}

// followHTTP sends the input and looks until there is an output.
func (r *Runner) followHTTP(ctx context.Context, cfg httpConfig, req Request, burden connectors.Burden) (json.RawMessage, error) {
	if err := req.Begin(ctx); err != nil {
		return nil, err
	}
	header := cfg.header.Clone()
	setDefault(header, "Content-Type", "application/json")
	if req.IdempotencyKey != "" {
		header.Set("Idempotency-Key", req.IdempotencyKey) // a fixed one from the config would make all runs one
	}
	answer, err := r.ask(ctx, cfg, cfg.method, cfg.url, header, req.Input)
	if err != nil {
		return nil, err
	}
	if answer.accepted {
		if answer.location == nil {
			return nil, connectors.Permanent(connectors.CodeBadResponse, "the agent accepted the work without a Location to follow it")
		}
		answer, err = r.poll(ctx, cfg, answer, func(err error) { req.Heed(ctx, burden, err) })
	}
	return answer.output, err
}

// poll looks at the place the agent named until the work is done. missed hears of looks
// that failed.
func (r *Runner) poll(ctx context.Context, cfg httpConfig, answer httpAnswer, missed func(error)) (httpAnswer, error) {
	at, wait, faults := answer.location, firstPoll, 0
	asked := answer.retryAfter
	for {
		pause := asked
		if pause == 0 {
			pause, wait = wait, min(wait*3/2, maxPoll)
		}
		// A place outside cfg.url's origin would be sent its headers.
		if !egress.SameOrigin(cfg.url, at) {
			return httpAnswer{}, connectors.Permanent(connectors.CodeBadResponse, "the agent's Location is on another host")
		}
		if err := r.sleep(ctx, pause); err != nil {
			return httpAnswer{}, connectors.NetworkError(ctx, err)
		}
		answer, err := r.ask(ctx, cfg, http.MethodGet, at, cfg.header.Clone(), nil)
		if err != nil {
			e := connectors.AsError(err)
			if faults++; !e.Retryable || faults >= maxPollFaults || ctx.Err() != nil {
				return httpAnswer{}, err
			}
			missed(err)
			asked = e.RetryAfter
			continue
		}
		if !answer.accepted {
			return answer, nil
		}
		faults, asked = 0, answer.retryAfter
		if answer.location != nil {
			at = answer.location
		}
	}
}

// httpAnswer is what an agent said to one request.
type httpAnswer struct {
	output json.RawMessage

	accepted   bool     // the work goes on
	location   *url.URL // where to look; nil: not told
	retryAfter time.Duration
}

func (r *Runner) ask(ctx context.Context, cfg httpConfig, method string, at *url.URL, header http.Header, body []byte) (httpAnswer, error) {
	req, err := http.NewRequestWithContext(ctx, method, at.String(), bytes.NewReader(body))
	if err != nil {
		return httpAnswer{}, connectors.Permanent(codeConfigInvalid, "the agent's method or url is not valid")
	}
	setDefault(header, "Accept", "application/json")
	req.Header = header
	if err := cfg.connection.Authorize(req); err != nil {
		return httpAnswer{}, err
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return httpAnswer{}, connectors.NetworkError(ctx, err)
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusAccepted:
		location, err := resp.Location()
		if err != nil && !errors.Is(err, http.ErrNoLocation) {
			return httpAnswer{}, connectors.Permanent(connectors.CodeBadResponse, "the agent's Location is not valid")
		}
		return httpAnswer{
			accepted:   true,
			location:   location,
			retryAfter: connectors.ParseRetryAfter(resp.Header, time.Now()),
		}, nil
	case resp.StatusCode < 200 || resp.StatusCode > 299:
		return httpAnswer{}, connectors.HTTPError(resp)
	case resp.StatusCode == http.StatusNoContent:
		return httpAnswer{output: json.RawMessage("null")}, nil
	}
	output, err := readJSON(ctx, resp)
	return httpAnswer{output: output}, err
}

func readJSON(ctx context.Context, resp *http.Response) (json.RawMessage, error) {
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, connectors.NetworkError(ctx, err)
	}
	// Whatever it is called: the work is done, and refusing JSON for its name would lose it.
	return connectors.CleanJSON(body)
}

func setDefault(h http.Header, name, value string) {
	if value != "" && h.Get(name) == "" {
		h.Set(name, value)
	}
}
