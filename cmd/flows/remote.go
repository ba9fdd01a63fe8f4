package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// remote is a server that the commands for clients speak to over HTTP, as any other
// client does.
type remote struct {
	base, key string
	client    *http.Client
}

const (
	apiBase = "/api/v1/flows"
	// remotePatience is how long a server may take to answer: longer than any call may.
	remotePatience = 2 * time.Minute
	// maxAnswer is how long an answer may be.
	maxAnswer = 64 << 20
)

// remote gives the server that is set.
func (p *program) remote() (*remote, error) {
	cfg, err := p.config()
	if err != nil {
		return nil, err
	}
	if cfg.APIKey == "" {
		return nil, errors.New("TENEX_API_KEY is not set: it is the API key to work with")
	}
	return &remote{
		base: cfg.APIBase, key: cfg.APIKey,
		client: &http.Client{
			// The key is for the server that was named and for no other.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// call is a request to a server.
type call struct {
	method string
	path   string // below the root of the API; parts of it are escaped already
	query  url.Values
	body   any // nil: none
	header http.Header
}

// at makes a path of parts that may hold anything.
func at(parts ...string) string {
	var path strings.Builder
	for _, part := range parts {
		path.WriteByte('/')
		path.WriteString(url.PathEscape(part))
	}
	return path.String()
}

// begin sends a request and gives the answer if it is a success.
func (r *remote) begin(ctx context.Context, c call) (*http.Response, error) {
	var body io.Reader
	if c.body != nil {
		raw, err := json.Marshal(c.body)
		if err != nil {
			return nil, err
		}
		body = bytes.NewReader(raw)
	}
	address := r.base + apiBase + c.path
	if len(c.query) > 0 {
		address += "?" + c.query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, c.method, address, body)
	if err != nil {
		return nil, err
	}
	if c.header != nil {
		req.Header = c.header.Clone()
	}
	req.Header.Set("Authorization", "Bearer "+r.key)
	req.Header.Set("User-Agent", "flows/"+version)
	if c.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := r.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, &unreachableError{r.base, cause(err)}
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		defer resp.Body.Close()
		return nil, r.refused(resp)
	}
	return resp, nil
}

// do sends a request and gives what is answered: JSON, or nothing.
func (r *remote) do(ctx context.Context, c call) (json.RawMessage, error) {
	ctx, stop := context.WithTimeoutCause(ctx, remotePatience, fmt.Errorf("the server at %s did not answer within %s", r.base, remotePatience))
	defer stop()
	resp, err := r.begin(ctx, c)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	switch {
	case err != nil:
		return nil, &unreachableError{r.base, cause(err)}
	case len(raw) > maxAnswer:
		return nil, fmt.Errorf("the answer of the server at %s is too long", r.base)
	case len(raw) > 0 && !json.Valid(raw):
		return nil, fmt.Errorf("the server at %s is not one of flows: its answer is not JSON", r.base)
	}
	return raw, nil
}

// list reads a list page by page until there are as many rows as wanted; all of them
// where that is 0.
func (r *remote) list(ctx context.Context, path string, query url.Values, wanted int) (json.RawMessage, error) {
	const most = 200 // rows a page
	out := struct {
		Items []json.RawMessage `json:"items"`
		Next  *string           `json:"next_cursor"`
	}{Items: []json.RawMessage{}}
	for {
		size := most
		if wanted > 0 {
			size = min(most, wanted-len(out.Items))
		}
		query.Set("limit", strconv.Itoa(size))
		raw, err := r.do(ctx, call{method: http.MethodGet, path: path, query: query})
		if err != nil {
			return nil, err
		}
		page := out
		page.Items, page.Next = nil, nil
		if err := json.Unmarshal(raw, &page); err != nil {
			return nil, fmt.Errorf("the server at %s is not one of flows: its answer is no list", r.base)
		}
		if len(out.Items) == 0 && (page.Next == nil || len(page.Items) == wanted) {
			return raw, nil // as it came
		}
		out.Items, out.Next = append(out.Items, page.Items...), page.Next
		if page.Next == nil || wanted > 0 && len(out.Items) >= wanted {
			return json.Marshal(out)
		}
		query.Set("cursor", *page.Next)
	}
}

// unreachableError means that no answer came. Asking again may help.
type unreachableError struct {
	base  string
	cause error
}

// Error says which server and why.
func (e *unreachableError) Error() string {
	return fmt.Sprintf("the server at %s cannot be reached: %v", e.base, e.cause)
}

// refusedError is an answer other than success.
type refusedError struct {
	status int
	text   string
}

// Error is one line for people.
func (e *refusedError) Error() string { return e.text }

// refused reads why a request failed.
func (r *remote) refused(resp *http.Response) error {
	raw, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	var problem struct {
		Detail  string `json:"detail"`
		Code    string `json:"code"`
		Request string `json:"request_id"`
		Errors  []struct {
			Loc []any  `json:"loc"`
			Msg string `json:"msg"`
		} `json:"errors"`
	}
	if json.Unmarshal(raw, &problem) != nil || problem.Detail == "" {
		return &refusedError{resp.StatusCode, fmt.Sprintf("the server at %s answered %s", r.base, resp.Status)}
	}
	var text strings.Builder
	text.WriteString(problem.Detail)
	for i, e := range problem.Errors {
		separator := "; "
		if i == 0 {
			separator = " "
		}
		fmt.Fprintf(&text, "%s%s: %s", separator, place(e.Loc), e.Msg)
	}
	fmt.Fprintf(&text, " (%s, request %s)", problem.Code, problem.Request)
	return &refusedError{resp.StatusCode, plain(text.String())}
}

// place writes where in a request something is wrong: body.graph.steps[0].agent.
func place(loc []any) string {
	var b strings.Builder
	for _, part := range loc {
		switch v := part.(type) {
		case float64:
			fmt.Fprintf(&b, "[%d]", int(v))
		default:
			if b.Len() > 0 {
				b.WriteByte('.')
			}
			fmt.Fprint(&b, v)
		}
	}
	return b.String()
}
