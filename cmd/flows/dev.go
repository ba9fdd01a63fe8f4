package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/10ex/flows/internal/apikey"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

type devCommand struct {
	Addr    string `help:"Where HTTP is served; with port 0 a free one is taken. Default: FLOWS_HTTP_ADDR, or 127.0.0.1:8080." placeholder:"HOST:PORT"`
	DataDir string `default:".flows"                                                                                           help:"Where data and key are kept." type:"path"`
	Reset   bool   `help:"Begin with no data and a new key."`
}

// Run runs everything in one process.
func (c devCommand) Run(ctx context.Context, p *program) error {
	cfg, err := p.config()
	if err != nil {
		return err
	}
	if cfg.HTTPAddr, err = addrOf(c.Addr, cfg.HTTPAddr, "127.0.0.1:8080"); err != nil {
		return err
	}
	if cfg.AllowPrivate == nil {
		yes := true
		cfg.AllowPrivate = &yes
	}
	dir, err := openDataDir(c.DataDir, c.Reset)
	if err != nil {
		return err
	}
	defer dir.close()
	if cfg.DatabaseURL == "" {
		cfg.DatabaseURL = "sqlite:" + dir.file("flows.db")
	}
	if cfg.EncryptionKey == nil {
		if cfg.EncryptionKey, err = dir.encryptionKey(); err != nil {
			return err
		}
	}
	a, err := newApp(ctx, cfg, roles{command: "dev", api: true, worker: true, scheduler: true, migrate: true}, p.logger(cfg))
	if err != nil {
		return err
	}
	key, err := dir.key(ctx, a.store)
	if err != nil {
		a.close(ctx)
		return err
	}
	return a.run(ctx, func(url string) error {
		return p.print(struct {
			URL        string             `json:"url"`
			Key        string             `json:"api_key"`
			Workspace  models.WorkspaceID `json:"workspace_id"`
			Console    string             `json:"console_url"`
			Monitoring string             `json:"monitoring_url"`
		}{url, key.Key, key.Workspace, url + "/console", url + "/monitoring"})
	})
}

// addrOf picks an address: the flag's, the setting's or the command's own.
func addrOf(flag, setting, initial string) (string, error) {
	if flag == "" {
		if setting != "" {
			return setting, nil
		}
		return initial, nil
	}
	if checkAddr(flag) != nil {
		return "", fmt.Errorf("--addr is %q: it must be HOST:PORT, where HOST may be empty for all addresses", flag)
	}
	return flag, nil
}

// dataDir is where flows dev keeps what survives it.
type dataDir struct {
	path   string
	unlock func()
}

// databaseFiles are the database and what SQLite puts beside it.
var databaseFiles = []string{"flows.db", "flows.db-wal", "flows.db-shm"}

const keyFile = "key.json"

// openDataDir makes the folder, if need be, and takes it for this process alone:
// two would each believe that they are the only one to work on the database.
func openDataDir(path string, reset bool) (*dataDir, error) {
	if err := os.MkdirAll(path, 0o700); err != nil {
		return nil, fmt.Errorf("--data-dir is %q, which cannot be made: %w", path, pathCause(err))
	}
	d := &dataDir{path: path}
	unlock, err := lockFile(d.file("lock"))
	if err != nil {
		return nil, fmt.Errorf("--data-dir is %q, which cannot be used: %w", path, pathCause(err))
	}
	d.unlock = unlock
	if reset {
		for _, name := range slices.Concat(databaseFiles, []string{keyFile, encryptionFile}) {
			if err := os.Remove(d.file(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				d.close()
				return nil, err
			}
		}
	}
	return d, nil
}

func (d *dataDir) file(name string) string { return filepath.Join(d.path, name) }

func (d *dataDir) close() { d.unlock() }

// pathCause leaves out what the caller says already.
func pathCause(err error) error {
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		return pe.Err
	}
	return err
}

// devKey is the key of the embedded installation. It is kept in clear, readable
// by its owner only, so that it is the same after a restart.
type devKey struct {
	Key       string             `json:"api_key"`
	Workspace models.WorkspaceID `json:"workspace_id"`
}

// key gives the key that is kept, or makes a workspace and a key.
func (d *dataDir) key(ctx context.Context, s *store.Store) (devKey, error) {
	var kept devKey
	if raw, err := os.ReadFile(d.file(keyFile)); err == nil && json.Unmarshal(raw, &kept) == nil {
		works, err := kept.works(ctx, s)
		if err != nil {
			return devKey{}, err
		}
		if works {
			return kept, nil
		}
	}
	w := &models.Workspace{ID: models.WorkspaceID(ids.New(models.WorkspacePrefix)), Name: "dev", CreatedAt: now()}
	if err := s.CreateWorkspace(ctx, w); err != nil {
		return devKey{}, err
	}
	made, row := newKey(w.ID, "dev", []models.Scope{models.ScopeAll})
	if err := s.For(w.ID).CreateKey(ctx, row); err != nil {
		return devKey{}, err
	}
	fresh := devKey{Key: made.Full, Workspace: w.ID}
	raw, err := json.Marshal(fresh) //nolint:gosec // G117: keeping the key is what the file is for
	if err != nil {
		return devKey{}, err
	}
	return fresh, writePrivate(d.file(keyFile), append(raw, '\n'))
}

// works tells whether the database still knows the key: it may have been removed,
// revoked, or the database may be another one.
func (k devKey) works(ctx context.Context, s *store.Store) (bool, error) {
	prefix, secret, ok := apikey.Parse(k.Key)
	if !ok {
		return false, nil
	}
	row, err := s.KeyByPrefix(ctx, prefix)
	if errors.Is(err, models.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return row.WorkspaceID == k.Workspace && row.Live(now()) && apikey.Matches(row.Hash, secret), nil
}

// writePrivate replaces a file in one go, readable by its owner only.
func writePrivate(path string, content []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".tmp-*") // made with 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err := f.Write(content); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
