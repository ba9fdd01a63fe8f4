package api

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// under puts prefix before the places of an error that names fields.
func under(err error, prefix ...any) error {
	if fields, ok := errors.AsType[*models.InvalidError](err); ok {
		return &models.InvalidError{Fields: models.Under(fields.Fields, prefix...)}
	}
	if p, ok := errors.AsType[*Problem](err); ok && len(p.Errors) > 0 {
		moved := *p
		moved.Errors = models.Under(p.Errors, prefix...)
		return &moved
	}
	return err
}

func (a *API) pauseRun(ctx context.Context, in *RunPath) (*runAnswer, error) {
	return a.control(ctx, in, a.engine.Pause)
}

func (a *API) resumeRun(ctx context.Context, in *RunPath) (*runAnswer, error) {
	return a.control(ctx, in, a.engine.Resume)
}

func (a *API) cancelRun(ctx context.Context, in *RunPath) (*runAnswer, error) {
	return a.control(ctx, in, a.engine.Cancel)
}

func (a *API) control(
	ctx context.Context, in *RunPath, act func(context.Context, store.RunRef) (*models.Run, error),
) (*runAnswer, error) {
	ref, err := in.ref(ctx)
	if err != nil {
		return nil, err
	}
	r, err := act(ctx, ref)
	if err != nil {
		return nil, err
	}
	return &runAnswer{Body: showRun(r)}, nil
}

type rerunRequest struct {
	RunPath
	Body *struct {
		FromStep string          `json:"from_step,omitempty" maxLength:"64" doc:"Keep the outputs of everything before this step"`
		Version  *int            `json:"version,omitempty" minimum:"1" doc:"That of the earlier run if not given"`
		Payload  json.RawMessage `json:"payload,omitempty" doc:"That of the earlier run if not given"`
	}
}

func (a *API) rerunRun(ctx context.Context, in *rerunRequest) (*runAnswer, error) {
	ref, err := in.ref(ctx)
	if err != nil {
		return nil, err
	}
	req := engine.RerunRequest{ID: models.RunID(ids.Make(ctx, models.RunPrefix))}
	if b := in.Body; b != nil {
		req.FromStep, req.Version, req.Payload = b.FromStep, b.Version, orNil(b.Payload)
	}
	a.hearBefore(ctx, req.ID)
	run, err := a.engine.Rerun(ctx, ref, req)
	if err != nil {
		return nil, under(err, "body")
	}
	return startedAnswer(run), nil
}

type decideRequest struct {
	RunPath
	Step string `path:"step" doc:"Id of a step that waits for approval"`
	Body *struct {
		Comment string          `json:"comment,omitempty" maxLength:"2000"`
		Data    json.RawMessage `json:"data,omitempty" doc:"Becomes part of the step's output"`
	}
}

func (a *API) approveStep(ctx context.Context, in *decideRequest) (*runAnswer, error) {
	return a.decide(ctx, in, true)
}

func (a *API) rejectStep(ctx context.Context, in *decideRequest) (*runAnswer, error) {
	return a.decide(ctx, in, false)
}

func (a *API) decide(ctx context.Context, in *decideRequest, approved bool) (*runAnswer, error) {
	ref, err := in.ref(ctx)
	if err != nil {
		return nil, err
	}
	if !models.ValidStepID(in.Step) {
		return nil, models.ErrNotFound
	}
	d := engine.Decision{Approved: approved, By: caller(ctx).Prefix}
	if in.Body != nil {
		d.Comment, d.Data = in.Body.Comment, orNil(in.Body.Data)
	}
	return a.answerStep(ctx, ref, in.Step, d)
}

// answerStep brings a person's decision to a step, whichever way it came.
func (a *API) answerStep(ctx context.Context, ref store.RunRef, step string, d engine.Decision) (*runAnswer, error) {
	r, err := a.engine.Decide(ctx, ref, step, d)
	if err != nil {
		return nil, under(err, "body")
	}
	return &runAnswer{Body: showRun(r)}, nil
}
