package store

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestTextIsWrittenAsItIs(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":                     "",
		`it's '' \ ? ü \u0000`: `it''s '''' \ ? ü \u0000`,
		"a\x00b":               "a\uFFFDb",
		"a\xffb":               "a\uFFFDb",
		"\x00'\xff":            "\uFFFD''\uFFFD",
	} {
		require.Equal(t, "'"+want+"'", string(pgDialect{}.AppendString(nil, in)), "%q", in)
		require.Equal(t, "'"+want+"'", string(sqlDialect{}.AppendString(nil, in)), "%q", in)
	}
}

func TestJSONIsWrittenAsItIs(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		`{"a":1}`:             `{"a":1}`,
		`"it's"`:              `"it''s"`,
		`"\u0041 \\ \" \n"`:   `"\u0041 \\ \" \n"`,
		`"\\u0000"`:           `"\\u0000"`,
		`"\\\\u0000"`:         `"\\\\u0000"`,
		`"\u0000"`:            `"\ufffd"`,
		`"a\\\u0000\u0000'b"`: `"a\\\ufffd\ufffd''b"`,
		`"\\'\u000"`:          `"\\''\u000"`, // not JSON, but a whole literal
		`"\`:                  `"\`,
		"\"a\x00\xffb\"":      "\"a\uFFFD\uFFFDb\"",
		"":                    "",
	} {
		given := []byte(in)
		require.Equal(t, "'"+want+"'", string(pgDialect{}.AppendJSON(nil, given)), "%s", in)
		require.Equal(t, "'"+want+"'", string(sqlDialect{}.AppendJSON(nil, given)), "%s", in)
		require.Equal(t, in, string(given), "the caller's text stays")
	}
}

func FuzzJSONIsWrittenAsItIs(f *testing.F) {
	f.Add(`{"a":"it's \\u0000 \u0000 \\\u0000"}`)
	f.Add(`'\''`)
	f.Add("\x00\xff")
	f.Fuzz(func(t *testing.T, in string) {
		out := string(pgDialect{}.AppendJSON(nil, []byte(in)))
		require.Equal(t, "''", out[:1]+out[len(out)-1:])
		inner := out[1 : len(out)-1]
		require.NotContains(t, strings.ReplaceAll(inner, "''", ""), "'", "quotes come in pairs")
		require.NotContains(t, inner, "\x00")
		require.True(t, utf8.ValidString(inner))
		text := json.RawMessage(strings.ReplaceAll(inner, "''", "'"))
		if json.Valid([]byte(in)) {
			require.True(t, json.Valid(text), "%s", text)
			require.NoError(t, checkText(text), "%s", text)
			if checkText(json.RawMessage(in)) == nil && utf8.ValidString(in) {
				require.Equal(t, in, string(text))
			}
		}
	})
}
