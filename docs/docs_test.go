package docs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// block is a fenced block of a document.
type block struct {
	info string
	text string
	line int // of its first line
}

// blocks gives the fenced blocks of a document, in order.
func blocks(t *testing.T, file string) []block {
	t.Helper()
	var (
		all   []block
		lines []string
		open  *block
	)
	for i, line := range strings.Split(read(t, file), "\n") {
		info, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && open == nil:
			open, lines = &block{info: info, line: i + 2}, nil
		case isFence:
			require.Empty(t, info, "%s:%d: a block ends with a bare fence", file, i+1)
			open.text = strings.Join(lines, "\n")
			all, open = append(all, *open), nil
		case open != nil:
			lines = append(lines, line)
		}
	}
	require.Nil(t, open, "%s: a block does not end", file)
	return all
}

// read gives a document; its name counts from the folder docs.
func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.FromSlash(file))
	require.NoError(t, err)
	return string(text)
}

// code puts a word in code marks.
func code(word string) string { return "`" + word + "`" }
