package expression_test

import (
	"context"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/engine/expression"
)

func TestRefs(t *testing.T) {
	t.Parallel()
	all := expression.StepRef{Output: true, Status: true, Error: true}
	whole := func(id string) expression.StepRef { r := all; r.ID = id; return r }
	for source, want := range map[string]expression.Refs{
		`1`:                                      {},
		`payload.x`:                              {Payload: true},
		`trigger.id == run.id`:                   {Trigger: true, Run: true},
		`workflow.name`:                          {Workflow: true},
		`item.x`:                                 {Item: true},
		`index`:                                  {Item: true},
		`event.data`:                             {Event: true},
		`inputs.x`:                               {Inputs: true},
		`steps.enrich.output.x`:                  {Steps: []expression.StepRef{{ID: "enrich", Output: true}}},
		`steps["enrich"]?.status`:                {Steps: []expression.StepRef{{ID: "enrich", Status: true}}},
		`steps.enrich`:                           {Steps: []expression.StepRef{whole("enrich")}},
		`steps.my-step.output`:                   {Steps: []expression.StepRef{{ID: "my-step", Output: true}}},
		`steps.late.error ?? steps.call.output`:  {Steps: []expression.StepRef{{ID: "call", Output: true}, {ID: "late", Error: true}}},
		`[steps.call.output, steps.call.status]`: {Steps: []expression.StepRef{{ID: "call", Output: true, Status: true}}},
		`map(payload.xs, steps.call.output[#])`:  {Payload: true, Steps: []expression.StepRef{{ID: "call", Output: true}}},
		`payload[steps.call.output]`:             {Payload: true, Steps: []expression.StepRef{{ID: "call", Output: true}}},
		`let steps2 = payload.a; steps2`:         {Payload: true},
		`"steps.call.output"`:                    {},
		`{steps: 1}`:                             {},
	} {
		p, err := expression.Compile(source, exampleScope, expression.Any)
		require.NoError(t, err, source)
		require.Empty(t, cmp.Diff(want, p.Refs()), source)
	}

	tmpl, err := expression.CompileTemplate(json.RawMessage(`{"a":"{{ steps.call.output }}","b":["x {{ payload.y }} {{ steps.enrich.status }}", "{{ steps.call.error }}"]}`), exampleScope)
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(expression.Refs{
		Payload: true,
		Steps:   []expression.StepRef{{ID: "call", Output: true, Error: true}, {ID: "enrich", Status: true}},
	}, tmpl.Refs()))
	require.Equal(t, []string{"call", "enrich"}, tmpl.Refs().StepIDs())
	require.False(t, tmpl.Static())
}

func TestScopeSaysWhereANameIsKnown(t *testing.T) {
	t.Parallel()
	for source, message := range map[string]string{
		"item":           "item is known only inside a step with foreach",
		"index + 1":      "index is known only inside a step with foreach",
		"event.id":       "event is known only in triggers and in waits for an event",
		"inputs.x":       "inputs is known only inside a workflow template",
		"steps.a.output": `there is no step "a"`,
	} {
		_, err := expression.Compile(source, expression.Scope{}, expression.Any)
		var bad *expression.Error
		require.ErrorAs(t, err, &bad)
		require.Equal(t, message, bad.Message)
	}
}

func TestErrorsSayWhere(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		source               string
		offset, line, column int
	}{
		{"paylod.x", 0, 1, 1},
		{"1 +\n  paylod.x", 6, 2, 3},
		{`"é" + 1`, 4, 1, 5},
		{"payload.x && steps.enrch.output", 19, 1, 20},
		{"steps.my-step.output + steps.my-stp.output", 29, 1, 30},
		{"upper(1)", 0, 1, 1},
		{"(1", 1, 1, 2},
		{"payload.a == \"x", 15, 1, 16},
	} {
		_, err := expression.Compile(c.source, exampleScope, expression.Any)
		var bad *expression.Error
		require.ErrorAs(t, err, &bad, c.source)
		require.Equal(t, []int{c.offset, c.line, c.column}, []int{bad.Offset, bad.Line, bad.Column}, "%s: %v", c.source, bad)
		require.Equal(t, c.source, bad.Source)
	}

	p, err := expression.Compile("payload.ok &&\npayload.a.b", exampleScope, expression.Any)
	require.NoError(t, err)
	_, err = p.Eval(context.Background(), expression.Vars{"payload": map[string]any{"ok": true}})
	require.EqualError(t, err, "payload.a is null, so .b cannot be read; write payload.a?.b (line 2, column 11)")
}

