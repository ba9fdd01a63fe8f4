package docs_test

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

// writing keeps tests that write the same document apart.
var writing sync.Mutex

// holds demands that the part of a document between the marks begin and end of
// that name is want. With -update it makes it so.
func holds(t *testing.T, file, name, want string) {
	t.Helper()
	writing.Lock()
	defer writing.Unlock()
	begin, end := fmt.Sprintf("<!-- begin: %s -->\n", name), fmt.Sprintf("<!-- end: %s -->", name)
	before, rest, ok := strings.Cut(read(t, file), begin)
	require.True(t, ok, "%s has no part %s", file, name)
	got, after, ok := strings.Cut(rest, end)
	require.True(t, ok, "%s: the part %s does not end", file, name)
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(before+begin+want+end+after), 0o644))
		return
	}
	require.Empty(t, cmp.Diff(want, got), "run go generate ./docs")
}

// table writes a table in Markdown.
func table(head []string, rows [][]string) string {
	var b strings.Builder
	line := func(cells []string) {
		for _, c := range cells {
			fmt.Fprintf(&b, "| %s ", strings.ReplaceAll(c, "|", `\|`))
		}
		b.WriteString("|\n")
	}
	line(head)
	b.WriteString(strings.Repeat("|---", len(head)) + "|\n")
	for _, r := range rows {
		line(r)
	}
	return b.String()
}

// TestHTTPPageListsEveryOperation holds the map to the document that is served.
func TestHTTPPageListsEveryOperation(t *testing.T) {
	t.Parallel()
	const base = "/api/v1/flows"
	paths := openAPI(t)["paths"].(map[string]any)
	var rows [][]string
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		for _, method := range []string{"get", "post", "put", "patch", "delete"} {
			op, ok := paths[path].(map[string]any)[method].(map[string]any)
			if !ok {
				continue
			}
			scope := "any key"
			if s, ok := op["x-scope"].(string); ok {
				scope = code(s)
			} else if op["security"] == nil {
				scope = "no key"
			}
			rows = append(rows, []string{
				code(strings.ToUpper(method) + " " + strings.TrimPrefix(path, base)), scope, op["summary"].(string),
			})
		}
	}
	require.NotEmpty(t, rows)
	holds(t, "reference/http-api.md", "operations", table([]string{"operation", "scope", "does"}, rows))
}
