package flows_test

import (
	"flag"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "write the generated part of .golangci.yml")

const (
	lintFile  = ".golangci.yml"
	lintBegin = "        # begin: written by `go test . -run TestLintersHoldTheSameTable -update`\n"
	lintEnd   = "        # end\n"
)

// The linter tells of a forbidden import while it is being typed; it does so by
// the same table that the test holds.
func TestLintersHoldTheSameTable(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(lintFile)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(content), lintBegin)
	require.True(t, ok)
	got, after, ok := strings.Cut(rest, lintEnd)
	require.True(t, ok)

	want := depguardRules()
	if *update {
		require.NoError(t, os.WriteFile(lintFile, []byte(before+lintBegin+want+lintEnd+after), 0o644))
		return
	}
	require.Empty(t, cmp.Diff(want, got), "the table of imports changed: run go test . -run %s -update", t.Name())

	var config struct {
		Linters struct {
			Settings struct {
				Depguard struct {
					Rules map[string]any `yaml:"rules"`
				} `yaml:"depguard"`
			} `yaml:"settings"`
		} `yaml:"linters"`
	}
	require.NoError(t, yaml.Unmarshal(content, &config))
	require.NotEmpty(t, config.Linters.Settings.Depguard.Rules)
}

// depguardRules writes the tables of imports in depguard's terms.
func depguardRules() string {
	var b strings.Builder
	list := func(name string, items []string) {
		if len(items) > 0 {
			fmt.Fprintf(&b, "          %s:\n", name)
			for _, item := range items {
				fmt.Fprintf(&b, "            - %q\n", item)
			}
		}
	}
	rule := func(name string, files, allow []string, deny, why string) {
		fmt.Fprintf(&b, "        %s:\n          list-mode: lax\n", strings.ReplaceAll(name, "/", "-"))
		list("files", files)
		list("allow", allow)
		fmt.Fprintf(&b, "          deny:\n            - pkg: %q\n              desc: %q\n", deny, why)
	}

	for _, row := range layout {
		if slices.Contains(row.ours, ".") {
			continue
		}
		files := []string{"${base-path}/" + row.name + "/**", "!$test", "!${base-path}/**/*test/*.go"}
		for _, other := range layout {
			if other.name != row.name && within(other.name, row.name) {
				files = append(files, "!${base-path}/"+other.name+"/**")
			}
		}
		var allow []string
		for _, ours := range append([]string{row.name}, row.ours...) {
			allow = append(allow, module+"/"+ours)
		}
		rule(row.name, files, allow, module, row.why)
	}
	for _, lib := range libraries {
		name := "only-" + strings.NewReplacer("$", "", ".", "-").Replace(path.Base(lib.path))
		var files []string
		if !lib.everywhere {
			files = []string{"!$test", "!${base-path}/**/*test/*.go"}
		}
		for _, dir := range lib.only {
			files = append(files, "!${base-path}/"+dir+"/**")
		}
		var allow []string // what has a rule of its own
		for _, other := range libraries {
			if other.path != lib.path && within(other.path, lib.path) && !lib.everywhere {
				allow = append(allow, other.path)
			}
		}
		rule(name, files, allow, lib.path, lib.why)
	}
	return b.String()
}
