package connectors_test

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/connectors"
)

func TestCleanJSON(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		` {"b": 1, "a": [1e400, 10000000000000001, 0.10]} `: `{"b":1,"a":[1e400,10000000000000001,0.10]}`,
		`"\u0000"`:                    `"\ufffd"`,
		`"\\u0000 \\\u0000"`:          `"\\u0000 \\\ufffd"`,
		`{"\u0000":"\u00000"}`:        `{"\ufffd":"\ufffd0"}`,
		`"\u00e9\ud83d\ude00"`:        `"\u00e9\ud83d\ude00"`,
		`"\ud83d"`:                    `"\ufffd"`,
		`"\ude00\ud83d\ud83d\uDE00x"`: `"\ufffd\ufffd\ud83d\uDE00x"`,
		"\"a\xff\xfeb\"":              `"a` + "\uFFFD" + `b"`,
		`"\"[{\\"`:                    `"\"[{\\"`,
		`null`:                        `null`,
	} {
		got, err := connectors.CleanJSON([]byte(raw))
		require.NoError(t, err, raw)
		require.Equal(t, want, string(got), raw)
	}
	for _, raw := range []string{``, `{`, `{}{}`, `nul`, `"\x"`, `"\u12"`, "\"a\nb\"", `[1,]`, `"`, `\`} {
		_, err := connectors.CleanJSON([]byte(raw))
		require.Equal(t, "bad_response", connectors.AsError(err).Code, raw)
	}
}

func TestCleanJSONLimitsDepth(t *testing.T) {
	t.Parallel()
	nested := func(n int) []byte { return []byte(strings.Repeat(`{"a":[`, n/2) + strings.Repeat(`]}`, n/2)) }
	_, err := connectors.CleanJSON(nested(connectors.MaxDepth))
	require.NoError(t, err)
	_, err = connectors.CleanJSON(nested(connectors.MaxDepth + 2))
	require.ErrorContains(t, err, "deeper")
	_, err = connectors.CleanJSON([]byte(strings.Repeat("[", 1_000_000)))
	require.Error(t, err)
}

func FuzzCleanJSON(f *testing.F) {
	for _, seed := range []string{`{"a":"\u0000\\u0000"}`, `"\ud83d\ud83d\ude00"`, `[1,{"b":null}]`, "\"\xff\""} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := connectors.CleanJSON(raw)
		if err != nil {
			return
		}
		require.True(t, json.Valid(got))
		require.True(t, utf8.Valid(got))
		var v any
		d := json.NewDecoder(strings.NewReader(string(got)))
		d.UseNumber()
		require.NoError(t, d.Decode(&v))
		again, err := json.Marshal(v)
		require.NoError(t, err)
		require.NotContains(t, strings.ReplaceAll(string(again), `\\`, ""), `\u0000`)
		twice, err := connectors.CleanJSON(got)
		require.NoError(t, err)
		require.Equal(t, string(got), string(twice), "cleaning must settle at once")
	})
}

func TestIsJSON(t *testing.T) {
	t.Parallel()
	for media, want := range map[string]bool{
		"application/json": true, "Application/JSON; charset=utf-8": true, "application/hal+json": true, "text/json": true,
		"application/jsonp": false, "application/x-ndjson": false, "text/plain": false, "": false, "json": false, ";": false,
	} {
		require.Equal(t, want, connectors.IsJSON(media), media)
	}
}
