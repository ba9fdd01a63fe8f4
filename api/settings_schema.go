package api

import (
	"encoding/json"
	"reflect"

	"github.com/danielgtaylor/huma/v2"

	"github.com/10ex/flows/models"
)

// The types below describe models.Settings as graph_schema.go does a graph.

type settingsShape struct {
	Timeout     string           `json:"timeout,omitempty" doc:"A duration: a run that takes longer from when it begins fails with code run_timeout"`
	Concurrency concurrencyShape `json:"concurrency,omitzero" doc:"How many runs of a key are active at once"`
	Debounce    debounceShape    `json:"debounce,omitzero" doc:"Makes one run of starts that follow each other closely"`
	Priority    string           `json:"priority,omitempty" enum:"low,normal,high" doc:"Whose steps go first where there are more than workers; normal if not given"`
}

type concurrencyShape struct {
	Key    string `json:"key,omitempty" doc:"An expression over payload; all runs of the workflow share one if not given"`
	Limit  int    `json:"limit" minimum:"1" maximum:"1000"`
	Policy string `json:"policy,omitempty" enum:"queue,skip,cancel_running" doc:"What happens to a start for which there is no room; queue if not given"`
}

type debounceShape struct {
	Key    string `json:"key,omitempty" doc:"An expression over payload; all starts of the workflow share one if not given"`
	Period string `json:"period" doc:"A duration: the run begins when no start came for that long"`
	Max    string `json:"max,omitempty" doc:"A duration: it begins that long after the first start in any case"`
}

// Settings are those of a version as they were written, or nothing.
type Settings json.RawMessage

// MarshalJSON gives what was written.
func (s Settings) MarshalJSON() ([]byte, error) { return json.RawMessage(s).MarshalJSON() }

// UnmarshalJSON keeps what is written.
func (s *Settings) UnmarshalJSON(b []byte) error { return (*json.RawMessage)(s).UnmarshalJSON(b) }

// Schema describes them.
func (Settings) Schema(r huma.Registry) *huma.Schema {
	return &huma.Schema{
		Description: "How runs are started, or null",
		OneOf:       []*huma.Schema{r.Schema(reflect.TypeFor[models.Settings](), true, ""), {Type: "null"}},
	}
}
