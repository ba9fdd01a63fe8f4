package registered

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/internal/clock"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// Deps are what a Service works with.
type Deps struct {
	Store *store.Store // required
	// BuiltIn has the names that nobody can take. Required.
	BuiltIn *connectors.Registry
	// Kinds make connectors, by the name of the kind.
	Kinds map[models.ConnectorKind]connectors.Kind
	// Open opens a connection of a workspace that is used to ask for a description.
	// Nil: none can be named.
	Open func(ctx context.Context, ws models.WorkspaceID, id string) (*connectors.Connection, error)
	// Clock tells the time. Default: this process's.
	Clock clock.Clock
}

// maxHeld bounds the bytes of connectors in memory, as they are stored; opened they
// take about ten times as much.
const maxHeld = 16 << 20

// Service registers connectors and finds them. It may be used concurrently.
type Service struct {
	deps  Deps
	cache *cache
}

var _ connectors.Own = (*Service)(nil)

// New makes a Service.
func New(deps Deps) (*Service, error) {
	if deps.Store == nil || deps.BuiltIn == nil {
		return nil, errors.New("registered connectors: a dependency is missing")
	}
	if deps.Clock == nil {
		deps.Clock = clock.System{}
	}
	return &Service{deps: deps, cache: newCache(maxHeld)}, nil
}

// Find finds the connector that a workspace has registered under a slug. It asks the
// database which one is the newest, and reads it only if it is not in memory.
func (s *Service) Find(ctx context.Context, workspace, slug string) (connectors.Registered, bool, error) {
	t := s.deps.Store.For(models.WorkspaceID(workspace))
	id, version, err := t.ConnectorVersion(ctx, slug)
	at := place{models.WorkspaceID(workspace), slug}
	switch {
	case errors.Is(err, models.ErrNotFound), errors.Is(err, models.ErrInvalid):
		s.cache.forget(at)
		return nil, false, nil
	case err != nil:
		return nil, false, err
	}
	if found, ok := s.cache.get(at, id, version); ok {
		return found, true, nil
	}
	row, err := t.Connector(ctx, slug)
	switch {
	case errors.Is(err, models.ErrNotFound):
		return nil, false, nil
	case err != nil:
		return nil, false, err
	}
	opened, err := s.open(row)
	if err != nil {
		return nil, false, err
	}
	s.cache.put(&held{at: at, id: row.ID, version: row.Version, size: len(row.Compiled), opened: opened})
	return opened, true, nil
}

func (s *Service) open(row *models.Connector) (connectors.Registered, error) {
	kind, ok := s.deps.Kinds[row.Kind]
	if !ok {
		return nil, connectors.Permanent(connectors.CodeUnknownConnector, "connectors of kind %s are not available here", row.Kind)
	}
	opened, err := kind.Open(connectors.Stored{
		Slug: row.Slug, Name: row.Name, Description: row.Description, Kind: string(row.Kind), Account: row.Connection,
		Config: row.Config, Data: row.Compiled,
	})
	if err != nil {
		return nil, fmt.Errorf("connector %s: %w", row.Slug, err)
	}
	return opened, nil
}

// Registration is what a workspace gives.
type Registration struct {
	ID          models.ConnectorID
	Slug        string
	Kind        models.ConnectorKind
	Name        *string // nil: as the description has it
	Description *string
	// Config is what the kind wants to know, as an object.
	Config map[string]any
	// Document is the description, where it is given.
	Document []byte
	// Connection is used to ask for the description, and remembered for steps and for the
	// next time; empty for none.
	Connection string
}

var slugForm = regexp.MustCompile(`^[a-z][a-z0-9_-]{0,63}$`)

// Create registers a connector.
func (s *Service) Create(ctx context.Context, ws models.WorkspaceID, r Registration) (*models.Connector, error) {
	if !slugForm.MatchString(r.Slug) {
		return nil, invalid("slug", "must begin with a lower-case letter and hold lower-case letters, digits, - and _ only")
	}
	if _, taken := s.deps.BuiltIn.Lookup(r.Slug); taken {
		return nil, models.Conflict(models.CodeConflict, "connector %s is built in, so its name cannot be taken", r.Slug)
	}
	t := s.deps.Store.For(ws)
	if have, err := t.Connector(ctx, r.Slug); err == nil {
		if have.ID == r.ID {
			return have, nil // a repeated request, the first try of which got this far
		}
		return nil, models.Conflict(models.CodeConflict, "connector %s exists already", r.Slug)
	} else if !errors.Is(err, models.ErrNotFound) {
		return nil, err
	}
	now := s.deps.Clock.Now()
	row := &models.Connector{ID: r.ID, Slug: r.Slug, Kind: r.Kind, Connection: r.Connection, CreatedAt: now, UpdatedAt: now}
	asking, err := s.account(ctx, ws, row, r.Connection)
	if err != nil {
		return nil, err
	}
	if err := s.compile(ctx, row, r, asking); err != nil {
		return nil, err
	}
	return row, t.CreateConnector(ctx, row)
}

