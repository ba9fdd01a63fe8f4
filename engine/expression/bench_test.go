package expression_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/engine/expression"
)

const benchData = `{"payload":{"lead_id":"lead_1","score":82,"name":"Ada","country":"GB","items":[{"n":1},{"n":2},{"n":3},{"n":4},{"n":5},{"n":6},{"n":7},{"n":8},{"n":9},{"n":10}]},
"steps":{"enrich":{"output":{"score":91},"status":"completed","error":null}}}`

var benchSources = map[string]string{
	"read":      `payload.lead_id`,
	"compare":   `steps.enrich.output.score > 80`,
	"condition": `payload.score > 80 && payload.country in ["GB", "IE"] && payload.name != null`,
	"fallback":  `(payload.utm.source ?? "none") == "none"`,
	"filter10":  `len(filter(payload.items, .n > 5))`,
}

func BenchmarkCompile(b *testing.B) {
	for name, source := range benchSources {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_, err := expression.Compile(source, exampleScope, expression.Any)
				require.NoError(b, err)
			}
		})
	}
}

func BenchmarkEval(b *testing.B) {
	vars := decodeVars(b, benchData)
	for name, source := range benchSources {
		b.Run(name, func(b *testing.B) {
			p, err := expression.Compile(source, exampleScope, expression.Any)
			require.NoError(b, err)
			b.ReportAllocs()
			for b.Loop() {
				_, _ = p.Eval(context.Background(), vars)
			}
		})
	}
}

func BenchmarkTemplate(b *testing.B) {
	vars := decodeVars(b, benchData)
	source := json.RawMessage(`{"lead_id":"{{ payload.lead_id }}","text":"Hi {{ payload.name }}, your score is {{ steps.enrich.output.score }}","fixed":{"a":[1,2,3]}}`)
	b.Run("compile", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, err := expression.CompileTemplate(source, exampleScope)
			require.NoError(b, err)
		}
	})
	tmpl, err := expression.CompileTemplate(source, exampleScope)
	require.NoError(b, err)
	b.Run("render", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = tmpl.Render(context.Background(), vars)
		}
	})
	b.Run("json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, _ = tmpl.RenderJSON(context.Background(), vars)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	raw := json.RawMessage(benchData)
	b.ReportAllocs()
	for b.Loop() {
		_, err := expression.Decode(raw)
		require.NoError(b, err)
	}
}