func TestTemplateErrorsSayWhere(t *testing.T) {
	t.Parallel()
	source := json.RawMessage(`{"body":{"list":[1,{"to":"é {{ payload.name }} {{ paylod.x }}"}]}}`)
	_, err := expression.CompileTemplate(source, exampleScope)
	var bad *expression.Error
	require.ErrorAs(t, err, &bad)
	require.Empty(t, cmp.Diff([]any{"body", "list", 1, "to"}, bad.Path))
	require.Equal(t, " paylod.x ", bad.Source)
	require.Equal(t, 1, bad.Offset)
	require.Equal(t, 23, bad.Start)
	require.EqualError(t, err, "body.list[1].to: unknown name paylod; did you mean payload? (line 1, column 25)")

	_, err = expression.CompileTemplate(`\{{ é {{ 1 }} é {{ 1 + }}`, exampleScope)
	require.ErrorAs(t, err, &bad)
	require.Equal(t, 18, bad.Start)

	tmpl, err := expression.CompileTemplate(json.RawMessage(`{"a":["{{ payload.x.y }}"]}`), exampleScope)
	require.NoError(t, err)
	_, err = tmpl.Render(context.Background(), expression.Vars{})
	require.ErrorAs(t, err, &bad)
	require.Empty(t, cmp.Diff([]any{"a", 0}, bad.Path))
	require.Equal(t, "payload is null, so .x cannot be read; write payload?.x", bad.Message)

	_, err = tmpl.RenderJSON(context.Background(), expression.Vars{})
	require.ErrorAs(t, err, &bad)

	_, err = expression.CompileTemplate(json.RawMessage(`{"a":"x {{ y"}`), exampleScope)
	require.ErrorAs(t, err, &bad)
	require.Equal(t, 2, bad.Offset)
	require.Empty(t, cmp.Diff([]any{"a"}, bad.Path))
}

func TestPlacesInATemplateAreCountedInTheWholeString(t *testing.T) {
	t.Parallel()
	for source, places := range map[string][][2]int{
		`Dear {{ payload.name }}, your score is {{ payload.score + }} and {{ payload. }}`: {{1, 58}, {1, 77}},
		"line one\nline two {{ payload.score + }}":                                        {{2, 28}},
		"é\n{{ payload.a +\n  paylod.b }}":                                                {{3, 3}},
		`{{ paylod.a }}{{ paylod.a }}`:                                                    {{1, 4}, {1, 18}},
		`\{{ {{ 1 + }} {{ 2`:                                                              {{1, 11}, {1, 15}},
	} {
		_, err := expression.CompileTemplate(source, exampleScope)
		var got [][2]int
		for _, e := range expression.All(err) {
			got = append(got, [2]int{e.Line, e.Column})
		}
		require.Equal(t, places, got, source)
	}

	tmpl, err := expression.CompileTemplate("a\nb {{ payload.x }} {{ payload.x.y }}", exampleScope)
	require.NoError(t, err)
	_, err = tmpl.Render(context.Background(), expression.Vars{"payload": map[string]any{}})
	require.EqualError(t, err, "payload.x is null, so .y cannot be read; write payload.x?.y (line 2, column 32)")
}

