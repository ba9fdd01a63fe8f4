package engine

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/10ex/flows/models"
)

// mostHolders bounds the runs named as holding a slot.
const mostHolders = 10

// whyHeld tells what a run waits for that has not begun.
func (e *Engine) whyHeld(ctx context.Context, def *definition, run *models.Run) (*Why, error) {
	on := WaitingOn{Kind: string(run.Hold), Since: &run.CreatedAt}
	if run.Hold == models.HoldDebounce {
		on.Key, on.Until = *run.DebounceKey, run.BeginAt
		on.Detail = "other starts with the key " + keyInWords(on.Key)
	} else {
		ahead, err := e.deps.Store.AheadInLine(ctx, slotKey(run), run.SlotSeq)
		if err != nil {
			return nil, err
		}
		if on.Holders, err = e.deps.Store.SlotHolders(ctx, slotKey(run), mostHolders); err != nil {
			return nil, err
		}
		on.Key, on.Ahead, on.Limit = *run.SlotKey, &ahead, def.control.limit
		on.Detail = turnInWords(on)
	}
	text := "The run waits for " + on.Detail
	if on.Until != nil {
		text = "The run waits until " + on.Until.UTC().Format(time.RFC3339) + " for " + on.Detail
	}
	if run.Status == models.RunPaused {
		text = "The run is paused; nothing new starts until it is resumed. Then: t" + strings.TrimPrefix(text, "T")
	}
	return &Why{Status: run.Status, Summary: text + ".", WaitingOn: []WaitingOn{on}}, nil
}

func turnInWords(on WaitingOn) string {
	names := make([]string, len(on.Holders))
	for i, id := range on.Holders {
		names[i] = string(id)
	}
	text := fmt.Sprintf("its turn: of the key %s at most %d may be active", keyInWords(on.Key), on.Limit)
	if len(names) > 0 {
		text += ", and " + strings.Join(names, ", ")
		if text += " is"; len(names) > 1 {
			text = strings.TrimSuffix(text, "is") + "are"
		}
	}
	switch ahead := *on.Ahead; ahead {
	case 0:
		return text + "; it is the next"
	case 1:
		return text + "; one run is ahead of it"
	default:
		return fmt.Sprintf("%s; %d runs are ahead of it", text, ahead)
	}
}
