package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/10ex/flows/internal/apikey"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// openStore opens the database that is set, for a command that only needs that.
func (p *program) openStore(ctx context.Context, command string) (*store.Store, error) {
	cfg, err := p.config()
	if err != nil {
		return nil, err
	}
	if cfg.DatabaseURL == "" {
		return nil, errNeeds(command, "FLOWS_DATABASE_URL")
	}
	return openDatabase(ctx, store.Config{URL: cfg.DatabaseURL, MaxConns: 2})
}

func openDatabase(ctx context.Context, cfg store.Config) (*store.Store, error) {
	ctx, stop := context.WithTimeout(ctx, startTimeout)
	defer stop()
	s, err := store.Open(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("the database cannot be opened: %w", err)
	}
	return s, nil
}

// startTimeout bounds each thing a process asks of its stores as it starts.
const startTimeout = 15 * time.Second

type migrateCommand struct {
	Up     migrateUpCommand     `cmd:"" default:"1"                                                   help:"Bring the schema up to date (the default)."`
	Status migrateStatusCommand `cmd:"" help:"List the migrations and whether the database has them."`
}

type migrateUpCommand struct{}

// Run brings the schema up to date and prints each migration it applied.
func (migrateUpCommand) Run(ctx context.Context, p *program) error {
	s, err := p.openStore(ctx, "migrate")
	if err != nil {
		return err
	}
	defer s.Close()
	applied, err := s.Migrate(ctx)
	for _, m := range applied {
		if err := p.print(m); err != nil {
			return err
		}
	}
	return err
}

type migrateStatusCommand struct{}

// Run prints each migration.
func (migrateStatusCommand) Run(ctx context.Context, p *program) error {
	s, err := p.openStore(ctx, "migrate status")
	if err != nil {
		return err
	}
	defer s.Close()
	all, err := s.Migrations(ctx)
	for _, m := range all {
		if err := p.print(m); err != nil {
			return err
		}
	}
	return err
}

type workspacesCommand struct {
	Create workspacesCreateCommand `cmd:"" help:"Make a workspace."`
}

type workspacesCreateCommand struct {
	Name string `help:"What people call it." required:""`
}

// Run makes a workspace and prints it.
func (c workspacesCreateCommand) Run(ctx context.Context, p *program) error {
	s, err := p.openStore(ctx, "workspaces create")
	if err != nil {
		return err
	}
	defer s.Close()
	w := &models.Workspace{
		ID: models.WorkspaceID(ids.New(models.WorkspacePrefix)), Name: strings.TrimSpace(c.Name), CreatedAt: now(),
	}
	if w.Name == "" {
		return errors.New("--name must not be empty")
	}
	if err := s.CreateWorkspace(ctx, w); err != nil {
		return oldSchema(ctx, s, err)
	}
	return p.print(struct {
		ID        models.WorkspaceID `json:"id"`
		Name      string             `json:"name"`
		CreatedAt time.Time          `json:"created_at"`
	}{w.ID, w.Name, w.CreatedAt})
}

type keysCommand struct {
	Create keysCreateCommand `cmd:"" help:"Make an API key. It is shown once."`
}

type keysCreateCommand struct {
	Workspace string   `help:"The workspace it is for, by id." required:""`
	Name      string   `help:"What people call it."            required:""`
	Scopes    []string `default:"*"                            help:"What it may do, separated by commas: ${scopes}."`
}

// Run makes a key and prints it, secret included.
func (c keysCreateCommand) Run(ctx context.Context, p *program) error {
	if len(c.Scopes) == 0 {
		return fmt.Errorf("--scopes is empty: allowed are %s", scopeNames())
	}
	scopes := make([]models.Scope, len(c.Scopes))
	for i, one := range c.Scopes {
		scopes[i] = models.Scope(one)
		if !slices.Contains(models.Scopes, scopes[i]) {
			return fmt.Errorf("--scopes is %q: allowed are %s", one, scopeNames())
		}
	}
	s, err := p.openStore(ctx, "keys create")
	if err != nil {
		return err
	}
	defer s.Close()
	ws := models.WorkspaceID(c.Workspace)
	if _, err := s.Workspace(ctx, ws); err != nil {
		if errors.Is(err, models.ErrNotFound) {
			return fmt.Errorf("--workspace is %q: there is no such workspace", c.Workspace)
		}
		return oldSchema(ctx, s, err)
	}
	made, row := newKey(ws, strings.TrimSpace(c.Name), scopes)
	if row.Name == "" {
		return errors.New("--name must not be empty")
	}
	if err := s.For(ws).CreateKey(ctx, row); err != nil {
		return err
	}
	return p.print(struct {
		ID        models.KeyID       `json:"id"`
		Workspace models.WorkspaceID `json:"workspace_id"`
		Name      string             `json:"name"`
		Prefix    string             `json:"prefix"`
		Secret    string             `json:"secret"`
		Key       string             `json:"key"`
		Scopes    []models.Scope     `json:"scopes"`
		CreatedAt time.Time          `json:"created_at"`
	}{row.ID, ws, row.Name, made.Prefix, made.Secret, made.Full, scopes, row.CreatedAt})
}

func scopeNames() string {
	names := make([]string, len(models.Scopes))
	for i, s := range models.Scopes {
		names[i] = string(s)
	}
	return strings.Join(names, ", ")
}

func newKey(ws models.WorkspaceID, name string, scopes []models.Scope) (apikey.Key, *models.APIKey) {
	made := apikey.New()
	return made, &models.APIKey{
		WorkspaceID: ws, ID: models.KeyID(ids.New(models.KeyPrefix)), Prefix: made.Prefix, Hash: made.Hash,
		Name: name, Scopes: scopes, CreatedAt: now(),
	}
}

func now() time.Time { return time.Now().UTC().Truncate(time.Microsecond) }

// oldSchema puts what to do in front of an error whose cause is a schema that is
// not there yet.
func oldSchema(ctx context.Context, s *store.Store, err error) error {
	if errors.Is(s.CheckSchema(ctx), store.ErrOldSchema) {
		return errMigrate
	}
	return err
}

var errMigrate = fmt.Errorf("%w: run flows migrate up first", store.ErrOldSchema)

type healthcheckCommand struct {
	URL string `default:"http://127.0.0.1:8080/readyz" help:"What to ask."`
}

// Run succeeds if the server answers 2xx.
func (c healthcheckCommand) Run(ctx context.Context) error {
	ctx, stop := context.WithTimeout(ctx, 5*time.Second)
	defer stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL, nil)
	if err != nil {
		return fmt.Errorf("--url is %q: it must be a URL", c.URL)
	}
	resp, err := new(http.Client).Do(req) // where it goes is for the operator to say
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return fmt.Errorf("%s answered %s", c.URL, resp.Status)
	}
	return nil
}
