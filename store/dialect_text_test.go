package store

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

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
		"\"a\x00b\"":          `"ab"`,
		"":                    "",
	} {
		require.Equal(t, "'"+want+"'", string(appendJSON(nil, []byte(in))), "%s", in)
	}
}

func FuzzJSONIsWrittenAsItIs(f *testing.F) {
	f.Add(`{"a":"it's \\u0000 \u0000 \\\u0000"}`)
	f.Add(`'\''`)
	f.Fuzz(func(t *testing.T, in string) {
		out := appendJSON(nil, []byte(in))
		require.Equal(t, "''", string(out[:1])+string(out[len(out)-1:]))
		// Within the literal quotes come in pairs, and what is read back holds no NUL.
		var text []byte
		inner := out[1 : len(out)-1]
		for i := 0; i < len(inner); i++ {
			if text = append(text, inner[i]); inner[i] == '\'' {
				i++
				require.Less(t, i, len(inner))
				require.EqualValues(t, '\'', inner[i])
			}
		}
		require.NotContains(t, string(text), "\x00")
		if json.Valid([]byte(in)) {
			require.True(t, json.Valid(text), "%s", text)
			require.NoError(t, checkText(json.RawMessage(text)), "%s", text)
			if checkText(json.RawMessage(in)) == nil {
				require.Equal(t, in, string(text))
			}
		}
	})
}
