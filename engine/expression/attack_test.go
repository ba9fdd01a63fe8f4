package expression_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/10ex/flows/engine/expression"
)

// attackVars are data as bad as an API that takes 1 MiB lets through.
func attackVars() expression.Vars {
	numbers := make([]any, 10_000)
	texts := make([]any, 10_000)
	for i := range numbers {
		numbers[i] = i
		texts[i] = fmt.Sprintf("text %d", i)
	}
	deep := any(1)
	for range expression.MaxDepth - 4 {
		deep = []any{deep}
	}
	return expression.Vars{"payload": map[string]any{
		"numbers": numbers, "texts": texts, "deep": deep,
		"small": numbers[:300], "zeros": make([]any, 10_000),
		"long": strings.Repeat("a", 1<<20), "text": strings.Repeat("ab", 500),
	}}
}

// refusedAttacks do not compile.
var refusedAttacks = []string{
	// Ways out, as tried on engines that run JavaScript or reach Go values.
	`constructor.constructor("return process")()`,
	`payload.constructor("return process.env")()`,
	`this.process.mainModule.require("child_process").execSync("id")`,
	`(function(){return this})()`,
	`[].constructor.constructor("x")()`,
	`payload["__proto__"]["polluted"]()`,
	`$env`,
	`$env.payload`,
	`$env["payload"]`,
	`::$env`,
	`get($env, "payload")`,
	`env`,
	`process.env`,
	`$json.x`,
	`$node["a"].json`,
	`payload.String()`,
	`payload?.Error()`,
	`date("2026-01-01").UnixNano()`,
	`date("2026-01-01").Location().String()`,
	`duration("1h").String()`,
	`" load"(payload)`,
	`now()`,
	`timezone("../../etc/passwd")`,
	`reduce(1..20000, #acc + "…")`,
	`repeat("a", 1000000)`,
	`map(1..10, repeat("a", 1000000))`,
	`payload.text matches payload.text`,
	`payload.text matches "` + strings.Repeat("(a{1,100}){1,100}", 3) + `"`,
	`payload.text matches "` + strings.Repeat("a{1000}", 60) + `"`,
	`steps[payload.x].output`,
	`steps["en" + "rich"]`,
	`len(steps)`,
	// Size, depth and shared nodes.
	strings.Repeat("(", 4000) + "1" + strings.Repeat(")", 4000),
	strings.Repeat("(", 2000) + "1" + strings.Repeat(")", 2000) + strings.Repeat(" + 1", 600),
	strings.Repeat("[", 2000) + strings.Repeat("]", 2000),
	strings.Repeat("!", 4000) + "true",
	strings.Repeat("-", 4000) + "1",
	strings.Repeat("1+", 2000) + "1",
	strings.Repeat("payload.", 600) + "x",
	strings.Repeat("1 < (", 100) + "1" + strings.Repeat(" < 1) < 1", 100),
	strings.Repeat("(", 150) + "payload.a" + strings.Repeat(" ?: 1)", 150),
	strings.Repeat("map(", 3) + "payload.small" + strings.Repeat(", map(payload.small, map(payload.small, 1)))", 3),
	`all(payload.small, all(payload.small, all(payload.small, true)))`,
	`map(1..1000000000, #)` + strings.Repeat(" ", expression.MaxSource),
	strings.Repeat("let a=1;", 400),
	"\x00", "\xff\xfe", "payload\u200b.x", `"\u{110000}"`, "\uA7F7",
}

