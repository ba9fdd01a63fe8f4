package expression_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/10ex/flows/engine/expression"
)

func TestMatchFindsWhatMustBeEqual(t *testing.T) {
	t.Parallel()
	scope := expression.Scope{Steps: []string{"my-step"}}
	for _, c := range []struct {
		src  string
		want []string // field = how the value reads
	}{
		{`event.data.lead_id == payload.lead_id`, []string{"data.lead_id = l1"}},
		{`payload.lead_id == event.data.lead_id`, []string{"data.lead_id = l1"}},
		{`event.type == "lead.replied" && event.data.stage == "won" and (event.data["lead-id"] == payload.lead_id)`,
			[]string{"data.lead-id = l1", "data.stage = won", "type = lead.replied"}},
		{`event.data?.lead?.id == steps.my-step.output.id && event.data.n > 3`, []string{"data.lead.id = 7"}},
		{`event.data.n == payload.n + 1`, []string{"data.n = 3"}},
		{`event.data.id == payload.lead_id || true`, nil},
		{`not (event.data.id == payload.lead_id)`, nil},
		{`event.data.id != payload.lead_id`, nil},
		{`(event.data.id ?? "l1") == payload.lead_id`, nil},
		{`event.data.items[0] == payload.lead_id`, nil},
		{`event.data[payload.lead_id] == 1`, nil},
		{`event.data.a == event.data.b`, nil},
		{`lower(event.data.id) == payload.lead_id`, nil},
		{`payload.lead_id == "l1"`, nil},
		{`let id = payload.lead_id; event.data.id == id`, nil},
		{`any(payload.list, event.data.id == #)`, nil},
	} {
		m, err := expression.CompileMatch(c.src, scope)
		require.NoError(t, err, c.src)
		vars := expression.Vars{
			"payload": map[string]any{"lead_id": "l1", "n": 2, "list": []any{}},
			"steps":   map[string]any{"my-step": map[string]any{"output": map[string]any{"id": 7}}},
		}
		var got []string
		for _, eq := range m.Equalities {
			v, err := eq.Value.Eval(context.Background(), vars)
			require.NoError(t, err, c.src)
			got = append(got, fmt.Sprintf("%s = %v", strings.Join(eq.Field, "."), v))
		}
		require.Empty(t, cmp.Diff(c.want, got), c.src)
	}
	_, err := expression.CompileMatch(`event.data. == 1`, scope)
	require.Error(t, err)
}

func TestFieldKeysAreEqualWhereValuesAre(t *testing.T) {
	t.Parallel()
	equal, err := expression.Compile("payload.a == payload.b", expression.Scope{}, expression.Bool)
	require.NoError(t, err)
	scalar := rapid.OneOf(
		jsonValue(0, rapid.SampledFrom([]string{"", "1", "true", "n1", "a\xffb", "é"})),
		rapid.SampledFrom([]any{0, 1, -1, 1.5, 1e17, 100000000000000000, 9007199254740993, 9007199254740992.0, 9.3e18, -9223372036854775808, -9.223372036854775808e18, true, "0"}),
	)
	rapid.Check(t, func(t *rapid.T) {
		a, b := scalar.Draw(t, "a"), scalar.Draw(t, "b")
		same, err := equal.Eval(context.Background(), expression.Vars{"payload": map[string]any{"a": a, "b": b}})
		require.NoError(t, err)
		k, ok := expression.FieldKey([]string{"data", "x"}, a)
		l, lOK := expression.FieldKey([]string{"data", "x"}, b)
		require.Equal(t, a != nil, ok)
		if ok && lOK {
			require.Equal(t, same, k == l, "%v and %v", a, b)
		}
	})
}

func TestEveryEventAMatchHoldsForHasItsKey(t *testing.T) {
	t.Parallel()
	m, err := expression.CompileMatch(`event.data?.a?.b == payload.v && event.data?.c != 1`, expression.Scope{})
	require.NoError(t, err)
	require.Len(t, m.Equalities, 1)
	names := rapid.SampledFrom([]string{"a", "b", "c"})
	rapid.Check(t, func(t *rapid.T) {
		event := map[string]any{"type": "x", "data": jsonValue(2, names).Draw(t, "data")}
		v := jsonValue(0, names).Draw(t, "v")
		if inner, ok := event["data"].(map[string]any); ok && rapid.Bool().Draw(t, "meant") {
			inner["a"] = map[string]any{"b": v}
		}
		holds, err := m.Eval(context.Background(), expression.Vars{"event": event, "payload": map[string]any{"v": v}})
		key, ok := expression.FieldKey(m.Equalities[0].Field, v)
		if err != nil || holds != true || !ok {
			return
		}
		keys, all := expression.FieldKeys(event, 1000)
		require.True(t, all)
		require.Contains(t, keys, key)
	})
}

func TestFieldKeysAreBounded(t *testing.T) {
	t.Parallel()
	keys, all := expression.FieldKeys(map[string]any{"a": 1, "b": map[string]any{"c": true, "d": "x"}, "e": nil, "f": []any{1}}, 3)
	require.True(t, all)
	require.Len(t, keys, 3)
	keys, all = expression.FieldKeys(map[string]any{"a": 1, "b": map[string]any{"c": true, "d": "x"}}, 2)
	require.False(t, all)
	require.Len(t, keys, 2)
}

func TestRefsTellWhatIsReadOfTheEventOfATrigger(t *testing.T) {
	t.Parallel()
	for src, want := range map[string]bool{
		`trigger.type == "event"`:           false,
		`trigger.event.id`:                  false,
		`trigger.event?.id`:                 false,
		`trigger.id ?? trigger.event?.id`:   false,
		`trigger.event`:                     true,
		`trigger.event.data.x`:              true,
		`trigger?.event?.type`:              true,
		`trigger`:                           true,
		`trigger["event"]["data"]`:          true,
		`trigger[payload.x]`:                true,
		`payload.trigger.event.data`:        false,
		`map([1], trigger.event.data.x)`:    true,
		`steps.a.output.trigger.event.data`: false,
	} {
		p, err := expression.Compile(src, expression.Scope{Steps: []string{"a"}}, expression.Any)
		require.NoError(t, err, src)
		require.Equal(t, want, p.Refs().TriggerEvent, src)
		require.Equal(t, want, p.Refs().Merge(expression.Refs{}).TriggerEvent, src)
		require.Equal(t, want, expression.Refs{}.Merge(p.Refs()).TriggerEvent, src)
	}
}
