package templates

import (
	"encoding/json"

	"github.com/10ex/flows/models"
)

// triggerBody is a trigger in a template: what the API takes, without its workflow
// and whatever is a secret.
type triggerBody struct {
	Name      string              `json:"name,omitempty"`
	Type      models.TriggerKind  `json:"type"`
	Source    string              `json:"source,omitempty"`
	EventType string              `json:"event_type,omitempty"`
	Filter    string              `json:"filter,omitempty"`
	Payload   json.RawMessage     `json:"payload,omitempty"`
	Dedupe    *models.Dedupe      `json:"dedupe,omitempty"`
	Cron      string              `json:"cron,omitempty"`
	Timezone  string              `json:"timezone,omitempty"`
	Missed    models.MissedPolicy `json:"missed,omitempty"`
	Enabled   *bool               `json:"enabled,omitempty"`
}

func (b triggerBody) model() *models.Trigger {
	return &models.Trigger{
		Name: b.Name, Type: b.Type, TargetType: models.TargetWorkflow, Source: b.Source, EventType: b.EventType, Filter: b.Filter,
		Payload: b.Payload, Dedupe: b.Dedupe, Cron: b.Cron, Timezone: b.Timezone, Missed: b.Missed, Enabled: b.Enabled == nil || *b.Enabled,
	}
}

func bodyOf(t *models.Trigger) triggerBody {
	b := triggerBody{
		Name: t.Name, Type: t.Type, Source: t.Source, EventType: t.EventType, Filter: t.Filter,
		Payload: t.Payload, Dedupe: t.Dedupe, Cron: t.Cron, Timezone: t.Timezone, Missed: t.Missed,
	}
	if !t.Enabled {
		b.Enabled = new(false)
	}
	return b
}

// Publishable tells whether a trigger can be part of a template: one that holds
// neither a secret nor an address that is one.
func Publishable(t *models.Trigger) bool {
	return t.TargetType == models.TargetWorkflow && (t.Type == models.TriggerOnEvent || t.Type == models.TriggerOnSchedule)
}
