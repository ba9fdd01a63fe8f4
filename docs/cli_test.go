package docs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

//go:generate go test . -run ^TestCLIPageListsEveryCommand$ -update

const cliPage = "reference/cli.md"

// flowsHelp gives what the binary says of a command.
func flowsHelp(t *testing.T, words ...string) string {
	t.Helper()
	program, err := built.flows()
	require.NoError(t, err)
	cmd := exec.Command(program, append(words, "--help")...)
	cmd.Env = append(os.Environ(), "COLUMNS=400") // a line for each thing
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return string(out)
}

var (
	helpCommand = regexp.MustCompile(`(?m)^  (\S.*)\n    (.+)$`)
	helpOption  = regexp.MustCompile(`(?m)^ +(?:(-\w), )?--([a-z-]+)`)
)

// TestCLIPageListsEveryCommand holds the list to what the binary says of itself.
func TestCLIPageListsEveryCommand(t *testing.T) {
	t.Parallel()
	_, clients, ok := strings.Cut(flowsHelp(t), "Commands for clients")
	require.True(t, ok)
	var rows [][]string
	for _, m := range helpCommand.FindAllStringSubmatch(clients, -1) {
		usage := strings.TrimSuffix(m[1], " [flags]")
		var words, options []string
		for word := range strings.FieldsSeq(usage) {
			if strings.HasPrefix(word, "<") || strings.HasPrefix(word, "-") {
				break
			}
			words = append(words, word)
		}
		for _, o := range helpOption.FindAllStringSubmatch(flowsHelp(t, words...), -1) {
			switch name := "--" + o[2]; {
			case name == "--help":
			case o[1] != "":
				options = append(options, code(o[1])+" "+code(name))
			default:
				options = append(options, code(name))
			}
		}
		rows = append(rows, []string{code(usage), m[2], strings.Join(options, ", ")})
	}
	require.Greater(t, len(rows), 25)
	holds(t, cliPage, "commands", table([]string{"command", "does", "options"}, rows))
}

// TestCLIPage does what the page shows.
func TestCLIPage(t *testing.T) {
	t.Parallel()
	in := install(t, true)
	program, err := built.flows()
	require.NoError(t, err)
	in.path = filepath.Dir(program) + string(os.PathListSeparator) + in.path
	out := in.run(t, "export TENEX_API_BASE="+in.url+"\n"+strings.Join(shellBlocks(t, cliPage), "\n"))
	require.Contains(t, out, "WORKSPACE  ws_")
	require.Contains(t, out, "run.completed")
	require.Regexp(t, `(?m)^run_\w+ .*completed +manual`, out)
	require.Contains(t, out, "daily-digest")
}
