package api

import (
	"context"
	"time"

	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// Tick is one time a schedule was due.
type Tick struct {
	DueAt   stamp              `json:"due_at"`
	Outcome models.TickOutcome `json:"outcome" enum:"pending,fired,ignored"`
	Reason  *string            `json:"reason" doc:"Why nothing was started"`
	RunID   *models.RunID      `json:"run_id"`
}

func showTick(t *models.Tick) Tick {
	return Tick{DueAt: stamp(t.DueAt), Outcome: t.Outcome, Reason: unlessEmpty(t.Reason), RunID: t.RunID}
}

type listTicksRequest struct {
	TriggerPath
	ListQuery
}

type ticksAnswer struct{ Body page[Tick] }

func (a *API) listTicks(ctx context.Context, in *listTicksRequest) (*ticksAnswer, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	t := a.store.For(workspace(ctx))
	if _, err := t.Trigger(ctx, id); err != nil {
		return nil, err
	}
	p, err := readPage(ctx, in.ListQuery, byNumber("ticks of "+string(id), func(k *models.Tick) int64 { return k.DueAt.UnixMicro() }),
		func(p store.Page) ([]*models.Tick, error) {
			var before time.Time
			if p.After != "" {
				micros, err := readNumber(p.After)
				if err != nil {
					return nil, err
				}
				before = time.UnixMicro(micros)
			}
			return t.Ticks(ctx, id, before, p.Limit)
		},
		showTick)
	return &ticksAnswer{p}, err
}
