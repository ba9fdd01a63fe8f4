package connections

import (
	"context"
	"encoding/json"
	"errors"
	"slices"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/models"
)

// Codes of actions whose connection cannot be used.
const (
	// CodeGone: there is no such connection in the workspace, or no longer.
	CodeGone = "connection_gone"
	// CodeUnreadable: the secrets do not open with the keys of this installation.
	CodeUnreadable = "connection_unreadable"
)

// Open gives a connection of the workspace with its secrets open, for an action that
// is about to use it. Its error is a *connectors.Error where it is the connection's
// fault, and else of the store.
func (s *Service) Open(ctx context.Context, ws models.WorkspaceID, id string) (*connectors.Connection, error) {
	row, err := s.find(ctx, ws, id)
	if err != nil {
		return nil, err
	}
	return s.openRow(ctx, row, false)
}

func (s *Service) find(ctx context.Context, ws models.WorkspaceID, id string) (*models.Connection, error) {
	err := models.ErrNotFound
	var row *models.Connection
	if models.ValidID(models.ConnectionPrefix, id) {
		row, err = s.store.For(ws).Connection(ctx, models.ConnectionID(id))
	}
	return row, gone(id, err)
}

// gone puts the store's word for what is not there into that of actions.
func gone(id string, err error) error {
	if errors.Is(err, models.ErrNotFound) {
		return connectors.Permanent(CodeGone, "there is no connection %q here, or no longer", id)
	}
	return err
}

// openRow opens a connection. insist has it ask for a token although the other side
// has refused one.
func (s *Service) openRow(ctx context.Context, row *models.Connection, insist bool) (*connectors.Connection, error) {
	c, ok, err := s.deps.Connectors.Find(ctx, string(row.WorkspaceID), row.Connector)
	switch {
	case err != nil:
		return nil, err
	case !ok, c.Spec().Connection == nil:
		return nil, connectors.Permanent(connectors.CodeUnknownConnector, "there is no connector %q for connection %s any more", row.Connector, row.ID)
	}
	out, err := s.unsealed(ctx, row)
	if err != nil {
		return nil, err
	}
	for _, h := range out.Hosts { // the connector may have been bound more tightly since
		pins := c.Spec().Connection.Hosts
		if len(pins) > 0 && !slices.ContainsFunc(pins, func(pin string) bool { return covers(pin, h) }) {
			return nil, connectors.Permanent(connectors.CodeHostNotAllowed, "connection %s is bound to %s, which connector %s is not", row.ID, h, row.Connector)
		}
	}
	if out.Auth.Type == connectors.AuthOAuth2 {
		if err := s.addToken(ctx, row, out, insist); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// unsealed reads a row as those who act want it.
func (s *Service) unsealed(ctx context.Context, row *models.Connection) (*connectors.Connection, error) {
	var config struct {
		Auth    connectors.Auth `json:"auth"`
		BaseURL string          `json:"base_url"`
		Hosts   []string        `json:"hosts"`
		Limits  usage           `json:"limits"`
	}
	err := json.Unmarshal(row.Config, &config)
	if err != nil {
		return nil, err
	}
	out := &connectors.Connection{
		ID: string(row.ID), Connector: row.Connector, Config: row.Config, Auth: config.Auth, BaseURL: config.BaseURL, Hosts: config.Hosts,
		Health:  healthOf(row),
		Secrets: map[string]string{},
	}
	if out.Limits, err = config.Limits.limits(); err != nil {
		return nil, err
	}
	if row.Secrets == nil {
		return out, nil
	}
	if err := s.open(row, sealedSecrets, row.Secrets, &out.Secrets); err != nil {
		return nil, s.unreadable(ctx, row, err)
	}
	return out, nil
}

func (s *Service) unreadable(ctx context.Context, row *models.Connection, err error) error {
	s.log.ErrorContext(ctx, "the secrets of a connection cannot be opened", obs.Workspace(row.WorkspaceID), obs.Err(err))
	return connectors.Permanent(CodeUnreadable, "the secrets of connection %s cannot be opened here: give them again", row.ID)
}

// Connected tells whether a connection has what it takes to act: one of oauth2 has to
// be authorised first.
func Connected(row *models.Connection) bool {
	a, err := authOf(row)
	return err == nil && (a.Type != connectors.AuthOAuth2 || row.Token != nil || a.Grant == grantClient)
}