// stoppedAttacks compile and are stopped by a limit while they are evaluated.
var stoppedAttacks = []string{
	`map(1..1000000000, #)`,
	`len(0..9223372036854775807)`,
	`all(payload.numbers, all(payload.numbers, true))`,
	`map(payload.numbers, map(payload.numbers, #))`,
	`map(payload.small, map(payload.numbers, payload.long))`,
	`map(payload.numbers, payload.long + #index)`,
	`map(payload.texts, payload.long + #)`,
	`map(payload.numbers, payload.long == payload.long)`,
	`map(payload.numbers, payload.long contains "b")`,
	`map(payload.numbers, payload.long matches "(a|a)*b")`,
	`map(payload.numbers, upper(payload.long))`,
	`map(payload.numbers, payload.long[-1])`,
	`map(payload.numbers, payload.long[1:])`,
	`map(payload.numbers, len(payload.long))`,
	`map(payload.numbers, sort(payload.texts))`,
	`map(payload.numbers, # in payload.texts)`,
	`map(payload.numbers, payload.zeros == payload.zeros)`,
	`map(payload.numbers, uniq(payload.texts))`,
	`map(payload.numbers, toJSON(payload.texts))`,
	`map(payload.numbers, join(payload.texts))`,
	`map(payload.numbers, concat(payload.texts, payload.texts))`,
	`map(payload.numbers, [[], [], [], [], [], [], [], [], [], []])`,
	`map(payload.numbers, {{a: {b: {c: payload.numbers}}}})`,
	`map(payload.numbers, filter(payload.zeros, false))`,
	`map(payload.numbers, payload.numbers)`,
	`uniq(map(payload.numbers, [#]))`,
	`payload.long matches "^(((((a{0,9}){0,9}){0,9})))*b$"`,
	`replace(payload.long, "a", payload.long)`,
	`replace(payload.long, "", payload.text)`,
	`split(payload.long, "")`,
	`"` + strings.Repeat("a", 100) + `" + payload.long + payload.long + payload.long + payload.long + payload.long + payload.long + payload.long + payload.long`,
	`let a = payload.text; let b = a+a+a+a+a+a+a+a; let c = b+b+b+b+b+b+b+b; let d = c+c+c+c+c+c+c+c; let e = d+d+d+d+d+d+d+d; e+e+e+e`,
	doubling("concat(@, @)", `payload.numbers`, 20),
	doubling("[@, @]", `payload.text`, 40),
	doubling("{a: @, b: @}", `1`, 40),
	comparing(40),
	`toJSON(` + doubling("[@, @]", `1`, 40) + `)`,
	`flatten(` + doubling("[@, @]", `1`, 40) + `)`,
	`string(` + doubling("[@, @]", `payload.text`, 30) + `)`,
	`toBase64(payload.long + payload.long)`,
	`[[[[[payload.deep]]]]]`,
	`{a: payload.deep}.a | map({{b: [[#]]}}) | map([[[[#]]]])`,
	`1e308 * 1e308`,
	`-9223372036854775807 - 9223372036854775807`,
	`duration("3650d") * 9223372036854775807`,
	`date("9999-12-31") + duration("3650d")`,
}

// doubling makes a source of n lets, each made as form says of the one before it, @.
func doubling(form, first string, n int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "let x0 = %s; ", first)
	for i := 1; i < n; i++ {
		fmt.Fprintf(&b, "let x%d = %s; ", i, strings.ReplaceAll(form, "@", fmt.Sprintf("x%d", i-1)))
	}
	fmt.Fprintf(&b, "x%d", n-1)
	return b.String()
}

// comparing builds two lists that are small in memory and endless to compare.
func comparing(n int) string {
	var b strings.Builder
	b.WriteString("let x0 = 1; let y0 = 1; ")
	for i := 1; i < n; i++ {
		fmt.Fprintf(&b, "let x%d = [x%d, x%d]; let y%d = [y%d, y%d]; ", i, i-1, i-1, i, i-1, i-1)
	}
	fmt.Fprintf(&b, "x%d == y%d", n-1, n-1)
	return b.String()
}

// enough is far above what any attack may take on a healthy machine (some tens of
// milliseconds) and far below what a missing limit makes of it.
const enough = 5 * time.Second

func TestAttacksAreRefused(t *testing.T) {
	t.Parallel()
	for _, source := range refusedAttacks {
		t.Run(name(source), func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			p, err := expression.Compile(source, exampleScope, expression.Any)
			require.Less(t, time.Since(began), enough)
			if err == nil {
				_, err = p.Eval(context.Background(), attackVars())
			}
			requireOurs(t, err)
			require.Nil(t, p)
		})
	}
}

func TestAttacksAreStopped(t *testing.T) {
	t.Parallel()
	vars := attackVars()
	for _, source := range stoppedAttacks {
		t.Run(name(source), func(t *testing.T) {
			t.Parallel()
			p, err := expression.Compile(source, exampleScope, expression.Any)
			require.NoError(t, err)
			began := time.Now()
			_, err = p.Eval(context.Background(), vars)
			took := time.Since(began)
			requireOurs(t, err)
			require.Less(t, took, enough)
			t.Log(took, err)
		})
	}
}

