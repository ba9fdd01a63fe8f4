package apikey

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAKeyIsReadBackAndProvesItself(t *testing.T) {
	t.Parallel()
	k := New()
	prefix, secret, ok := Parse(k.Full)
	require.True(t, ok)
	require.Equal(t, k.Prefix, prefix)
	require.Equal(t, k.Secret, secret)
	require.True(t, Matches(k.Hash, secret))
	require.False(t, Matches(k.Hash, New().Secret))
	require.NotContains(t, string(k.Hash), k.Secret)
	require.NotEqual(t, k.Full, New().Full)
}

func TestParseRefusesWhatCannotBeAKey(t *testing.T) {
	t.Parallel()
	full := New().Full
	for name, bearer := range map[string]string{
		"empty":          "",
		"other scheme":   "xyz" + full[3:],
		"too short":      full[:len(full)-1],
		"too long":       full + "a",
		"no underscore":  full[:12] + "a" + full[13:],
		"odd characters": full[:20] + "-" + full[21:],
		"not ASCII":      full[:20] + "é" + full[22:],
		"NUL":            full[:20] + "\x00" + full[21:],
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, _, ok := Parse(bearer)
			require.False(t, ok)
		})
	}
}

func TestSecretsUseTheWholeAlphabet(t *testing.T) {
	t.Parallel()
	seen := map[rune]bool{}
	for _, r := range random(20_000) {
		require.True(t, strings.ContainsRune(alphabet, r))
		seen[r] = true
	}
	require.Len(t, seen, len(alphabet))
}
