package acceptance_test

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// builds are the ways in which the product is built here, each once.
var builds = map[string]func() (string, error){
	"plain": sync.OnceValues(func() (string, error) { return build("flows") }),
	"race": sync.OnceValues(func() (string, error) {
		return build("flows-race", "-race", "-gcflags=modernc.org/sqlite/lib=-race=false")
	}),
}

// binary gives the path of the product.
func binary(t *testing.T, name string) string {
	t.Helper()
	path, err := builds[name]()
	require.NoError(t, err)
	return path
}

func build(name string, flags ...string) (string, error) {
	root, err := filepath.Abs("../..")
	if err != nil {
		return "", err
	}
	if err := touchSources(root); err != nil {
		return "", err
	}
	path := filepath.Join(folder, name)
	cmd := exec.Command("go", append(append([]string{"build"}, flags...), "-o", path, "./cmd/flows")...)
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build the product: %w\n%s", err, out)
	}
	return path, nil
}

// touchSources looks at every file the product is built from. The test cache sees
// that, and so it does not take the result of another source for this one's.
func touchSources(root string) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch name := d.Name(); {
		case err != nil:
			return err
		case d.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "node_modules" || name == "bin" || name == "testdata"):
			return filepath.SkipDir
		case d.IsDir(), strings.HasSuffix(name, "_test.go"):
			return nil
		}
		switch filepath.Ext(path) {
		case ".go", ".mod", ".sum", ".sql", ".json", ".js", ".css", ".html":
			_, err = os.Stat(path)
		}
		return err
	})
}