// Evaluation runs where it is called, so a stopped one can leave nothing behind.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestLargeTemplatesAreReadInOneGo(t *testing.T) {
	t.Parallel()
	for _, source := range []string{
		strings.Repeat("{{1}}", 200_000), strings.Repeat("é{{1}}", 100_000), strings.Repeat("{{", 500_000), strings.Repeat(`\{{`, 300_000),
		strings.Repeat("{{ '", 200_000), strings.Repeat("{{ {", 200_000), strings.Repeat("{{/*", 200_000), strings.Repeat("{{//", 200_000),
	} {
		began := time.Now()
		_, err := expression.CompileTemplate(source, exampleScope)
		require.Less(t, time.Since(began), enough)
		if !strings.HasPrefix(source, `\`) {
			var bad *expression.Error
			require.ErrorAs(t, err, &bad)
		}
	}
}

func TestEvalEndsWithItsContext(t *testing.T) {
	t.Parallel()
	p, err := expression.Compile(`all(payload.small, all(payload.small, true))`, exampleScope, expression.Any)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = p.Eval(ctx, attackVars())
	require.ErrorIs(t, err, context.Canceled)

	// Cancelled on the way: the context says so only from its second question on.
	_, err = p.Eval(&lateCancel{Context: context.Background()}, attackVars())
	require.ErrorIs(t, err, context.Canceled)
}

type lateCancel struct {
	context.Context
	asked int
}

func (c *lateCancel) Err() error {
	if c.asked++; c.asked > 1 {
		return context.Canceled
	}
	return nil
}

// TestTooMuchWorkDoesNotDependOnTime holds that the limit is a count: the same
// evaluation ends the same way every time.
func TestTooMuchWorkDoesNotDependOnTime(t *testing.T) {
	t.Parallel()
	vars := attackVars()
	outcome := func(n int) bool {
		p, err := expression.Compile(fmt.Sprintf(`all(1..%d, all(1..%d, # > 0))`, n, n), exampleScope, expression.Any)
		require.NoError(t, err)
		_, err = p.Eval(context.Background(), vars)
		return err == nil
	}
	limit := 1
	for outcome(limit * 2) {
		limit *= 2
	}
	for range 5 {
		require.True(t, outcome(limit))
		require.False(t, outcome(limit*2))
	}
}

func TestHonestWorkIsDone(t *testing.T) {
	t.Parallel()
	vars := attackVars()
	for _, source := range []string{
		`len(filter(payload.numbers, # % 2 == 0 && # > 100 && # < 9000))`,
		`len(sortBy(payload.texts, #, "desc"))`,
		`len(uniq(payload.texts))`,
		`sum(map(payload.numbers, # * 2 + 1))`,
		`count(payload.small, # in take(payload.small, 100))`,
		`len(map(take(payload.small, 200), filter(take(payload.small, 200), # > 100)))`,
		`len(join(payload.texts, ", "))`,
		`len(keys(groupBy(payload.texts, #[0:6])))`,
	} {
		p, err := expression.Compile(source, exampleScope, expression.Any)
		require.NoError(t, err, source)
		_, err = p.Eval(context.Background(), vars)
		require.NoError(t, err, source)
	}
}

// requireOurs holds that an error is one of ours, with words fit for a user.
func requireOurs(t *testing.T, err error) {
	t.Helper()
	var bad *expression.Error
	require.ErrorAs(t, err, &bad)
	require.NotContains(t, bad.Message, "cannot be evaluated here")
	require.NotContains(t, bad.Message, "cannot be compiled")
	requireHuman(t, bad)
}

func requireHuman(t testing.TB, bad *expression.Error) {
	t.Helper()
	for _, leak := range []string{"interface", "map[", "[]", "reflect", "runtime", "goroutine", "nil pointer", "int64", "float64", "%!", "Operator(", "Identifier("} {
		if leak == "[]" && strings.Contains(bad.Message, "?? [])") {
			continue
		}
		require.NotContains(t, bad.Message, leak)
	}
	require.NotEmpty(t, bad.Message)
	require.LessOrEqual(t, len(bad.Message), 400)
	require.GreaterOrEqual(t, bad.Line, 1)
	require.GreaterOrEqual(t, bad.Column, 1)
	require.GreaterOrEqual(t, bad.Offset, 0)
	require.LessOrEqual(t, bad.Offset, len(bad.Source))
}

func name(source string) string {
	if len(source) > 60 {
		return source[:60]
	}
	return source
}
