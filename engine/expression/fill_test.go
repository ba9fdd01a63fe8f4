package expression_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/engine/expression"
)

func isWhen(path []any) bool { return len(path) > 0 && path[len(path)-1] == "when" }

func TestFillReplacesWhatReadsInputsAndNothingElse(t *testing.T) {
	t.Parallel()
	inputs := map[string]any{
		"n": 80, "s": `it's "hot"`, "list": []any{"a", "b"}, "end": "x{", "open": "{ payload.x }}", "slash": `C:\`, "none": nil, "on": true, "half": 0.5,
	}
	for name, tc := range map[string]struct{ doc, want any }{
		"keeps the type":             {"{{ inputs.n }}", 80},
		"a list":                     {map[string]any{"to": "{{ inputs.list }}"}, map[string]any{"to": []any{"a", "b"}}},
		"null":                       {"{{ inputs.none }}", nil},
		"in text":                    {"more than {{ inputs.n }} or {{ inputs.half }}", "more than 80 or 0.5"},
		"computed":                   {"{{ inputs.n > 50 ? 'high' : 'low' }}", "high"},
		"leaves the run's":           {"{{ payload.lead_id }} of {{inputs.n}} {{ steps.some-step.output.x }}", "{{ payload.lead_id }} of 80 {{ steps.some-step.output.x }}"},
		"leaves items and events":    {[]any{"{{ item.inputs }}", "{{ event.data.inputs }}"}, []any{"{{ item.inputs }}", "{{ event.data.inputs }}"}},
		"leaves what is no template": {[]any{"{{ nothing", 1, true, nil, `\{{ inputs.n }}`}, []any{"{{ nothing", 1, true, nil, `\{{ inputs.n }}`}},
		"a literal":                  {map[string]any{"when": "payload.score > {{ inputs.n }}"}, map[string]any{"when": "payload.score > 80"}},
		"text as a literal":          {map[string]any{"when": "payload.kind == {{ inputs.s }}"}, map[string]any{"when": `payload.kind == "it's \"hot\""`}},
		"all of it":                  {map[string]any{"when": "{{ inputs.on }}"}, map[string]any{"when": "true"}},
		"a list as a literal":        {map[string]any{"when": "payload.x in {{ inputs.list }}"}, map[string]any{"when": `payload.x in ["a","b"]`}},
	} {
		got, err := expression.Fill(tc.doc, inputs, isWhen)
		require.NoError(t, err, name)
		require.Empty(t, cmp.Diff(tc.want, got), name)
	}
	for name, tc := range map[string]struct {
		doc  any
		want string
	}{
		"mixed":             {"{{ inputs.n + payload.x }}", "inputs cannot stand in one {{ … }} with what only a run knows"},
		"missing":           {"{{ inputs.other.x }}", "inputs.other is null, so .x cannot be read; write inputs.other?.x"},
		"does not compile":  {"{{ inputs.n + }}", "(1:12)"},
		"braces":            {"{{ '{' + '{' + inputs.s }}", "the value holds {{, which would be read as an expression"},
		"braces at an edge": {"{{ inputs.end }}{{ inputs.open }}", "the value holds {{, which would be read as an expression"},
		"masks what follows": {
			"{{ inputs.slash }}{{ payload.x }}", "the value holds {{, which would be read as an expression",
		},
		"not closed": {"{{ inputs.n", "{{ is not closed"},
	} {
		_, err := expression.Fill(map[string]any{"a": []any{tc.doc}}, inputs, isWhen)
		var e *expression.Error
		require.ErrorAs(t, err, &e, name)
		require.Equal(t, []any{"a", 0}, e.Path, name)
		if name != "does not compile" {
			require.Contains(t, e.Message, tc.want, name)
		}
	}
}

func TestInputsNamesWhatAStringReads(t *testing.T) {
	t.Parallel()
	require.Equal(t, []string{"a", "b", "c d"}, expression.Inputs(`inputs.no {{ inputs.a }} {{ inputs?.b ?? inputs["c d"] }} {{ payload.inputs }}`))
	require.Empty(t, expression.Inputs("{{ inputs.a"))
}

func TestReplaceLiterals(t *testing.T) {
	t.Parallel()
	with := func(v any) (string, bool) {
		switch v {
		case 80, 0.5, "crm", `it's "hot"`:
			return "X", true
		}
		return "", false
	}
	for src, want := range map[string]string{
		"payload.score > 80":                   "payload.score > X",
		"payload.score>=80&&x80 == y.80":       "payload.score>=X&&x80 == y.80",
		"80..90":                               "X..90",
		"800 + 80_0 + 8 + 80.0 + 80.5":         "800 + 80_0 + 8 + X + 80.5",
		"5e-1 + .5 + 0.5":                      "X + .5 + X",
		`event.source == "crm"`:                "event.source == X",
		"event.source == 'crm' // \"crm\"":     "event.source == X // \"crm\"",
		"event.source == `crm` /* 'crm' */":    "event.source == X /* 'crm' */",
		`a == "it's \"hot\"" || 'it\'s "hot"'`: "a == X || X",
		`{{ payload.score > 80 }}`:             "payload.score > X",
		`crm.crm + "crm2" + "ücrm"`:            `crm.crm + "crm2" + "ücrm"`,
		`"unfinished`:                          `"unfinished`,
		`ü80 + 80`:                             `ü80 + X`,
	} {
		require.Equal(t, want, expression.ReplaceLiterals(src, with), src)
	}
}