func TestTemplatesTellOfEveryWrongExpression(t *testing.T) {
	t.Parallel()
	_, err := expression.CompileTemplate(json.RawMessage(`{"a":"{{ a }}","b":[1,"{{ payload.ok }}","{{ b }}"]}`), exampleScope)
	var paths []any
	for _, e := range expression.All(err) {
		paths = append(paths, e.Path)
	}
	require.Equal(t, []any{[]any{"a"}, []any{"b", 2}}, paths)

	_, err = expression.CompileTemplate(strings.Repeat("{{ a }}", 5_000), exampleScope)
	require.Len(t, expression.All(err), 20)
}

func TestOnlyFieldsThatThereAreCanBeRead(t *testing.T) {
	t.Parallel()
	for source, column := range map[string]int{
		"trigger.type": 0, "trigger.id": 0, "trigger.event.id": 0, "trigger.event?.data.anything.at.all": 0, "trigger.event.occurred_at": 0,
		"run.id": 0, "run.created_at": 0, "workflow.id": 0, "workflow.name": 0, "workflow.version": 0,
		"event.id": 0, "event.type": 0, "event.source": 0, "event.data.x": 0, "event.occurred_at": 0, "event": 0, "payload.x": 0, "item.x": 0,
		"event[payload.name]": 0, `event["data"].x`: 0, "{run: 1}.run": 0,
		"trigger.foo": 9, "trigger.event.foo": 15, "trigger?.event?.foo ?? 1": 17, "run.foo": 5, "workflow.foo": 10, "event.dat.x": 7,
		`event["dat"]`: 7, "1 + run.foo": 9,
	} {
		_, err := expression.Compile(source, exampleScope, expression.Any)
		if column == 0 {
			require.NoError(t, err, source)
			continue
		}
		var bad *expression.Error
		require.ErrorAs(t, err, &bad, source)
		require.Equal(t, column, bad.Column, "%s: %v", source, err)
	}
	_, err := expression.Compile("event.dat.x", expression.Scope{Event: true, Outside: true}, expression.Any)
	require.Error(t, err)
	_, err = expression.CompileMatch("event.dat.x == 1", expression.Scope{})
	require.Error(t, err)
}

func TestBracesAroundAllOfAnExpressionDoNotMoveItsPlaces(t *testing.T) {
	t.Parallel()
	_, err := expression.Compile(expression.Bare(" {{ payload.x + }} "), exampleScope, expression.Any)
	var bad *expression.Error
	require.ErrorAs(t, err, &bad)
	require.Equal(t, 16, bad.Column)
	require.Equal(t, "{{ 1 }} {{ 2 }}", expression.Bare("{{ 1 }} {{ 2 }}"))
}

