package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// definitions keeps compiled versions. A version never changes, so an entry is
// true for ever; the bound only keeps memory in check.
type definitions struct {
	store    *store.Store
	mu       sync.RWMutex
	compiled map[definitionKey]*definition
}

type definitionKey struct {
	workspace models.WorkspaceID
	workflow  models.WorkflowID
	version   int
}

const maxDefinitions = 2000

func newDefinitions(s *store.Store) *definitions {
	return &definitions{store: s, compiled: map[definitionKey]*definition{}}
}

// known gives the definition of what a lease is for, if it is at hand.
func (d *definitions) known(l Lease) *definition {
	return d.peek(definitionKey{l.Ref.Workspace, l.WorkflowID, l.Version})
}

func (d *definitions) peek(key definitionKey) *definition {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.compiled[key]
}

// get gives a version's definition, compiled at most once a process in most cases.
func (d *definitions) get(ctx context.Context, ws models.WorkspaceID, wf models.WorkflowID, version int) (*definition, error) {
	key := definitionKey{ws, wf, version}
	if def := d.peek(key); def != nil {
		return def, nil
	}
	v, err := d.store.For(ws).Version(ctx, wf, version)
	if err != nil {
		return nil, fmt.Errorf("workflow %s version %d: %w", wf, version, err)
	}
	def, errs := compile(v)
	if def == nil {
		return nil, fmt.Errorf("workflow %s version %d does not compile: %w", wf, version, errors.New(errs[0].Msg))
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.compiled) >= maxDefinitions {
		clear(d.compiled) // rare, and cheaper to fill again than to keep an order
	}
	d.compiled[key] = def
	return def, nil
}

// workflowKey names a workflow.
type workflowKey struct {
	workspace models.WorkspaceID
	workflow  models.WorkflowID
}

// readWorkflow reads a workflow's row for n who start it.
func (e *Engine) readWorkflow(ctx context.Context, key workflowKey, n int) ([]*models.Workflow, error) {
	ctx, stop := context.WithTimeout(ctx, commitTimeout)
	defer stop()
	wf, err := e.deps.Store.For(key.workspace).Workflow(ctx, key.workflow)
	return slices.Repeat([]*models.Workflow{wf}, n), err
}
