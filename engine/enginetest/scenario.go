package enginetest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// Scenario is a flow and the lines of its story.
type Scenario struct {
	Flow  *models.Version
	Lines []Line
}

// Line is one line of a story: something that happens, or something that is true
// then.
type Line struct {
	Place string // for whoever has to mend it
	Text  string
	Then  bool
}

// ParseFile reads a scenario with its parts under headings: -- flow -- once, then
// -- when -- and -- then -- as often as there is more to tell. What stands before
// the first heading is for readers.
func ParseFile(name, text string) (Scenario, error) {
	var (
		sc   Scenario
		part string
		flow []string
	)
	for i, line := range strings.Split(text, "\n") {
		place := fmt.Sprintf("%s:%d", name, i+1)
		trimmed := strings.TrimSpace(line)
		if strings.HasPrefix(trimmed, "-- ") && strings.HasSuffix(trimmed, " --") {
			part = strings.Trim(trimmed, "- ")
			if part != "flow" && part != "when" && part != "then" {
				return sc, fmt.Errorf("%s: there is no part %q", place, part)
			}
			continue
		}
		switch {
		case part == "flow":
			flow = append(flow, line)
		case part == "" || trimmed == "" || strings.HasPrefix(trimmed, "# "):
		default:
			sc.Lines = append(sc.Lines, Line{place, trimmed, part == "then"})
		}
	}
	var err error
	if sc.Flow, err = ParseFlow(strings.Join(flow, "\n")); err != nil {
		return sc, fmt.Errorf("%s: %w", name, err)
	}
	return sc, nil
}

// ParseStory reads a story without headings: what is true then stands behind =>.
// The first line of text is line number first of the document called name.
func ParseStory(name string, first int, text string) []Line {
	var lines []Line
	for i, line := range strings.Split(text, "\n") {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		then, isThen := strings.CutPrefix(line, "=> ")
		lines = append(lines, Line{fmt.Sprintf("%s:%d", name, first+i), then, isThen})
	}
	return lines
}

// Run plays a scenario on a store.
func Run(t *testing.T, s *store.Store, sc Scenario) {
	t.Helper()
	w := newWorld(t, s)
	w.save(sc.Flow)
	require.NotEmpty(t, sc.Lines)
	require.True(t, sc.Lines[len(sc.Lines)-1].Then, "a story has to end with what is true then")
	for _, line := range sc.Lines {
		w.place = line.Place
		if line.Then {
			w.expect(line.Text)
			continue
		}
		w.noRefusal()
		w.command(line.Text)
	}
	w.noRefusal()
}

// Refusals saves a flow that has to be refused, and gives what is wrong with it
// as "place: message", place being the path from the flow's root.
func Refusals(t *testing.T, s *store.Store, v *models.Version) []string {
	t.Helper()
	w := newWorld(t, s)
	w.makeAgents(v)
	var out []string
	for _, e := range w.check(v) {
		parts := make([]string, len(e.Loc))
		for i, p := range e.Loc {
			parts[i] = fmt.Sprint(p)
		}
		out = append(out, strings.Join(parts, ".")+": "+e.Msg)
	}
	return out
}
