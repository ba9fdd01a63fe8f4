package connections

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/internal/clock"
	"github.com/10ex/flows/internal/egress"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/internal/seal"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// Deps are what a Service works with. All are required but Clock and Log.
type Deps struct {
	Store      *store.Store
	Connectors *connectors.Catalogue
	Seal       *seal.Ring
	Egress     *egress.Client
	// Clock tells the time. Default: this process's.
	Clock clock.Clock
	// Log gets what the service has to say. Default: nowhere.
	Log *slog.Logger
}

// Service keeps connections. It may be used concurrently.
type Service struct {
	deps  Deps
	store *store.Store
	clock clock.Clock
	log   *slog.Logger
	turns turns // to ask for a token
	// noting holds the ids of connections whose health is being written down.
	noting sync.Map
}

// New makes a Service.
func New(deps Deps) (*Service, error) {
	if deps.Store == nil || deps.Connectors == nil || deps.Seal == nil || deps.Egress == nil {
		return nil, errors.New("connections: a dependency is missing")
	}
	if deps.Clock == nil {
		deps.Clock = clock.System{}
	}
	if deps.Log == nil {
		deps.Log = obs.Discard()
	}
	return &Service{deps: deps, store: deps.Store, clock: deps.Clock, log: deps.Log}, nil
}

// Draft is a connection as somebody wants it.
type Draft struct {
	Connector string
	Name      string
	Config    json.RawMessage // nil: as the connector has it
	Secrets   map[string]string
}

// Create keeps a new connection. A *models.InvalidError names the fields that are
// wrong, a conflict a name that is taken. The id comes from ctx, so a request that is
// repeated finds what it made.
func (s *Service) Create(ctx context.Context, ws models.WorkspaceID, d Draft) (*models.Connection, error) {
	spec, err := s.specOf(ctx, ws, d.Connector)
	if err != nil {
		return nil, err
	}
	wanted, found := resolve(spec, d.Config)
	if len(found) == 0 {
		found = wanted.checkSecrets(spec, d.Secrets)
	}
	if len(found) > 0 {
		return nil, &models.InvalidError{Fields: found}
	}
	now := s.clock.Now()
	row := &models.Connection{
		WorkspaceID: ws, ID: models.ConnectionID(ids.Make(ctx, models.ConnectionPrefix)), Connector: d.Connector, Name: d.Name,
		Config: wanted.config, Status: models.ConnectionUnknown, CreatedAt: now, UpdatedAt: now,
	}
	if err := s.sealSecrets(row, d.Secrets); err != nil {
		return nil, err
	}
	t := s.store.For(ws)
	if err := t.CreateConnection(ctx, row); err != nil {
		have, missing := t.Connection(ctx, row.ID)
		if !errors.Is(err, models.ErrConflict) || missing != nil {
			return nil, err
		}
		return have, nil // a repeated request, the first try of which got this far
	}
	return row, nil
}

// Change is what is to become different about a connection. What is nil stays.
type Change struct {
	Name    *string
	Config  json.RawMessage
	Secrets map[string]string // all of them: those that are not named are forgotten
}

// Update changes a connection. A config that differs needs the secrets again, for it
// says where they go; whoever cannot name them cannot send them elsewhere. Tokens of
// the config before are forgotten with it.
func (s *Service) Update(ctx context.Context, ws models.WorkspaceID, id models.ConnectionID, c Change) (*models.Connection, error) {
	t := s.store.For(ws)
	row, err := t.Connection(ctx, id)
	if err != nil {
		return nil, err
	}
	spec, err := s.specOf(ctx, ws, row.Connector)
	if err != nil {
		return nil, err
	}
	return t.UpdateConnection(ctx, id, func(row *models.Connection) error {
		if c.Name != nil {
			row.Name = *c.Name
		}
		if err := s.reconfigure(row, spec, c); err != nil {
			return err
		}
		row.UpdatedAt = s.clock.Now()
		return nil
	})
}

func (s *Service) reconfigure(row *models.Connection, spec *connectors.ConnectionSpec, c Change) error {
	raw := c.Config
	switch {
	case raw == nil && c.Secrets == nil:
		return nil // another name is no reason to judge what is kept by what holds today
	case raw == nil:
		raw = row.Config
	}
	wanted, found := resolve(spec, raw)
	if len(found) > 0 {
		return &models.InvalidError{Fields: found}
	}
	moved := !sameJSON(withoutLimits(wanted.config), withoutLimits(row.Config))
	if !moved && c.Secrets == nil {
		row.Config = wanted.config // how much it is used is no matter of where its secrets go
		return nil
	}
	if c.Secrets == nil {
		found = wanted.secretsAgain(spec, row.SecretNames)
	} else {
		found = wanted.checkSecrets(spec, c.Secrets)
	}
	if len(found) > 0 {
		return &models.InvalidError{Fields: found}
	}
	row.Config = wanted.config
	row.Status, row.LastCheckedAt, row.LastError = models.ConnectionUnknown, nil, ""
	if moved || wanted.auth.Grant == grantClient {
		forgetToken(row)
	}
	return s.sealSecrets(row, c.Secrets)
}

// dropToken takes away what OAuth gave. A person who is on the way to authorise the
// connection again goes on.
func dropToken(row *models.Connection) {
	row.Token, row.TokenExpiresAt, row.TokenVersion = nil, nil, row.TokenVersion+1
	row.RefreshLease, row.RefreshUntil = "", nil
}

// forgetToken takes away what OAuth gave, and what is under way to get it.
func forgetToken(row *models.Connection) {
	dropToken(row)
	row.StateHash, row.Pending, row.StateExpiresAt = nil, nil, nil
}

// Get gives a connection.
func (s *Service) Get(ctx context.Context, ws models.WorkspaceID, id models.ConnectionID) (*models.Connection, error) {
	return s.store.For(ws).Connection(ctx, id)
}

// List lists connections, the newest first.
func (s *Service) List(ctx context.Context, ws models.WorkspaceID, f store.ConnectionFilter, p store.Page) ([]*models.Connection, error) {
	return s.store.For(ws).Connections(ctx, f, p)
}

// Delete forgets a connection and its secrets. Steps that name it fail from then on.
func (s *Service) Delete(ctx context.Context, ws models.WorkspaceID, id models.ConnectionID) error {
	return s.store.For(ws).DeleteConnection(ctx, id)
}

// specOf tells what a connector takes. The error of one that takes nothing is a
// *models.InvalidError.
func (s *Service) specOf(ctx context.Context, ws models.WorkspaceID, slug string) (*connectors.ConnectionSpec, error) {
	c, ok, err := s.deps.Connectors.Find(ctx, string(ws), slug)
	switch {
	case err != nil:
		return nil, err
	case !ok:
		return nil, wrong("unknown", "there is no such connector", "connector")
	}
	spec := c.Spec().Connection
	if spec == nil {
		return nil, wrong("invalid", "this connector takes no connection", "connector")
	}
	return spec, nil
}

func wrong(typ, msg string, loc ...any) error {
	return &models.InvalidError{Fields: []models.FieldError{{Loc: loc, Msg: msg, Type: typ}}}
}
