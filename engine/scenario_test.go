package engine_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/engine/enginetest"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/store/storetest"
)

// TestScenarios plays every file of testdata on every store.
func TestScenarios(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			storetest.Each(t, func(t *testing.T, s *store.Store) {
				sc, err := enginetest.ParseFile(file, string(text)) // its own for each: saving fills it in
				require.NoError(t, err)
				enginetest.Run(t, s, sc)
			})
		})
	}
}
