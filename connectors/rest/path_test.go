package rest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/connectors"
)

func TestPathKeepsValuesInTheirPlace(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]string{
		"42": "/a/42/b", "a/../b": "/a/a%2F..%2Fb/b", "x?y#z": "/a/x%3Fy%23z/b", "Sheet 1!A1": "/a/Sheet%201%21A1/b", "{}": "/a/%7B%7D/b", "...": "/a/.../b",
	} {
		got, err := Path("/a/{}/b", value)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, value := range []string{"", ".", ".."} {
		_, err := Path("/a/{}/b", value)
		require.Equal(t, connectors.CodeInputInvalid, connectors.AsError(err).Code, value)
	}
	got, err := Path("/a/{}/b/{}", "{}", "2")
	require.NoError(t, err)
	require.Equal(t, "/a/%7B%7D/b/2", got)
	require.Panics(t, func() { _, _ = Path("/a", "1") })
	require.Panics(t, func() { _, _ = Path("/a/{}/{}", "1") })
}
