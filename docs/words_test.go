package docs_test

import (
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/models"
)

// sources calls do for every Go file below the folders that is no test.
func sources(t *testing.T, do func(path, text string), folders ...string) {
	t.Helper()
	for _, folder := range folders {
		require.NoError(t, filepath.WalkDir(filepath.Join("..", folder), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || entry.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			do(filepath.ToSlash(path), string(text))
			return err
		}))
	}
}

// declared finds the codes of errors, and what stands in a struct as one.
var declared = regexp.MustCompile(`(?m)(?:\b[cC]ode[A-Z]\w*\s*= |\bCode: )"([a-z_]+)"`)

func TestErrorsPageExplainsEveryCode(t *testing.T) {
	t.Parallel()
	text := read(t, "reference/errors.md")
	codes := map[string]bool{}
	sources(t, func(_, source string) {
		for _, m := range declared.FindAllStringSubmatch(source, -1) {
			codes[m[1]] = true
		}
	}, "models", "api", "engine", "worker", "agents", "connections", "connectors")
	require.Greater(t, len(codes), 30)
	for c := range codes {
		require.Contains(t, text, code(c))
	}
	for _, m := range regexp.MustCompile("(?m)^\\| (?:\\d+ \\| )?(`[a-z_`, ]+`) \\|").FindAllStringSubmatch(text, -1) {
		for c := range strings.SplitSeq(m[1], ", ") {
			require.True(t, codes[strings.Trim(c, "`")], "nothing gives the code %s", c)
		}
	}
}

func TestOperatePageExplainsEveryMetric(t *testing.T) {
	t.Parallel()
	served := map[string]bool{}
	sources(t, func(_, source string) {
		for _, m := range regexp.MustCompile(`Name: "(flows_\w+)"`).FindAllStringSubmatch(source, -1) {
			served[m[1]] = true
		}
	}, "api", "cmd", "engine", "scheduler", "store", "tasks", "worker", "internal")
	explained := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `(flows_\\w+)` \\|").FindAllStringSubmatch(read(t, "how-to/operate.md"), -1) {
		explained[m[1]] = true
	}
	require.Empty(t, cmp.Diff(served, explained))
}

func TestArchitecturePageListsEveryFolder(t *testing.T) {
	t.Parallel()
	folders := map[string]bool{}
	entries, err := os.ReadDir("..")
	require.NoError(t, err)
	for _, entry := range entries {
		if !entry.IsDir() || strings.HasPrefix(entry.Name(), ".") {
			continue
		}
		require.NoError(t, filepath.WalkDir(filepath.Join("..", entry.Name()), func(path string, _ fs.DirEntry, err error) error {
			if filepath.Ext(path) == ".go" {
				folders[entry.Name()] = true
			}
			return err
		}))
	}
	listed := map[string]bool{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z]+)[a-z/]*` \\|").FindAllStringSubmatch(read(t, "architecture.md"), -1) {
		listed[m[1]] = true
	}
	require.Empty(t, cmp.Diff(folders, listed))
}

// TestHTTPPageNamesEveryEvent holds the list of a run's events to the model.
func TestHTTPPageNamesEveryEvent(t *testing.T) {
	t.Parallel()
	var types []string
	sources(t, func(_, source string) {
		for _, m := range regexp.MustCompile(`RunEventType = "([a-z.]+)"`).FindAllStringSubmatch(source, -1) {
			types = append(types, m[1])
		}
	}, "models")
	require.NotEmpty(t, types)
	require.Contains(t, strings.Join(strings.Fields(read(t, "reference/http-api.md")), " "), "`"+strings.Join(types, " ")+"`")
}

var arrow = regexp.MustCompile(`(?m)^    (\S+) --> ([a-z]+|\[\*\])(?:: .+)?$`)

// TestStatesAreDrawnAsTheyMove holds the drawings to the tables of moves.
func TestStatesAreDrawnAsTheyMove(t *testing.T) {
	t.Parallel()
	all := blocks(t, "state-machine.md")
	require.Len(t, all, 2)
	drawn(t, all[0].text, models.RunStatuses)
	drawn(t, all[1].text, models.StepStatuses)
}

// state is a state that knows its moves.
type state[S any] interface {
	~string
	CanMove(next S) bool
	Ended() bool
}

func drawn[S state[S]](t *testing.T, drawing string, states []S) {
	t.Helper()
	const edge = "[*]"
	got, want := map[string]bool{}, map[string]bool{}
	lines := arrow.FindAllStringSubmatch(drawing, -1)
	require.Len(t, lines, strings.Count(drawing, "-->"), "every arrow is understood")
	for _, m := range lines {
		if m[1] != edge { // where a row begins is not in the table
			got[m[1]+" "+m[2]] = true
			continue
		}
		require.True(t, slices.Contains(states, S(m[2])), m[2])
	}
	for _, from := range states {
		if from.Ended() {
			want[string(from)+" "+edge] = true
		}
		for _, to := range states {
			if from.CanMove(to) {
				want[string(from)+" "+string(to)] = true
			}
		}
	}
	require.Empty(t, cmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got))))
}
