package agents

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/10ex/flows/agents/llm"
	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/models"
)

const (
	defaultTurns  = 10
	defaultTokens = 8192
)

// llmConfig is the config of kind llm, checked.
type llmConfig struct {
	Model        string       `json:"model"`
	Instructions string       `json:"instructions"`
	Tools        []toolConfig `json:"tools"`
	MaxTurns     int          `json:"max_turns"`
	// MaxTokens bounds what the model writes in all turns of a call together.
	MaxTokens   int        `json:"max_tokens"`
	Temperature *float64   `json:"temperature"`
	Budget      budget     `json:"budget"`
	Price       *llm.Price `json:"price"`
	Timeout     string     `json:"timeout"`
	Stream      *bool      `json:"stream"`

	timeout time.Duration // 0: none of its own
}

// budget is what an agent may cost: by call, over all attempts at a step, and by day.
type budget struct {
	PerRun limit `json:"per_run"`
	PerDay limit `json:"per_day"`
}

// UnmarshalJSON takes the short form as well: dollars by call.
func (b *budget) UnmarshalJSON(raw []byte) error {
	if len(raw) > 0 && raw[0] != '{' {
		return json.Unmarshal(raw, &b.PerRun)
	}
	type plain budget
	return json.Unmarshal(raw, (*plain)(b))
}

// limit is a sum of dollars, a number of tokens, or both.
type limit struct {
	USD    *float64 `json:"usd"`
	Tokens *int64   `json:"tokens"`
}

// UnmarshalJSON takes a number for dollars.
func (l *limit) UnmarshalJSON(raw []byte) error {
	if string(raw) == "null" {
		return nil
	}
	if len(raw) > 0 && raw[0] != '{' {
		return json.Unmarshal(raw, &l.USD)
	}
	type plain limit
	return json.Unmarshal(raw, (*plain)(l))
}

func (l limit) bounds() models.BudgetLimit {
	b := models.NoLimit
	if l.USD != nil {
		b.Cost = llm.Nanos(*l.USD)
	}
	if l.Tokens != nil {
		b.Tokens = *l.Tokens
	}
	return b
}

// DayLimit is what an agent may spend in a day by its config.
func DayLimit(a Agent) models.BudgetLimit {
	if a.Kind != KindLLM {
		return models.NoLimit
	}
	cfg, err := parseLLMConfig(a.Config)
	if err != nil {
		return models.NoLimit // it cannot be run, so it spends nothing
	}
	return cfg.Budget.PerDay.bounds()
}

// llmConfigSchema checks shape and unknown fields; meaning is checked by hand.
var llmConfigSchema = connectors.MustCompileSchema(`{
	"type": "object",
	"properties": {
		"model":        {"type": "string", "minLength": 1, "maxLength": 200},
		"instructions": {"type": "string", "maxLength": 200000},
		"tools":        {"type": "array", "maxItems": 64, "items": {"$ref": "#/$defs/tool"}},
		"max_turns":    {"type": "integer", "minimum": 1, "maximum": 100},
		"max_tokens":   {"type": "integer", "minimum": 1, "maximum": 10000000},
		"temperature":  {"type": "number", "minimum": 0, "maximum": 2},
		"budget":       {"if": {"type": "number"}, "then": {"minimum": 0}, "else": {
			"type": "object",
			"properties": {"per_run": {"$ref": "#/$defs/limit"}, "per_day": {"$ref": "#/$defs/limit"}},
			"additionalProperties": false
		}},
		"price": {
			"type": "object",
			"properties": {"input": {"type": "number", "minimum": 0}, "cached": {"type": "number", "minimum": 0}, "output": {"type": "number", "minimum": 0}},
			"required": ["input", "output"], "additionalProperties": false
		},
		"timeout": {"type": "string"},
		"stream":  {"type": "boolean"}
	},
	"required": ["model"],
	"additionalProperties": false,
	"$defs": {
		"limit": {"if": {"type": "number"}, "then": {"minimum": 0, "maximum": 1000000}, "else": {
			"type": "object",
			"properties": {"usd": {"type": "number", "minimum": 0, "maximum": 1000000}, "tokens": {"type": "integer", "minimum": 0, "maximum": 1000000000000}},
			"additionalProperties": false
		}},
		"tool": {"if": {"type": "string"}, "then": {"maxLength": 200}, "else": {
			"type": "object",
			"properties": {
				"action":      {"type": "string", "maxLength": 200},
				"name":        {"type": "string", "pattern": "^[a-zA-Z0-9_-]{1,64}$"},
				"description": {"type": "string", "maxLength": 4000},
				"connection":  {"type": "string", "maxLength": 100},
				"input":       {"type": "object"},
				"from_input":  {"type": "object", "additionalProperties": {"type": "string", "minLength": 1, "maxLength": 500}},
				"hosts":       {"type": "array", "maxItems": 100, "items": {"type": "string", "minLength": 1, "maxLength": 300}}
			},
			"required": ["action"],
			"additionalProperties": false
		}}
	}
}`)

func parseLLMConfig(raw json.RawMessage) (llmConfig, error) {
	cfg := llmConfig{MaxTurns: defaultTurns, MaxTokens: defaultTokens}
	if found := llmConfigSchema.Check(raw); len(found) > 0 {
		return cfg, schemaFaults(found)
	}
	if err := json.Unmarshal(raw, &cfg); err != nil {
		return cfg, &ConfigError{Fields: []FieldError{{Path: []string{"config"}, Message: "is not valid"}}}
	}
	if cfg.Timeout != "" {
		var err error
		if cfg.timeout, err = connectors.ParseTimeout(cfg.Timeout); err != nil {
			return cfg, &ConfigError{Fields: []FieldError{{Path: []string{"config", "timeout"}, Message: err.Error()}}}
		}
	}
	return cfg, nil
}

// price finds what the agent's model costs.
func (r *Runner) price(cfg llmConfig, model string) (llm.Price, bool) {
	if cfg.Price != nil {
		return *cfg.Price, true
	}
	if price, ok := r.prices.Of(cfg.Model); ok {
		return price, true
	}
	return r.prices.Of(model)
}

// dollars tells whether the agent has a limit in dollars.
func (b budget) dollars() bool { return b.PerRun.USD != nil || b.PerDay.USD != nil }

func toolPath(i int, below []string) []string {
	return append([]string{"config", "tools", strconv.Itoa(i)}, below...)
}