// Change is what is new about a connector; what is nil stays.
type Change struct {
	Name        *string
	Description *string
	// Config has the fields that change; one that is nil is taken away.
	Config map[string]any
	// Document is a new description.
	Document []byte
	// Refresh asks for the description again, also if nothing has changed.
	Refresh bool
	// Connection is the one to remember; empty: none any more.
	Connection *string
	// AskWith is a connection to ask with this once, instead of the one remembered.
	AskWith string
}

// Update changes a connector. The description is read again where something says so.
func (s *Service) Update(ctx context.Context, ws models.WorkspaceID, slug string, ch Change) (*models.Connector, error) {
	t := s.deps.Store.For(ws)
	row, err := t.Connector(ctx, slug)
	if err != nil {
		return nil, err
	}
	if ch.Name != nil {
		row.Name = *ch.Name
	}
	if ch.Description != nil {
		row.Description = *ch.Description
	}
	if ch.Connection != nil {
		row.Connection = *ch.Connection
	}
	again := ch.Refresh || len(ch.Document) > 0 || len(ch.Config) > 0
	var asking *connectors.Connection
	if again || ch.Connection != nil { // one that is to be remembered has to be good
		if asking, err = s.account(ctx, ws, row, cmp.Or(ch.AskWith, row.Connection)); err != nil {
			return nil, err
		}
	}
	if again {
		config := map[string]any{}
		if err := json.Unmarshal(row.Config, &config); err != nil {
			return nil, fmt.Errorf("connector %s: its config cannot be read: %w", slug, err)
		}
		for name, v := range ch.Config {
			if v == nil {
				delete(config, name)
				continue
			}
			config[name] = v
		}
		name, description := row.Name, row.Description
		r := Registration{Slug: slug, Kind: row.Kind, Name: &name, Description: &description, Config: config, Document: ch.Document}
		if err := s.compile(ctx, row, r, asking); err != nil {
			return nil, err
		}
	}
	return row, t.UpdateConnector(ctx, row, s.deps.Clock.Now())
}

// account opens a connection that goes with a connector; nil for none.
func (s *Service) account(ctx context.Context, ws models.WorkspaceID, row *models.Connector, id string) (*connectors.Connection, error) {
	switch {
	case id == "":
		return nil, nil //nolint:nilnil // many need none
	case s.deps.Open == nil:
		return nil, invalid("connection", "cannot be used here")
	}
	c, err := s.deps.Open(ctx, ws, id)
	if unusable, ok := errors.AsType[*connectors.Error](err); ok {
		return nil, invalid("connection", unusable.Message)
	}
	if err != nil {
		return nil, err
	}
	if c.Connector != row.Slug && c.Connector != string(row.Kind) {
		return nil, invalid("connection", fmt.Sprintf("is of connector %s, not of %s or %s", c.Connector, row.Slug, row.Kind))
	}
	return c, nil
}

// compile has the kind read a registration, and puts what came of it into row. The
// description is asked for with a connection, which may be nil.
func (s *Service) compile(ctx context.Context, row *models.Connector, r Registration, asking *connectors.Connection) error {
	kind, ok := s.deps.Kinds[r.Kind]
	if !ok {
		return invalid("kind", fmt.Sprintf("connectors of kind %q are not available here", r.Kind))
	}
	if r.Config == nil {
		r.Config = map[string]any{}
	}
	config, err := encode(r.Config)
	if err != nil {
		return err
	}
	made, err := kind.Compile(ctx, connectors.Registration{Slug: r.Slug, Config: config, Document: r.Document, Connection: asking})
	if err != nil {
		return refusal(err, sourceOf(r), asking)
	}
	row.Config, row.Compiled, row.ActionCount = config, made.Data, made.Actions
	row.Name, row.Description = cmp.Or(made.Name, r.Slug), made.Description
	if r.Name != nil {
		row.Name = *r.Name
	}
	if r.Description != nil {
		row.Description = *r.Description
	}
	return nil
}

func encode(v any) (json.RawMessage, error) {
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSpace(out.Bytes()), err
}

// document is the field that holds a description.
const document = "document"

// sourceOf is the field that says where the description is.
func sourceOf(r Registration) string {
	if len(r.Document) == 0 {
		for _, field := range []string{"document_url", "url", "command"} {
			if r.Config[field] != nil {
				return field
			}
		}
	}
	return document
}

// refusal puts what a kind has to say into the words of whoever registers. What is wrong
// with a description is wrong with the field that source names.
func refusal(err error, source string, conn *connectors.Connection) error {
	if refused, ok := errors.AsType[*connectors.RegistrationError](err); ok {
		field := cmp.Or(refused.Field, document)
		if field == document {
			field = source
		}
		return invalid(field, conn.Redactor().Text(refused.Message))
	}
	if outside, ok := errors.AsType[*connectors.Error](err); ok {
		return invalid(source, conn.Redactor().Text("the description could not be fetched: "+outside.Message))
	}
	return err
}

func invalid(field, message string) error {
	return &models.InvalidError{Fields: []models.FieldError{{Loc: []any{field}, Msg: message, Type: "invalid"}}}
}
