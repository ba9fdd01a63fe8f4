package api

import (
	"context"
	"encoding/json"
	"time"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/models"
)

type connectorsAnswer struct{ Body page[connectors.Spec] }

func (a *API) listConnectors(_ context.Context, in *struct{ ListQuery }) (*connectorsAnswer, error) {
	after, err := in.after("connectors")
	if err != nil {
		return nil, err
	}
	out := page[connectors.Spec]{Items: []connectors.Spec{}}
	for _, spec := range a.connectors.BuiltIn().Specs() {
		switch {
		case spec.Slug <= after:
		case len(out.Items) == in.Limit:
			next := encodeCursor("connectors", out.Items[in.Limit-1].Slug)
			out.NextCursor = &next
			return &connectorsAnswer{out}, nil
		default:
			out.Items = append(out.Items, spec)
		}
	}
	return &connectorsAnswer{out}, nil
}

// ConnectorPath is the path of everything about one connector.
type ConnectorPath struct {
	Slug string `path:"slug" doc:"Slug of a connector"`
}

type connectorAnswer struct{ Body connectors.Spec }

func (a *API) getConnector(ctx context.Context, in *ConnectorPath) (*connectorAnswer, error) {
	c, ok, err := a.connectors.Find(ctx, string(workspace(ctx)), in.Slug)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, models.ErrNotFound
	}
	return &connectorAnswer{c.Spec()}, nil
}

type testActionRequest struct {
	ConnectorPath
	Action string `path:"action" doc:"Name of an action"`
	Body   *struct {
		Input      json.RawMessage `json:"input,omitempty"`
		Connection string          `json:"connection,omitempty" doc:"Id of a connection of the connector"`
	}
}

func (a *API) testAction(ctx context.Context, in *testActionRequest) (*testAnswer, error) {
	_, ok, err := a.connectors.Action(ctx, string(workspace(ctx)), in.Slug, in.Action)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, models.ErrNotFound
	}
	req := a.testCall(ctx)
	req.Action = in.Action
	var guard connectors.Guard
	began := time.Now()
	if in.Body != nil {
		req.Input = in.Body.Input
		var err error
		if req.Connection, err = a.openFor(ctx, in.Body.Connection, in.Slug); err != nil {
			return untested(err, time.Since(began))
		}
		guard.Watch(req.Connection)
	}
	resp, err := a.connectors.Do(ctx, in.Slug, req)
	return tested(guard.Response(resp), guard.Error(err), time.Since(began)), nil
}
