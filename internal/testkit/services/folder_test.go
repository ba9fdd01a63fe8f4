package services

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFoldersOfKilledProcessesAreRemoved(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	folder := func(name string, age time.Duration) string {
		dir := filepath.Join(base, name)
		require.NoError(t, os.Mkdir(dir, 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "data"), nil, 0o600))
		at := time.Now().Add(-age)
		require.NoError(t, os.Chtimes(dir, at, at))
		return dir
	}
	abandoned := folder(folderPrefix+"1", time.Hour)
	inUse := folder(folderPrefix+"2", time.Hour)
	unlock, ok := tryLockFolder(inUse)
	require.True(t, ok)
	defer unlock()
	fresh := folder(folderPrefix+"3", 0)
	other := folder("other", time.Hour)

	removeAbandoned(base)
	require.NoDirExists(t, abandoned)
	require.DirExists(t, inUse)
	require.DirExists(t, fresh)
	require.DirExists(t, other)
}
