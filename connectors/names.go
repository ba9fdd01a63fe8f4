package connectors

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"unicode"
)

// maxActionName is the length of the name of an action.
const maxActionName = 100

// ActionNames gives the actions of a registered connector their names: what the other
// side calls them, in the form that names of actions have here.
type ActionNames struct{ taken map[string]bool }

// Take gives the name of the next action. Words end where they ended: at capitals,
// dashes and spaces; slashes and dots become dots. A name that is taken gets a number.
func (n *ActionNames) Take(theirs string) string {
	if n.taken == nil {
		n.taken = map[string]bool{}
	}
	base := normalise(theirs)
	name := base
	for i := 2; n.taken[name]; i++ {
		name = fmt.Sprintf("%s_%d", base, i)
	}
	n.taken[name] = true
	return name
}

func normalise(s string) string {
	var out strings.Builder
	var last rune // what was written last: 'a' for a letter or digit, '_', '.', 0 for nothing
	runes := []rune(s)
	for i, c := range runes {
		switch {
		case c >= 'A' && c <= 'Z':
			before := i > 0 && (isLower(runes[i-1]) || unicode.IsDigit(runes[i-1]))
			within := i > 0 && i+1 < len(runes) && isUpper(runes[i-1]) && isLower(runes[i+1])
			if (before || within) && last == 'a' {
				out.WriteByte('_')
			}
			out.WriteRune(c - 'A' + 'a')
			last = 'a'
		case isLower(c):
			out.WriteRune(c)
			last = 'a'
		case c >= '0' && c <= '9':
			if last == 0 || last == '.' {
				out.WriteByte('n') // names begin with a letter
			}
			out.WriteRune(c)
			last = 'a'
		case c == '/' || c == '.' || c == ':':
			if last == 'a' {
				out.WriteByte('.')
				last = '.'
			}
		default:
			if last == 'a' {
				out.WriteByte('_')
				last = '_'
			}
		}
	}
	name := strings.Trim(strings.ReplaceAll(out.String(), "_.", "."), "._")
	switch {
	case name == "":
		sum := sha256.Sum256([]byte(s)) // in another script
		return "action_" + hex.EncodeToString(sum[:4])
	case len(name) > maxActionName:
		sum := sha256.Sum256([]byte(s))
		return strings.TrimRight(name[:maxActionName-9], "._") + "_" + hex.EncodeToString(sum[:4])
	}
	return name
}

func isLower(c rune) bool { return c >= 'a' && c <= 'z' }
func isUpper(c rune) bool { return c >= 'A' && c <= 'Z' }
