package docs_test

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/engine/enginetest"
	"github.com/10ex/flows/engine/expression"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store/storetest"
)

const (
	graphPage    = "reference/graph.md"
	settingsPage = "reference/settings.md"
)

// graphExample is a flow of the reference page, with its story or why it is refused.
type graphExample struct {
	page        string
	flow, after block
}

func graphExamples(t *testing.T) []graphExample {
	t.Helper()
	return append(examplesOf(t, graphPage), examplesOf(t, settingsPage)...)
}

func examplesOf(t *testing.T, page string) []graphExample {
	t.Helper()
	all := blocks(t, page)
	var out []graphExample
	for i := 0; i < len(all); i += 2 {
		require.Equal(t, "json", all[i].info, "line %d", all[i].line)
		require.Less(t, i+1, len(all), "line %d: the last graph has no story", all[i].line)
		require.Contains(t, []string{"run", "refused"}, all[i+1].info, "line %d", all[i+1].line)
		out = append(out, graphExample{page, all[i], all[i+1]})
	}
	require.NotEmpty(t, out)
	return out
}

func TestGraphPage(t *testing.T) {
	t.Parallel()
	for _, e := range graphExamples(t) {
		t.Run(fmt.Sprintf("%s line %d", e.page, e.flow.line), func(t *testing.T) {
			t.Parallel()
			flow, err := enginetest.ParseFlow(e.flow.text)
			require.NoError(t, err)
			if e.after.info == "refused" {
				place, message, _ := strings.Cut(e.after.text, ": ")
				said := enginetest.Refusals(t, storetest.SQLite(t), flow)
				require.Len(t, said, 1)
				require.True(t, strings.HasPrefix(said[0], place+": "), said[0])
				require.Contains(t, said[0], message)
				return
			}
			enginetest.Run(t, storetest.SQLite(t), enginetest.Scenario{
				Flow: flow, Lines: enginetest.ParseStory(e.page, e.after.line, e.after.text),
			})
		})
	}
}

// TestGraphPageNamesEveryField holds the page to the model.
func TestGraphPageNamesEveryField(t *testing.T) {
	t.Parallel()
	text := read(t, graphPage)
	for _, typ := range []reflect.Type{
		reflect.TypeFor[models.GraphStep](), reflect.TypeFor[models.Edge](), reflect.TypeFor[models.Retry](),
		reflect.TypeFor[models.EventWait](), reflect.TypeFor[models.ApprovalWait](),
	} {
		for field := range typ.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			require.Contains(t, text, code(name), "%s.%s", typ.Name(), name)
		}
	}
}

// TestSettingsPageNamesEveryField holds that page to the model as well.
func TestSettingsPageNamesEveryField(t *testing.T) {
	t.Parallel()
	text := read(t, settingsPage)
	for _, typ := range []reflect.Type{reflect.TypeFor[models.Settings](), reflect.TypeFor[models.Concurrency](), reflect.TypeFor[models.Debounce]()} {
		for field := range typ.Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			require.Contains(t, text, code(name), "%s.%s", typ.Name(), name)
		}
	}
	for _, p := range models.ConcurrencyPolicies {
		require.Contains(t, text, "| "+code(string(p)))
	}
	for _, p := range models.Priorities {
		require.Contains(t, text, code(string(p)))
	}
}

func TestGraphPageStatesTheLimits(t *testing.T) {
	t.Parallel()
	text := strings.Join(strings.Fields(read(t, graphPage)), " ")
	for _, said := range []string{
		fmt.Sprintf("| steps | 1 to %d |", models.MaxSteps),
		fmt.Sprintf("| edges | %d |", models.MaxEdges),
		fmt.Sprintf("at most %d days", expression.MaxDuration/(24*time.Hour)),
		"Steps are `" + join(models.StepStatuses) + "`, runs `" + join(models.RunStatuses) + "`",
	} {
		require.Contains(t, text, said)
	}
}

func join[T ~string](list []T) string {
	words := make([]string, len(list))
	for i, w := range list {
		words[i] = string(w)
	}
	return strings.Join(words, " ")
}
