package agents

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/internal/egress"
)

// ConfigError lists what is wrong with an agent's kind or config.
type ConfigError struct{ Fields []FieldError }

// FieldError is one fault and where it stands: ["kind"] or ["config", field, …].
type FieldError struct {
	Path    []string
	Message string
}

func (e *ConfigError) Error() string {
	lines := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		lines[i] = strings.Join(f.Path, ".") + ": " + f.Message
	}
	return strings.Join(lines, "; ")
}

// ValidateConfig checks the config of an agent of a kind. The error is a
// *ConfigError naming every fault.
func ValidateConfig(kind string, config json.RawMessage) error {
	switch kind {
	case KindHTTP:
		cfg, err := parseHTTPConfig(config)
		if err != nil {
			return err
		}
		return refuseCredentials(cfg.header)
	case KindLLM:
		_, err := parseLLMConfig(config)
		return err
	case KindPlatform:
		_, err := parsePlatformConfig(config)
		return err
	}
	return &ConfigError{Fields: []FieldError{{
		Path:    []string{"kind"},
		Message: fmt.Sprintf("must be one of %s", strings.Join(Kinds(), ", ")),
	}}}
}

// credentials are headers that are made to carry a secret.
var credentials = []string{"Authorization", "Cookie", "Api-Key", "X-Api-Key", "X-Auth-Token", "X-Access-Token"}

// refuseCredentials keeps secrets out of what is shown to whoever may read agents. One
// that was written down before goes on working.
func refuseCredentials(h http.Header) error {
	for _, name := range credentials {
		if h.Get(name) != "" {
			return &ConfigError{Fields: []FieldError{{
				Path:    []string{"config", "headers", name},
				Message: "carries a secret, and a config is shown: give the agent a connection",
			}}}
		}
	}
	return nil
}

// httpConfig is the config of kind http, checked.
type httpConfig struct {
	url     *url.URL
	method  string
	header  http.Header
	timeout time.Duration // 0: none of its own

	connection *connectors.Connection // nil: none; not a part of the config
}

func parseHTTPConfig(raw json.RawMessage) (httpConfig, error) {
	var in struct {
		URL     string            `json:"url"`
		Method  string            `json:"method"`
		Headers map[string]string `json:"headers"`
		Timeout string            `json:"timeout"`
	}
	if found := httpConfigSchema.Check(raw); len(found) > 0 {
		return httpConfig{}, schemaFaults(found)
	}
	if err := json.Unmarshal(raw, &in); err != nil {
		return httpConfig{}, &ConfigError{Fields: []FieldError{{Path: []string{"config"}, Message: "is not valid"}}}
	}

	var (
		c      = httpConfig{method: http.MethodPost}
		faults []FieldError
		err    error
	)
	fault := func(field, message string) {
		faults = append(faults, FieldError{Path: []string{"config", field}, Message: message})
	}
	if c.url, err = egress.ParseURL(in.URL); err != nil {
		fault("url", err.Error())
	}
	if in.Method != "" {
		c.method = in.Method
	}
	if c.header, err = egress.Headers(in.Headers); err != nil {
		fault("headers", err.Error())
	}
	if in.Timeout != "" {
		if c.timeout, err = connectors.ParseTimeout(in.Timeout); err != nil {
			fault("timeout", err.Error())
		}
	}
	if len(faults) > 0 {
		return httpConfig{}, &ConfigError{Fields: faults}
	}
	return c, nil
}

func schemaFaults(found []connectors.Violation) *ConfigError {
	e := &ConfigError{}
	for _, v := range found {
		e.Fields = append(e.Fields, FieldError{Path: append([]string{"config"}, v.Path...), Message: v.Message})
	}
	return e
}

// httpConfigSchema checks shape and unknown fields; meaning is checked by hand.
var httpConfigSchema = connectors.MustCompileSchema(`{
	"type": "object",
	"properties": {
		"url":     {"type": "string", "minLength": 1, "maxLength": 8192},
		"method":  {"type": "string", "enum": ["POST", "PUT", "PATCH"]},
		"headers": {"type": "object", "additionalProperties": {"type": "string"}},
		"timeout": {"type": "string"}
	},
	"required": ["url"],
	"additionalProperties": false
}`)