func TestSizesAreLimited(t *testing.T) {
	t.Parallel()
	var bad *expression.Error
	long := strings.Repeat("x", 300<<10)
	vars := expression.Vars{"payload": map[string]any{"long": long, "list": make([]any, expression.MaxItems+1)}}
	eval := func(source string, kind expression.Kind) (any, error) {
		p, err := expression.Compile(source, exampleScope, kind)
		require.NoError(t, err)
		return p.Eval(context.Background(), vars)
	}
	_, err := expression.Compile(strings.Repeat(" ", expression.MaxSource)+"1", exampleScope, expression.Any)
	require.ErrorAs(t, err, &bad)
	require.Contains(t, bad.Message, "longer than 4096 bytes")

	out, err := eval("payload.long", expression.Any)
	require.NoError(t, err, "a plain read may be as large as a template")
	require.Equal(t, long, out)
	_, err = eval(`payload.long + ""`, expression.Any)
	require.ErrorAs(t, err, &bad)
	require.Equal(t, "the result is too large", bad.Message)
	_, err = eval("payload.list", expression.List)
	require.ErrorAs(t, err, &bad)
	require.Contains(t, bad.Message, "the list has 10001 items")
	_, err = eval("filter(payload.list, true)", expression.Any)
	require.ErrorAs(t, err, &bad)
	require.Contains(t, bad.Message, "filter takes at most 10000 items, and the list has 10001")

	render := func(template any) error {
		tmpl, err := expression.CompileTemplate(template, exampleScope)
		require.NoError(t, err)
		_, err = tmpl.Render(context.Background(), vars)
		return err
	}
	require.NoError(t, render([]any{"{{ payload.long }}", "{{ payload.long }}", "a {{ payload.long }}"}))
	err = render([]any{"{{ payload.long }}", "{{ payload.long }}", "a {{ payload.long }}", "{{ payload.long }}"})
	require.ErrorAs(t, err, &bad)
	require.Equal(t, "the result is too large", bad.Message)
	require.Empty(t, cmp.Diff([]any{3}, bad.Path))
	err = render(strings.Repeat("x", 800<<10) + "{{ payload.long }}")
	require.ErrorAs(t, err, &bad)

	many := make([]any, expression.MaxTemplateExpressions+1)
	for i := range many {
		many[i] = "{{ 1 }}"
	}
	require.NoError(t, render(many[1:]))
	_, err = expression.CompileTemplate(many, exampleScope)
	require.ErrorAs(t, err, &bad)
	require.Contains(t, bad.Message, "more than 1000 expressions")

	work := make([]any, 40)
	for i := range work {
		work[i] = "{{ len(map(1..10000, # * 2 + 1 - 3 + 4)) }}"
	}
	require.NoError(t, render(work[:5]))
	err = render(work)
	require.ErrorAs(t, err, &bad)
	require.Equal(t, "the expression does too much work on this data", bad.Message)
}

func TestDecode(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]any{
		`1`: 1, `-0`: 0, `1.0`: 1, `1e3`: 1000, `1.5`: 1.5, `9223372036854775807`: math.MaxInt, `9223372036854775808`: float64(1 << 63),
		`"a"`: "a", `null`: nil, ``: nil, `[1,{"a":[2.50]}]`: []any{1, map[string]any{"a": []any{2.5}}}, `[ {} ]`: []any{map[string]any{}},
		`9007199254740993`: 9007199254740993, `1e-400`: 0, `"[[[[{{{{\"]"`: `[[[[{{{{"]`,
	} {
		got, err := expression.Decode(json.RawMessage(raw))
		require.NoError(t, err, raw)
		require.Empty(t, cmp.Diff(want, got), raw)
	}
	nested := func(n int) json.RawMessage {
		return json.RawMessage(strings.Repeat(`[`, n) + strings.Repeat(`]`, n))
	}
	_, err := expression.Decode(nested(expression.MaxDepth))
	require.NoError(t, err)
	for _, raw := range []json.RawMessage{nested(expression.MaxDepth + 1), nested(100_000), json.RawMessage(`{`), json.RawMessage(`1 2`), json.RawMessage(`1e999`), json.RawMessage(`nul`)} {
		_, err := expression.Decode(raw)
		require.Error(t, err)
	}
}

func TestNormalize(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 1, 31, 9, 0, 0, 0, time.FixedZone("", 3600))
	got, err := expression.Normalize(map[string]any{
		"f": 2.0, "n": json.Number("7"), "i": int64(8), "u": uint64(math.MaxUint64), "raw": json.RawMessage(`{"a":1.0}`),
		"strings": []string{"a"}, "map": map[string]string{"a": "b"}, "time": at, "duration": 90 * time.Minute, "deep": []any{1, []any{2.0}},
		"i32": int32(1), "u32": uint32(2), "f32": float32(0.5), "small": uint64(3),
	})
	require.NoError(t, err)
	require.Empty(t, cmp.Diff(map[string]any{
		"f": 2, "n": 7, "i": 8, "u": float64(math.MaxUint64), "raw": map[string]any{"a": 1},
		"strings": []any{"a"}, "map": map[string]any{"a": "b"}, "time": "2026-01-31T08:00:00.000Z", "duration": "1h30m", "deep": []any{1, []any{2}},
		"i32": 1, "u32": 2, "f32": 0.5, "small": 3,
	}, got))

	kept := map[string]any{"a": []any{1, "x"}}
	same, err := expression.Normalize(kept)
	require.NoError(t, err)
	same.(map[string]any)["mark"] = true
	require.Contains(t, kept, "mark", "what needs no change is not copied")

	loop := []any{nil}
	loop[0] = loop
	for _, v := range []any{struct{}{}, math.NaN(), math.Inf(1), json.Number("x"), json.RawMessage("{"), loop, map[string]any{"a": []any{make(chan int)}}} {
		_, err := expression.Normalize(v)
		require.Error(t, err)
	}
}

