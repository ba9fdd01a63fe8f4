package store_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/store"
)

// The names of files are not those of URLs: what means something there is a letter here.
func TestASQLiteFileMayHaveAnyName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, name := range []string{"a#b", "a?b=c", "100%", "%41", "a b", "ü", "a&b+c", "a:b"} {
		path := filepath.Join(dir, name)
		s, err := store.Open(t.Context(), store.Config{URL: "sqlite:" + path})
		require.NoError(t, err, name)
		_, err = s.Migrate(t.Context())
		require.NoError(t, err, name)
		require.NoError(t, s.Close())
		info, err := os.Stat(path)
		require.NoError(t, err, name)
		require.Positive(t, info.Size(), name)
	}
	made, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, made, 8, "and nothing beside")
}
