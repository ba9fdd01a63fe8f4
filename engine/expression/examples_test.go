package expression_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/engine/expression"
)

// An example is one line of a file in testdata or of an expr block of the reference
// page:
//
//	payload.score > 80 => true
//	payload.scor.x     => error: payload.scor is null
//	@bool payload.name => error: true or false
//	@template {"to": "{{ payload.name }}"} => {"to": "Ada"}
//
// Left of the last " => " is an expression, with @bool, @list, @time before it when
// it must give that, or a template in JSON; right of it is the value in JSON or
// "error:" and a part of the message.
type example struct {
	place, kind, source, want string
}

var kindsByName = map[string]expression.Kind{
	"": expression.Any, "bool": expression.Bool, "list": expression.List, "time": expression.Time,
}

// exampleScope is what examples may name.
var exampleScope = expression.Scope{
	Steps: []string{"enrich", "call", "my-step", "step-2", "late", "call-lead"},
	Item:  true, Event: true, Inputs: true,
}

func parseExample(place, line string) (example, error) {
	i := strings.LastIndex(line, " => ")
	if i < 0 {
		return example{}, fmt.Errorf("%s: no => in %q", place, line)
	}
	e := example{place: place, source: strings.TrimSpace(line[:i]), want: strings.TrimSpace(line[i+4:])}
	if strings.HasPrefix(e.source, "@") {
		e.kind, e.source, _ = strings.Cut(e.source[1:], " ")
		e.source = strings.TrimSpace(e.source)
	}
	return e, nil
}

func (e example) check(t *testing.T, vars expression.Vars) {
	t.Helper()
	got, err := e.run(vars)
	if want, isError := strings.CutPrefix(e.want, "error:"); isError {
		var bad *expression.Error
		require.ErrorAs(t, err, &bad, "%s: %s gave %v", e.place, e.source, got)
		require.Contains(t, bad.Message, strings.TrimSpace(want), "%s: %s", e.place, e.source)
		return
	}
	require.NoError(t, err, "%s: %s", e.place, e.source)
	raw, err := json.Marshal(got)
	require.NoError(t, err)
	var gotJSON, wantJSON any
	require.NoError(t, json.Unmarshal(raw, &gotJSON))
	require.NoError(t, json.Unmarshal([]byte(e.want), &wantJSON), "%s: want %s", e.place, e.want)
	require.Empty(t, cmp.Diff(wantJSON, gotJSON), "%s: %s", e.place, e.source)
}

func (e example) run(vars expression.Vars) (any, error) {
	ctx := context.Background()
	if e.kind == "template" {
		if !json.Valid([]byte(e.source)) {
			return nil, errors.New("the template is not JSON")
		}
		tmpl, err := expression.CompileTemplate(json.RawMessage(e.source), exampleScope)
		if err != nil {
			return nil, err
		}
		return tmpl.Render(ctx, vars)
	}
	kind, ok := kindsByName[e.kind]
	if !ok {
		return nil, fmt.Errorf("unknown kind %s", e.kind)
	}
	p, err := expression.Compile(e.source, exampleScope, kind)
	if err != nil {
		return nil, err
	}
	return p.Eval(ctx, vars)
}

func decodeVars(t testing.TB, raw string) expression.Vars {
	t.Helper()
	v, err := expression.Decode(json.RawMessage(raw))
	require.NoError(t, err)
	return v.(map[string]any)
}

// TestExamples runs every file of testdata: the JSON of the data, a line of ---, and
// one example a line.
func TestExamples(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			data, lines, ok := strings.Cut(string(text), "\n---\n")
			require.True(t, ok, "no --- in %s", file)
			vars := decodeVars(t, data)
			before := strings.Count(data, "\n") + 2
			count := 0
			for i, line := range strings.Split(lines, "\n") {
				if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "# ") {
					continue
				}
				e, err := parseExample(fmt.Sprintf("%s:%d", file, before+i+1), line)
				require.NoError(t, err)
				t.Run(fmt.Sprintf("line %d", before+i+1), func(t *testing.T) {
					t.Parallel()
					e.check(t, vars)
				})
				count++
			}
			require.Positive(t, count)
		})
	}
}

// TestReferencePage runs every example of the reference page: its first json block is
// the data, its expr blocks hold examples as files in testdata do.
func TestReferencePage(t *testing.T) {
	t.Parallel()
	file := "../../docs/reference/expressions.md"
	text, err := os.ReadFile(file)
	require.NoError(t, err)
	var vars expression.Vars
	var block []string
	var info string
	var inBlock bool
	count := 0
	for i, line := range strings.Split(string(text), "\n") {
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && !inBlock:
			inBlock, info, block = true, fence, nil
		case isFence:
			inBlock = false
			if info == "json" && vars == nil {
				vars = decodeVars(t, strings.Join(block, "\n"))
			}
			require.Contains(t, []string{"json", "expr"}, info, "line %d: every block of the page is an example", i+1)
		case inBlock:
			block = append(block, line)
			if info == "expr" && strings.TrimSpace(line) != "" {
				e, err := parseExample(fmt.Sprintf("%s:%d", file, i+1), line)
				require.NoError(t, err)
				e.check(t, vars)
				count++
			}
		}
	}
	require.Greater(t, count, 40)
}

// TestReferencePageStatesTheLimits holds the table of limits to the constants.
func TestReferencePageStatesTheLimits(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/reference/expressions.md")
	require.NoError(t, err)
	for _, row := range []string{
		fmt.Sprintf("| source of one expression | %d bytes, %d parts |", expression.MaxSource, expression.MaxNodes),
		fmt.Sprintf("| loops in loops | %d deep |", expression.MaxNesting),
		fmt.Sprintf("| list to loop over, sort or count out with `..` | %d items |", expression.MaxItems),
		fmt.Sprintf("| value computed by one expression | %d KiB of JSON |", expression.MaxResult>>10),
		fmt.Sprintf("| value read by a plain path, and a whole rendered template | %d MiB of JSON |", expression.MaxRendered>>20),
		fmt.Sprintf("| expressions in one template | %d |", expression.MaxTemplateExpressions),
		fmt.Sprintf("| nesting of values | %d levels |", expression.MaxDepth),
		fmt.Sprintf("at most %d days", expression.MaxDuration/(24*time.Hour)),
	} {
		require.Contains(t, strings.Join(strings.Fields(string(text)), " "), row)
	}
}

// TestReferencePageListsEveryFunction holds the table of functions to Builtins.
func TestReferencePageListsEveryFunction(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/reference/expressions.md")
	require.NoError(t, err)
	for _, b := range expression.Builtins() {
		row := fmt.Sprintf("| `%s` | %s |", b.Signature, strings.ReplaceAll(b.Summary, "|", `\|`))
		require.Contains(t, string(text), row)
	}
}
