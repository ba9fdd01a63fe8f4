package bus

import (
	"context"
	"errors"

	"github.com/10ex/flows/models"
)

// Install keeps a new workflow, which has been checked, with its first version and
// triggers for it: all of it, or nothing. The triggers are checked; what is wrong with
// one is an error with its index before the place. It fills in what they leave out.
// A workflow that is there already was made by an earlier try of the same request, and
// w and v become what that one kept.
func (b *Bus) Install(ctx context.Context, ws models.WorkspaceID, w *models.Workflow, v *models.Version, triggers []*models.Trigger) ([]*Created, error) {
	var errs []models.FieldError
	for i, trg := range triggers {
		trg.WorkspaceID, trg.WorkflowID = ws, &w.ID
		errs = append(errs, models.Under(b.CheckTrigger(trg), i)...)
	}
	if len(errs) > 0 {
		return nil, &models.InvalidError{Fields: errs}
	}
	all := make([]*Created, len(triggers))
	for i, trg := range triggers {
		var err error
		if all[i], err = b.prepare(ctx, trg, w.CreatedAt); err != nil {
			return nil, err
		}
	}
	t := b.store.For(ws)
	err := t.InstallWorkflow(ctx, w, v, triggers)
	if !errors.Is(err, models.ErrConflict) {
		return all, err
	}
	kept, err := t.Workflow(ctx, w.ID)
	if err != nil {
		return nil, err
	}
	version, err := t.Version(ctx, w.ID, kept.Version)
	if err != nil {
		return nil, err
	}
	*w, *v = *kept, *version
	for _, made := range all {
		if err := b.makeAgain(ctx, made); err != nil {
			return nil, err
		}
	}
	return all, nil
}
