package flows_test

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var (
	fence    = regexp.MustCompile("(?ms)^ *```.*?^ *```")
	code     = regexp.MustCompile("`([^`\n]+)`")
	link     = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	pathLike = regexp.MustCompile(`^\.?[\w-][\w./-]*$`)
)

// bareFiles are the endings by which a word without a slash is taken for the
// name of a file.
var bareFiles = []string{".go", ".md", ".yml"}

// named returns the files and folders that a document names: targets of links
// inside the repository, and words in code marks that look like a path whose
// first part is a folder of ours. Blocks of code are examples and left out.
func named(document string, topLevel []string) []string {
	text := fence.ReplaceAllString(document, "")
	var names []string
	for _, m := range link.FindAllStringSubmatch(text, -1) {
		target, _, _ := strings.Cut(m[1], "#")
		if target != "" && !strings.Contains(target, ":") {
			names = append(names, "link "+target)
		}
	}
	for _, m := range code.FindAllStringSubmatch(text, -1) {
		word := strings.TrimSuffix(strings.TrimPrefix(m[1], "./"), "/")
		first, _, nested := strings.Cut(word, "/")
		switch {
		case !pathLike.MatchString(word) || strings.Contains(word, ".."):
		case nested && slices.Contains(topLevel, first):
			names = append(names, "path "+word)
		case !nested && (slices.Contains(bareFiles, path.Ext(word)) || slices.Contains([]string{"Makefile", "Dockerfile", "LICENSE"}, word)):
			names = append(names, "file "+word)
		}
	}
	return names
}

// topLevel are the folders whose paths are checked: those of the table of
// imports, whether they exist or not, and those without Go.
func topLevel() []string {
	folders := []string{".ci"}
	for _, row := range layout {
		first, _, _ := strings.Cut(row.name, "/")
		folders = append(folders, first)
	}
	return folders
}

// repositoryFiles returns every file, and a lookup by its last name.
func repositoryFiles(t *testing.T) (files []string, base map[string]bool) {
	t.Helper()
	base = map[string]bool{}
	require.NoError(t, filepath.WalkDir(".", func(p string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() {
			if slices.Contains([]string{".git", "node_modules", "bin", ".flows", ".services"}, entry.Name()) {
				return filepath.SkipDir
			}
			return nil
		}
		files = append(files, filepath.ToSlash(p))
		base[entry.Name()] = true
		return nil
	}))
	return files, base
}

func TestFilesNamedInDocumentsExist(t *testing.T) {
	t.Parallel()
	files, base := repositoryFiles(t)
	for _, document := range files {
		if path.Ext(document) != ".md" || strings.Contains(document, "testdata/") {
			continue
		}
		content, err := os.ReadFile(document)
		require.NoError(t, err)
		for _, name := range named(string(content), topLevel()) {
			kind, target, _ := strings.Cut(name, " ")
			ok := false
			switch kind {
			case "file": // wherever it is
				ok = base[target]
			case "link":
				_, err := os.Stat(filepath.Join(filepath.Dir(document), filepath.FromSlash(target)))
				ok = err == nil
			case "path":
				ok = pathExists(target)
			}
			if !ok {
				t.Errorf("%s names %s, which does not exist", document, target)
			}
		}
	}
}

// pathExists also knows `package.Name` behind a folder, as in
// connectors/connectorstest.Run.
func pathExists(target string) bool {
	if _, err := os.Stat(filepath.FromSlash(target)); err == nil {
		return true
	}
	folder, name := path.Split(target)
	pkg, symbol, ok := strings.Cut(name, ".")
	if !ok || symbol == "" || symbol[0] < 'A' || symbol[0] > 'Z' {
		return false
	}
	info, err := os.Stat(filepath.FromSlash(folder + pkg))
	return err == nil && info.IsDir()
}

func TestNamedFindsPathsOnly(t *testing.T) {
	t.Parallel()
	document := "See [the guide](docs/guide.md#start), [us](https://example.com), `engine/plan.go`, `plan.go`,\n" +
		"`./store/`, `api/v1 text`, `/api/v1/flows`, `application/json`, `GET /runs`, `README.md`, `Makefile`, `runs:read`.\n" +
		"```sh\ncat `cmd/none.go`\n```\n"
	require.Equal(t, []string{
		"link docs/guide.md", "path engine/plan.go", "file plan.go", "file README.md", "file Makefile",
	}, named(document, []string{"engine", "store", "api", "cmd"}))
}

// required finds the modules in go.mod, direct and indirect.
var required = regexp.MustCompile(`(?m)^(?:require )?\s*([a-z0-9][\w.-]*\.[a-z]+/\S+) v\S+`)

// dependencyLine finds the modules that docs/dependencies.md has a line for.
var dependencyLine = regexp.MustCompile("(?m)^- `([^`]+)`: (.+)$")

func TestEveryDependencyHasItsLine(t *testing.T) {
	t.Parallel()
	mod, err := os.ReadFile("go.mod")
	require.NoError(t, err)
	var modules []string
	for _, m := range required.FindAllStringSubmatch(string(mod), -1) {
		modules = append(modules, m[1])
	}
	require.NotEmpty(t, modules)

	doc, err := os.ReadFile("docs/dependencies.md")
	require.NoError(t, err)
	lines := map[string]bool{}
	for _, m := range dependencyLine.FindAllStringSubmatch(string(doc), -1) {
		require.Falsef(t, lines[m[1]], "%s has two lines", m[1])
		require.Containsf(t, modules, m[1], "%s has a line but is not in go.mod", m[1])
		lines[m[1]] = true
	}

	for _, f := range sourceFiles(t) {
		for _, imported := range f.imports {
			if module := moduleOf(imported, modules); module != "" {
				require.Truef(t, lines[module], "%s imports %s: docs/dependencies.md has no line for %s", f.path, imported, module)
			}
		}
	}
}

// moduleOf returns the module that a package belongs to, or "" when it is none
// of those required: ours, or the standard library's.
func moduleOf(imported string, modules []string) string {
	var best string
	for _, module := range modules {
		if within(imported, module) && len(module) > len(best) {
			best = module
		}
	}
	return best
}
