package engine

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/10ex/flows/models"
)

func TestStepsThatReadWhatDoesNotComeBeforeThemAreWarnedOf(t *testing.T) {
	t.Parallel()
	def, errs := compile(&models.Version{Graph: parseGraph(t, `{"steps":[`+step("a")+`,
		{"id":"b","type":"connector","connector":"core","action":"set","input":{"x":"{{ steps.a.output }}","y":"{{ steps.c.output }}"}},`+step("c")+`],
		"edges":[{"from":"a","to":"b"},{"from":"b","to":"c"}]}`)})
	require.Empty(t, errs)
	require.Equal(t, []models.FieldError{{
		Loc: []any{"graph", "steps", 1}, Type: "order", Msg: `step "b" reads step "c", which does not come before it`,
	}}, def.look())
}

func TestBeforeIsWhatLeadsToAStep(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		def, errs := compile(&models.Version{Graph: drawGraph(t, true)})
		require.Empty(t, errs)
		before := def.before()
		for _, from := range def.order {
			below := from.below()
			for _, to := range def.order {
				require.Equal(t, below[to.id()] && from != to, before[to.place].has(from.place))
			}
		}
	})
}

func TestErrorsInExpressionsNameTheirPlace(t *testing.T) {
	t.Parallel()
	_, errs := compile(&models.Version{Graph: parseGraph(t, `{"steps":[{"id":"br","type":"branch"},
		{"id":"a","type":"connector","connector":"core","action":"set","input":{"list":["ok",{"x":"hi {{ payload.n + }}"}]},"timeout":"soon","retry":{"initial":"-1s"}}],
		"edges":[{"from":"br","to":"a","when":"steps.nope.output > 1"}]}`)})
	var at []string
	for _, e := range errs {
		at = append(at, fmt.Sprint(e.Loc)+" "+e.Type)
	}
	slices.Sort(at)
	require.Equal(t, []string{
		"[graph edges 0 when] expression", "[graph steps 1 input list 1 x] expression",
		"[graph steps 1 retry initial] duration", "[graph steps 1 timeout] duration",
	}, at)
}

func TestAWaitListensForWhatCanArrive(t *testing.T) {
	t.Parallel()
	for typ, wanted := range map[string]string{
		"lead.created": "", "lead.*": "", "*": "", "github:push/x-1": "",
		"": "missing", "a b*c": "pattern", "{{ payload.t }}": "pattern", "é": "pattern", "lead.**": "pattern", ".a": "pattern",
		strings.Repeat("a", 201): "limit",
	} {
		_, errs := compile(&models.Version{Graph: parseGraph(t, fmt.Sprintf(`{"steps":[{"id":"w","type":"wait","event":{"type":%q}}]}`, typ))})
		if wanted == "" {
			require.Empty(t, errs, typ)
			continue
		}
		require.Len(t, errs, 1, typ)
		require.Equal(t, wanted, errs[0].Type, typ)
		require.Equal(t, []any{"graph", "steps", 0, "event", "type"}, errs[0].Loc)
	}
}

func TestThePromptOfAnApprovalIsChecked(t *testing.T) {
	t.Parallel()
	_, errs := compile(&models.Version{Graph: parseGraph(t, `{"steps":[{"id":"w","type":"wait","approval":{"prompt":"Send {{ payload.n + }}?"}}]}`)})
	require.Len(t, errs, 1)
	require.Equal(t, []any{"graph", "steps", 0, "approval", "prompt"}, errs[0].Loc)
	require.Contains(t, errs[0].Msg, "line 1, column 20")
}

func BenchmarkCompile1000Steps(b *testing.B) {
	g := &models.Graph{}
	for i := range 1000 {
		s := models.GraphStep{ID: fmt.Sprintf("s%d", i), Type: models.StepTypeConnector, Connector: "core", Action: "set"}
		if i > 0 {
			s.Input = []byte(fmt.Sprintf(`{"n":"{{ steps.s%d.output.n + 1 }}"}`, i-1))
			for k := max(0, i-5); k < i; k++ {
				g.Edges = append(g.Edges, models.Edge{From: fmt.Sprintf("s%d", k), To: s.ID})
			}
		}
		g.Steps = append(g.Steps, s)
	}
	for b.Loop() {
		def, errs := compile(&models.Version{Graph: g})
		require.Empty(b, errs)
		def.look()
	}
}
