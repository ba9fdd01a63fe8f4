package api

import (
	"context"
	"errors"

	"github.com/10ex/flows/models"
)

// Whoami tells whose key was used.
type Whoami struct {
	WorkspaceID models.WorkspaceID `json:"workspace_id"`
	Workspace   whoamiWorkspace    `json:"workspace"`
	KeyID       models.KeyID       `json:"key_id"`
	KeyPrefix   string             `json:"key_prefix"`
	KeyName     string             `json:"key_name"`
	Scopes      []models.Scope     `json:"scopes" nullable:"false"`
	ExpiresAt   maybeStamp         `json:"expires_at"`
}

type whoamiWorkspace struct {
	ID   models.WorkspaceID `json:"id"`
	Name string             `json:"name"`
}

type whoamiAnswer struct{ Body Whoami }

func (a *API) whoami(ctx context.Context, _ *struct{}) (*whoamiAnswer, error) {
	key := caller(ctx)
	ws, err := a.store.Workspace(ctx, key.WorkspaceID)
	if errors.Is(err, models.ErrNotFound) {
		ws, err = &models.Workspace{ID: key.WorkspaceID}, nil
	}
	if err != nil {
		return nil, err
	}
	return &whoamiAnswer{Whoami{
		WorkspaceID: ws.ID, Workspace: whoamiWorkspace{ws.ID, ws.Name}, KeyID: key.ID, KeyPrefix: key.Prefix, KeyName: key.Name,
		Scopes: key.Scopes, ExpiresAt: maybeStamp{key.ExpiresAt},
	}}, nil
}
