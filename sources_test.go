package flows_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

// sourceFile is what the rules look at in one Go file.
type sourceFile struct {
	path    string // with slashes, from the root of the repository
	imports []string
	// calls lists the functions of imported packages that the file names, as
	// "<import path>.<name>", and the methods of a test's t as "testing.<name>".
	calls  []string
	hasDoc bool
}

func (f sourceFile) isTest() bool { return strings.HasSuffix(f.path, "_test.go") }

func (f sourceFile) dir() string {
	if i := strings.LastIndexByte(f.path, '/'); i >= 0 {
		return f.path[:i]
	}
	return "."
}

// sourceFiles reads every Go file of the module. It does not ask `go list`,
// which sees only the files of one system and whose reading the test cache does
// not know of: the rules must hold for all files, also in a cached run.
func sourceFiles(t *testing.T) []sourceFile {
	t.Helper()
	var files []sourceFile
	require.NoError(t, filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			return skipFolder(path, entry.Name())
		}
		if filepath.Ext(path) != ".go" {
			return nil
		}
		src, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		f, err := parseSource(filepath.ToSlash(path), src)
		files = append(files, f)
		return err
	}))
	require.NotEmpty(t, files)
	return files
}

// skipFolder leaves out what the go command leaves out too, and other modules.
func skipFolder(path, name string) error {
	if path == "." {
		return nil
	}
	if strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") || slices.Contains([]string{"testdata", "node_modules", "vendor"}, name) {
		return filepath.SkipDir
	}
	if _, err := os.Stat(filepath.Join(path, "go.mod")); err == nil {
		return filepath.SkipDir
	}
	return nil
}

func parseSource(path string, src []byte) (sourceFile, error) {
	parsed, err := parser.ParseFile(token.NewFileSet(), path, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return sourceFile{}, err
	}
	f := sourceFile{path: path, hasDoc: parsed.Doc != nil}
	names := map[string]string{} // local name to import path
	for _, spec := range parsed.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return sourceFile{}, err
		}
		f.imports = append(f.imports, imported)
		name := imported[strings.LastIndexByte(imported, '/')+1:]
		if spec.Name != nil {
			name = spec.Name.Name
		}
		names[name] = imported
	}
	ast.Inspect(parsed, func(n ast.Node) bool {
		selector, ok := n.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		if x, ok := selector.X.(*ast.Ident); ok {
			if imported, ok := names[x.Name]; ok {
				f.calls = append(f.calls, imported+"."+selector.Sel.Name)
			} else if slices.Contains([]string{"t", "tb", "b"}, x.Name) {
				f.calls = append(f.calls, "testing."+selector.Sel.Name)
			}
		}
		return true
	})
	return f, nil
}

func TestParseSource(t *testing.T) {
	t.Parallel()
	got, err := parseSource("store/open.go", []byte(`// Package store keeps facts.
package store

import (
	clockwork "time"
	"os"
)

func open(t *T) {
	clockwork.Sleep(1)
	read := os.Getenv
	t.Skip()
}
`))
	require.NoError(t, err)
	want := sourceFile{
		path:    "store/open.go",
		imports: []string{"time", "os"},
		calls:   []string{"time.Sleep", "os.Getenv", "testing.Skip"},
		hasDoc:  true,
	}
	require.Empty(t, cmp.Diff(want, got, cmp.AllowUnexported(sourceFile{})))
}
