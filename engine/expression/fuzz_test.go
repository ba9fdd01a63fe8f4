package expression_test

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/engine/expression"
)

// seeds gives every source of the examples and of the attacks.
func seeds(f *testing.F, add func(e example)) {
	f.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	require.NoError(f, err)
	for _, file := range files {
		text, err := os.ReadFile(file)
		require.NoError(f, err)
		_, lines, _ := strings.Cut(string(text), "\n---\n")
		for line := range strings.Lines(lines) {
			if e, err := parseExample(file, strings.TrimSpace(line)); err == nil {
				add(e)
			}
		}
	}
}

var fuzzData = `{"payload":{"score":82,"name":"Ada","empty":null,"items":[{"n":1,"k":"x"},{"n":3,"k":"y"}],"numbers":[3,1,2],"lead":{"name":"Ada"},"at":"2026-01-31T09:30:00Z"},
"trigger":{"type":"manual"},"steps":{"enrich":{"output":{"x":1},"status":"completed","error":null},"my-step":{"output":1}},"run":{},"workflow":{},"item":1,"index":0,"event":{"data":{}},"inputs":{}}`

func FuzzCompile(f *testing.F) {
	seeds(f, func(e example) {
		if e.kind != "template" {
			f.Add(e.source)
		}
	})
	for _, source := range refusedAttacks {
		f.Add(source)
	}
	for _, source := range stoppedAttacks {
		f.Add(source)
	}
	vars := decodeVars(f, fuzzData)
	f.Fuzz(func(t *testing.T, source string) {
		for _, kind := range []expression.Kind{expression.Any, expression.Bool, expression.List, expression.Time} {
			began := time.Now()
			p, err := expression.Compile(source, exampleScope, kind)
			if err == nil {
				var v any
				v, err = p.Eval(context.Background(), vars)
				if err == nil {
					_, err = json.Marshal(v)
					require.NoError(t, err)
				}
			}
			require.Less(t, time.Since(began), enough)
			if err != nil {
				requireOurs(t, err)
			}
		}
	})
}

func FuzzTemplate(f *testing.F) {
	seeds(f, func(e example) {
		if e.kind == "template" {
			f.Add(e.source)
		} else {
			raw, _ := json.Marshal("{{ " + e.source + " }} and {{" + e.source + "}}")
			f.Add(string(raw))
		}
	})
	vars := decodeVars(f, fuzzData)
	f.Fuzz(func(t *testing.T, source string) {
		for _, v := range []any{source, json.RawMessage(source)} {
			tmpl, err := expression.CompileTemplate(v, exampleScope)
			if err != nil {
				var bad *expression.Error
				require.ErrorAs(t, err, &bad)
				continue
			}
			out, err := tmpl.Render(context.Background(), vars)
			if err != nil {
				var bad *expression.Error
				require.ErrorAs(t, err, &bad)
				requireHuman(t, bad)
				continue
			}
			if s, ok := v.(string); ok && !strings.Contains(s, "{{") {
				require.Equal(t, s, out)
				require.True(t, tmpl.Static())
			}
			_, err = json.Marshal(out)
			require.NoError(t, err)
		}
	})
}