// TestGoValuesStayOut holds that a value with methods in the data cannot be used.
func TestGoValuesStayOut(t *testing.T) {
	t.Parallel()
	vars := expression.Vars{"payload": map[string]any{"x": &strings.Builder{}, "list": []any{&strings.Builder{}}}}
	for _, source := range []string{"payload.x", "payload.list", "payload.x.String", `payload.x["String"]`, "upper(payload.x)", "payload.x + 1", "map(payload.list, .String)", "string(payload.list)", "type(payload.x)"} {
		p, err := expression.Compile(source, exampleScope, expression.Any)
		require.NoError(t, err)
		_, err = p.Eval(context.Background(), vars)
		requireOurs(t, err)
	}
}

func TestParseDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"90s": 90 * time.Second, "24h": 24 * time.Hour, "7d": 7 * 24 * time.Hour, "1d12h": 36 * time.Hour, "1.5h": 90 * time.Minute,
		"0.5d": 12 * time.Hour, "100ms": 100 * time.Millisecond, "1h0m": time.Hour, "3650d": expression.MaxDuration, "5us": 5 * time.Microsecond, "5µs": 5 * time.Microsecond, "1ns": 1,
	} {
		got, err := expression.ParseDuration(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
	for _, text := range []string{"", "0s", "0d", "-1h", "+1h", "1", "h", "1w", "1h 2m", " 1h", "1D", "1hh", "1..5h", "3651d", "3650d1ns", "9999999999999999999999d", "1e3s", "NaNs", "0x1s", strings.Repeat("1h", 40)} {
		_, err := expression.ParseDuration(text)
		require.Error(t, err, text)
	}
	for d, want := range map[time.Duration]string{
		0: "0s", 36 * time.Hour: "1d12h", 90 * time.Second: "1m30s", 1500 * time.Millisecond: "1s500ms", 7 * 24 * time.Hour: "7d", -time.Hour: "-1h", math.MinInt64: "-106751d23h47m16s854ms775us808ns",
	} {
		require.Equal(t, want, expression.FormatDuration(d))
	}
}

func TestRenderJSONKeepsFieldsInOrder(t *testing.T) {
	t.Parallel()
	tmpl, err := expression.CompileTemplate(json.RawMessage(`{"b":"{{ payload.x }}","a":"<{{ payload.x }}>","c":{"z":1,"y":2}}`), exampleScope)
	require.NoError(t, err)
	for range 10 {
		raw, err := tmpl.RenderJSON(context.Background(), expression.Vars{"payload": map[string]any{"x": map[string]any{"n": 1.0, "m": "&"}}})
		require.NoError(t, err)
		// As text: the order of the names has to be the same every time.
		require.Empty(t, cmp.Diff(`{"a":"<{\"m\":\"&\",\"n\":1}>","b":{"m":"&","n":1},"c":{"y":2,"z":1}}`, string(raw)))
	}
}

func TestBuiltinsAreDescribed(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, b := range expression.Builtins() {
		require.False(t, seen[b.Name], b.Name)
		seen[b.Name] = true
		require.True(t, strings.HasPrefix(b.Signature, b.Name+"("), b.Signature)
		require.NotEmpty(t, b.Summary)
		require.NotEmpty(t, b.Group)
	}
}
