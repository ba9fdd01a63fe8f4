package api

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// VersionFields are what a list of versions shows.
type VersionFields struct {
	Version    int        `json:"version"`
	CreatedAt  stamp      `json:"created_at"`
	ArchivedAt maybeStamp `json:"archived_at"`
	Current    bool       `json:"current"`
}

// Version is a version of a workflow with its content.
type Version struct {
	VersionFields
	Graph       *models.Graph   `json:"graph"`
	InputSchema json.RawMessage `json:"input_schema"`
	Output      json.RawMessage `json:"output"`
	Settings    Settings        `json:"settings"`
}

func showVersion(w *models.Workflow, v *models.Version) VersionFields {
	return VersionFields{
		Version: v.Number, CreatedAt: stamp(v.CreatedAt), ArchivedAt: maybeStamp{v.ArchivedAt}, Current: v.Number == w.Version,
	}
}

type listVersionsRequest struct {
	WorkflowPath
	ListQuery
}

type versionsAnswer struct{ Body page[VersionFields] }

func (a *API) listVersions(ctx context.Context, in *listVersionsRequest) (*versionsAnswer, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	t := a.store.For(workspace(ctx))
	w, err := t.Workflow(ctx, id)
	if err != nil {
		return nil, err
	}
	p, err := readPage(ctx, in.ListQuery, byNumber("versions of "+string(id), func(v *models.Version) int64 { return int64(v.Number) }),
		func(p store.Page) ([]*models.Version, error) { return t.Versions(ctx, id, p) },
		func(v *models.Version) VersionFields { return showVersion(w, v) })
	return &versionsAnswer{p}, err
}

// VersionPath is the path of everything about one version of a workflow.
type VersionPath struct {
	WorkflowPath
	N string `path:"n" doc:"Number of a version"`
}

// number reads the path. What is no number names no version.
func (in VersionPath) number() (models.WorkflowID, int, error) {
	id, err := in.id()
	n, bad := strconv.ParseInt(in.N, 10, 32)
	if err != nil || bad != nil || strconv.FormatInt(n, 10) != in.N {
		return "", 0, models.ErrNotFound
	}
	return id, int(n), nil
}

type versionAnswer struct{ Body Version }

func (a *API) getVersion(ctx context.Context, in *VersionPath) (*versionAnswer, error) {
	id, n, err := in.number()
	if err != nil {
		return nil, err
	}
	t := a.store.For(workspace(ctx))
	w, err := t.Workflow(ctx, id)
	if err != nil {
		return nil, err
	}
	v, err := t.Version(ctx, id, n)
	if err != nil {
		return nil, err
	}
	return &versionAnswer{Version{
		VersionFields: showVersion(w, v), Graph: v.Graph, InputSchema: v.InputSchema, Output: v.Output, Settings: Settings(v.Settings),
	}}, nil
}

type activateRequest struct {
	VersionPath
	Condition
}

func (a *API) activateVersion(ctx context.Context, in *activateRequest) (*workflowAnswer, error) {
	id, n, err := in.number()
	if err != nil {
		return nil, err
	}
	t := a.store.For(workspace(ctx))
	rev, err := in.revision(ctx, t, id)
	if err != nil {
		return nil, err
	}
	w, err := t.ActivateVersion(ctx, id, n, rev, a.now())
	if err != nil {
		return nil, err
	}
	return a.currentOf(ctx, w)
}

type archivedAnswer struct{ Body VersionFields }

func (a *API) archiveVersion(ctx context.Context, in *VersionPath) (*archivedAnswer, error) {
	id, n, err := in.number()
	if err != nil {
		return nil, err
	}
	v, err := a.store.For(workspace(ctx)).ArchiveVersion(ctx, id, n, a.now())
	if err != nil {
		return nil, err
	}
	// A version that is archived is not the current one.
	return &archivedAnswer{showVersion(&models.Workflow{}, v)}, nil
}
