package expression_test

import (
	"context"
	"encoding/json"
	"math"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/10ex/flows/engine/expression"
)

// jsonValue draws a JSON value as Decode gives it.
func jsonValue(depth int, text *rapid.Generator[string]) *rapid.Generator[any] {
	kinds := []*rapid.Generator[any]{
		rapid.Just[any](nil),
		rapid.Bool().AsAny(),
		rapid.Int().AsAny(),
		rapid.Float64().Filter(func(x float64) bool { return !math.IsInf(x, 0) && !math.IsNaN(x) }).AsAny(),
		text.AsAny(),
	}
	if depth > 0 {
		inner := jsonValue(depth-1, text)
		kinds = append(kinds, rapid.SliceOfN(inner, 0, 4).AsAny(), rapid.MapOfN(text, inner, 0, 4).AsAny())
	}
	return rapid.OneOf(kinds...)
}

// viaJSON gives what a value is once it has gone through JSON.
func viaJSON(t require.TestingT, v any) any {
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	out, err := expression.Decode(raw)
	require.NoError(t, err)
	return out
}

func TestTemplateWithoutBracesRendersToItself(t *testing.T) {
	t.Parallel()
	text := rapid.String().Filter(func(s string) bool { return !strings.Contains(s, "{{") })
	rapid.Check(t, func(rt *rapid.T) {
		v := viaJSON(rt, jsonValue(3, text).Draw(rt, "value"))
		tmpl, err := expression.CompileTemplate(v, expression.Scope{})
		require.NoError(rt, err)
		require.True(rt, tmpl.Static())
		out, err := tmpl.Render(context.Background(), nil)
		require.NoError(rt, err)
		require.Empty(rt, cmp.Diff(v, out))
	})
}

func TestLoneExpressionKeepsAnyValue(t *testing.T) {
	t.Parallel()
	tmpl, err := expression.CompileTemplate("{{ payload.x }}", expression.Scope{})
	require.NoError(t, err)
	rapid.Check(t, func(rt *rapid.T) {
		v := viaJSON(rt, jsonValue(4, rapid.String()).Draw(rt, "value"))
		vars := expression.Vars{"payload": map[string]any{"x": v}}
		out, err := tmpl.Render(context.Background(), vars)
		require.NoError(rt, err)
		require.Empty(rt, cmp.Diff(v, out))

		raw, err := tmpl.RenderJSON(context.Background(), vars)
		require.NoError(rt, err)
		require.Empty(rt, cmp.Diff(v, viaJSON(rt, raw)))
	})
}

func TestEscapedBracesRenderAsText(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		want := rapid.StringMatching(`[a-z ]*(\{\{ ?[a-z }]*){1,3}`).Draw(rt, "text")
		tmpl, err := expression.CompileTemplate(expression.Escape(want), expression.Scope{})
		require.NoError(rt, err)
		out, err := tmpl.Render(context.Background(), nil)
		require.NoError(rt, err)
		require.Equal(rt, want, out)
	})
}

func TestEqualValuesAreEqual(t *testing.T) {
	t.Parallel()
	p, err := expression.Compile("payload.x == payload.y && !(payload.x != payload.y)", expression.Scope{}, expression.Bool)
	require.NoError(t, err)
	rapid.Check(t, func(rt *rapid.T) {
		v := viaJSON(rt, jsonValue(3, rapid.String()).Draw(rt, "value"))
		out, err := p.Eval(context.Background(), expression.Vars{"payload": map[string]any{"x": v, "y": viaJSON(rt, v)}})
		require.NoError(rt, err)
		require.Equal(rt, true, out)
	})
}

// TestNumbersCompareExactly holds order between whole numbers and floats to big
// numbers that neither int64 nor float64 can hold both of.
func TestNumbersCompareExactly(t *testing.T) {
	t.Parallel()
	p, err := expression.Compile("[payload.x < payload.y, payload.x == payload.y, payload.x > payload.y]", expression.Scope{}, expression.List)
	require.NoError(t, err)
	for _, c := range []struct {
		x, y any
		want []any
	}{
		{math.MaxInt, float64(1 << 63), []any{true, false, false}},
		{math.MinInt, -float64(1 << 63), []any{false, true, false}},
		{1<<53 + 1, float64(1 << 53), []any{false, false, true}},
		{3, 3.5, []any{true, false, false}},
		{-3, -3.5, []any{false, false, true}},
		{2.5, 2, []any{false, false, true}},
	} {
		out, err := p.Eval(context.Background(), expression.Vars{"payload": map[string]any{"x": c.x, "y": c.y}})
		require.NoError(t, err)
		require.Equal(t, c.want, out, "%v %v", c.x, c.y)
	}
}

func TestDurationsReadAsTheyAreWritten(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		d := time.Duration(rapid.Int64Range(1, int64(expression.MaxDuration)).Draw(rt, "duration"))
		back, err := expression.ParseDuration(expression.FormatDuration(d))
		require.NoError(rt, err)
		require.Equal(rt, d, back)
	})
}

// TestProgramsMayBeSharedByGoroutines is for the race detector.
func TestProgramsMayBeSharedByGoroutines(t *testing.T) {
	t.Parallel()
	vars := decodeVars(t, benchData)
	before := viaJSON(t, map[string]any(vars))
	p, err := expression.Compile(`let x = sortBy(payload.items, -.n); {a: groupBy(x, .n > 5), b: merge(payload, {c: x[0]}), d: steps.enrich.output ?? 1}`, exampleScope, expression.Any)
	require.NoError(t, err)
	tmpl, err := expression.CompileTemplate(map[string]any{"a": "{{ payload.items }}", "b": "x {{ payload.name }}", "c": []any{1, "{{ date(\"2026-01-01\") }}"}}, exampleScope)
	require.NoError(t, err)
	want, err := p.Eval(context.Background(), vars)
	require.NoError(t, err)
	wantJSON, err := tmpl.RenderJSON(context.Background(), vars)
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				out, err := p.Eval(context.Background(), vars)
				if err != nil || !cmp.Equal(want, out) {
					t.Errorf("eval gave %v, %v", out, err)
				}
				raw, err := tmpl.RenderJSON(context.Background(), vars)
				if err != nil || string(raw) != string(wantJSON) {
					t.Errorf("render gave %s, %v", raw, err)
				}
			}
		})
	}
	wg.Wait()
	require.Empty(t, cmp.Diff(before, viaJSON(t, map[string]any(vars))), "evaluation changed its data")
}
