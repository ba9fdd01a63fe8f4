package agents_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/agents"
)

func TestValidateConfig(t *testing.T) {
	t.Parallel()
	for _, config := range []string{
		`{"url":"https://agent.example/run"}`,
		`{"url":"http://10.0.0.1:8080/run?a=b","method":"PUT","headers":{"X-Team":"sales"},"timeout":"2m"}`,
		`{"url":"https://agent.example","timeout":"1d"}`,
	} {
		require.NoError(t, agents.ValidateConfig("http", json.RawMessage(config)), config)
	}
	for config, where := range map[string]string{
		``:                                "config",
		`null`:                            "config",
		`[]`:                              "config",
		`{}`:                              "config.url",
		`{"url":""}`:                      "config.url",
		`{"url":1}`:                       "config.url",
		`{"url":"/run"}`:                  "config.url",
		`{"url":"ftp://a.example"}`:       "config.url",
		`{"url":"https://"}`:              "config.url",
		`{"url":"https://a:b@a.example"}`: "config.url",
		`{"url":"http://a.example","method":"GET"}`:                         "config.method",
		`{"url":"http://a.example","headers":{"Host":"b"}}`:                 "config.headers",
		`{"url":"http://a.example","headers":{"A":"b\r\nC: d"}}`:            "config.headers",
		`{"url":"http://a.example","headers":{"A":1}}`:                      "config.headers.A",
		`{"url":"http://a.example","headers":{"x-api-key":"k"}}`:            "config.headers.X-Api-Key",
		`{"url":"http://a.example","headers":{"COOKIE":"k"}}`:               "config.headers.Cookie",
		`{"url":"http://a.example","headers":{"Authorization":"Bearer k"}}`: "config.headers.Authorization",
		`{"url":"http://a.example","timeout":"soon"}`:                       "config.timeout",
		`{"url":"http://a.example","timeout":"-1s"}`:                        "config.timeout",
		`{"url":"http://a.example","method":"POST","model":"x"}`:            "config.model",
	} {
		err := agents.ValidateConfig("http", json.RawMessage(config))
		var invalid *agents.ConfigError
		require.ErrorAs(t, err, &invalid, config)
		require.Len(t, invalid.Fields, 1, config)
		require.Equal(t, where, strings.Join(invalid.Fields[0].Path, "."), config)
		require.NotEmpty(t, invalid.Fields[0].Message)
	}
}

func TestValidateConfigNamesEveryFault(t *testing.T) {
	t.Parallel()
	err := agents.ValidateConfig("http", json.RawMessage(`{"url":"file:///etc","headers":{"Host":"a"},"timeout":"x"}`))
	var invalid *agents.ConfigError
	require.ErrorAs(t, err, &invalid)
	require.Len(t, invalid.Fields, 3)
	require.Contains(t, err.Error(), "config.url: only http and https")
}

func TestValidateConfigRefusesUnknownKinds(t *testing.T) {
	t.Parallel()
	err := agents.ValidateConfig("robot", json.RawMessage(`{}`))
	require.EqualError(t, err, "kind: must be one of http, llm, platform")
	for _, kind := range agents.Kinds() {
		var invalid *agents.ConfigError
		require.ErrorAs(t, agents.ValidateConfig(kind, json.RawMessage(`{"no":1}`)), &invalid)
		require.NotEqual(t, []string{"kind"}, invalid.Fields[0].Path)
	}
}
