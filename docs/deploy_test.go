package docs_test

import (
	"encoding/json"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const deployPage = "how-to/deploy.md"

// flows runs a command of the binary and gives what it prints.
func flows(t *testing.T, args ...string) string {
	t.Helper()
	program, err := built.flows()
	require.NoError(t, err)
	out, err := exec.Command(program, args...).Output()
	require.NoError(t, err)
	return string(out)
}

// TestDeployPageListsEverySetting holds the table to what the binary reads.
func TestDeployPageListsEverySetting(t *testing.T) {
	t.Parallel()
	var rows [][]string
	for line := range strings.Lines(flows(t, "settings")) {
		var s struct{ Name, Does, Allowed, Default, File string }
		require.NoError(t, json.Unmarshal([]byte(line), &s))
		name := code(s.Name)
		if s.File != "" {
			name += ", " + code(s.File)
		}
		standard := "–"
		if s.Default != "" {
			standard = code(s.Default)
		}
		rows = append(rows, []string{name, s.Does, s.Allowed, standard})
	}
	require.NotEmpty(t, rows)
	holds(t, deployPage, "settings", table([]string{"setting", "is", "allowed", "default"}, rows))
}

var commandLine = regexp.MustCompile(`(?m)^  ([a-z]+(?: [a-z]+)?)(?: \[flags\]| --.*)?$`)

func TestDeployPageListsEveryCommand(t *testing.T) {
	t.Parallel()
	_, commands, ok := strings.Cut(flows(t, "--help"), "Commands:")
	require.True(t, ok)
	commands, _, ok = strings.Cut(commands, "Commands for clients") // they have a page of their own
	require.True(t, ok)
	found := commandLine.FindAllStringSubmatch(commands, -1)
	require.NotEmpty(t, found)
	text := read(t, deployPage)
	for _, m := range found {
		require.Contains(t, text, code("flows "+m[1]))
	}
	for _, m := range regexp.MustCompile("`flows ([a-z]+(?: [a-z]+)?)`").FindAllStringSubmatch(text, -1) {
		require.Contains(t, commands, "  "+m[1], "there is no flows %s", m[1])
	}
}
