package main

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// Parts of every secret that are looked for: whatever is done to what stands between
// them, and whichever part is cut off, one of them is left.
const (
	canaryHead = "hEad7Quail9"
	canaryCore = "cAn4ryBird5"
	canaryTail = "tA1lFinch63"
)

// control is looked for as the secrets are, and has to be found everywhere.
const control = "plAnt3dHeron8"

// canaryOf is a secret of its own for everything that has one. What stands around its
// parts has to be escaped nearly everywhere.
func canaryOf(kind string) string {
	return canaryHead + `/+"\<&>'%41= ü` + canaryCore + "(" + kind + `)?&=+/` + canaryTail + "=="
}

// spelled are the ways in which a peer writes what it was sent.
var spelled = map[string]func(string) string{
	"raw":      func(s string) string { return s },
	"base64":   func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"base64-1": func(s string) string { return base64.StdEncoding.EncodeToString([]byte("u:x" + s + ";")) },
	"base64-2": func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte("ab" + s + "zz")) },
	"query":    url.QueryEscape,
	"path":     url.PathEscape,
	"html":     html.EscapeString,
	"hex":      func(s string) string { return hex.EncodeToString([]byte(s)) },
	"json":     quotedOnce,
	"json-2":   func(s string) string { return quotedOnce(quotedOnce(s)) },
	"slashes":  func(s string) string { return strings.ReplaceAll(quotedOnce(s), "/", `\/`) },
	"percent":  func(s string) string { return everyByte(s, "%%%02x") },
	"unicode":  func(s string) string { return everyRune(s, `\u%04x`) },
	"entities": func(s string) string { return everyRune(s, "&#x%x;") },
}

func spellings() []string {
	var names []string
	for name := range spelled {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func quotedOnce(s string) string {
	raw, _ := json.Marshal(s)
	return string(raw[1 : len(raw)-1])
}

func everyByte(s, format string) string {
	var out strings.Builder
	for i := range len(s) {
		fmt.Fprintf(&out, format, s[i])
	}
	return out.String()
}

func everyRune(s, format string) string {
	var out strings.Builder
	for _, r := range s {
		fmt.Fprintf(&out, format, r)
	}
	return out.String()
}

// needlesOf are what letters and digits are found by: they themselves, and what hex and
// base64 make of them at any place.
func needlesOf(parts ...string) []string {
	var out []string
	for _, part := range parts {
		out = append(out, part, hex.EncodeToString([]byte(part)), strings.ToUpper(hex.EncodeToString([]byte(part))))
		for offset := range 3 {
			for _, enc := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
				text := enc.EncodeToString(append(make([]byte, offset), part...))
				out = append(out, text[offset+1:len(text)-2]) // without the characters that hold bits of something else
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

var (
	canaryNeedles  = needlesOf(canaryHead, canaryCore, canaryTail)
	controlNeedles = needlesOf(control)
)

// find looks for needles in a text and in what is left of it when its escapes are read,
// several times over. It gives the place around the first.
func find(text string, needles []string) (around string, found bool) {
	for range 4 {
		for _, n := range needles {
			if i := strings.Index(text, n); i >= 0 {
				return text[max(0, i-200):min(len(text), i+100)], true
			}
		}
		read := readEscapes(text)
		if read == text {
			break
		}
		text = read
	}
	return "", false
}

// readEscapes reads the escapes of JSON, URLs and HTML that stand for ASCII.
func readEscapes(s string) string {
	var out strings.Builder
	for {
		i := strings.IndexAny(s, `\%&`)
		if i < 0 {
			break
		}
		out.WriteString(s[:i])
		s = s[i:]
		letter, size := escapeAt(s)
		out.WriteString(letter)
		s = s[size:]
	}
	if out.Len() == 0 {
		return s
	}
	out.WriteString(s)
	return out.String()
}

func escapeAt(s string) (letter string, size int) {
	number := func(digits string, base int) (string, bool) {
		n, err := strconv.ParseUint(digits, base, 32)
		return string(rune(n)), err == nil && n < 128
	}
	switch {
	case strings.HasPrefix(s, `\u`) && len(s) >= 6:
		if letter, ok := number(s[2:6], 16); ok {
			return letter, 6
		}
	case strings.HasPrefix(s, `\\`), strings.HasPrefix(s, `\/`), strings.HasPrefix(s, `\"`):
		return s[1:2], 2
	case s[0] == '%' && len(s) >= 3:
		if letter, ok := number(s[1:3], 16); ok {
			return letter, 3
		}
	case strings.HasPrefix(s, "&#"):
		if end := strings.IndexByte(s[:min(len(s), 10)], ';'); end > 2 {
			digits, base := s[2:end], 10
			if rest, ok := strings.CutPrefix(digits, "x"); ok {
				digits, base = rest, 16
			}
			if letter, ok := number(digits, base); ok {
				return letter, end + 1
			}
		}
	case strings.HasPrefix(s, "&amp;"):
		return "&", 5
	}
	return s[:1], 1
}

// sweep looks through all that is shown, sent, logged and stored. In each place it also
// looks for what was planted there, so that one in which it would find nothing shows.
type sweep struct {
	mu      sync.Mutex
	places  map[string]*swept
	needles []string // besides those of the secrets
	told    map[string]bool
}

// swept is what was looked through of one place.
type swept struct {
	texts, bytes int
	planted      bool
}

func newSweep() *sweep { return &sweep{places: map[string]*swept{}, told: map[string]bool{}} }

// alsoFind adds a secret that the product has made itself. Answers may hold it once.
func (s *sweep) alsoFind(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.needles = append(s.needles, needlesOf(secret)...)
}

// look looks through a text of a place.
func (s *sweep) look(t *testing.T, place, detail, text string) {
	t.Helper()
	s.mu.Lock()
	at := s.places[place]
	if at == nil {
		at = &swept{}
		s.places[place] = at
	}
	at.texts++
	at.bytes += len(text)
	planted := at.planted
	needles := canaryNeedles
	if place != "answers" && place != "streams" {
		needles = append(slices.Clone(needles), s.needles...)
	}
	s.mu.Unlock()
	if !planted {
		if _, planted = find(text, controlNeedles); planted {
			s.mu.Lock()
			at.planted = true
			s.mu.Unlock()
		}
	}
	around, found := find(text, needles)
	if !found {
		return
	}
	s.mu.Lock()
	known := s.told[place+detail]
	s.told[place+detail] = true
	s.mu.Unlock()
	if !known { // once is enough to mend it, and all others show in the same go
		t.Errorf("a secret is in %s, %s:\n…%s…", place, detail, around)
	}
}

// requireControls fails where a place was not looked through or would have shown nothing.
func (s *sweep) requireControls(t *testing.T, places ...string) {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range places {
		at := s.places[name]
		require.NotNil(t, at, "nothing of %s was looked through", name)
		require.True(t, at.planted, "what was planted in %s is not found there", name)
		t.Logf("%s: %d texts, %d bytes", name, at.texts, at.bytes)
	}
}

// TestTheSweepFindsEverySpelling is the control of what the sweep finds.
func TestTheSweepFindsEverySpelling(t *testing.T) {
	t.Parallel()
	for name, spell := range spelled {
		for _, text := range []string{spell(canaryOf("x")), quotedOnce(spell(canaryOf("x"))), quotedOnce(quotedOnce("a " + spell("b"+canaryOf("x")) + " c"))} {
			_, found := find("before "+text+" behind", canaryNeedles)
			require.True(t, found, "%s: %s", name, text)
		}
	}
	for _, part := range []string{canaryHead, canaryCore, canaryTail} { // one is enough
		_, found := find("…"+part+"…", canaryNeedles)
		require.True(t, found)
	}
	_, found := find(strings.ReplaceAll(canaryOf("x"), "7", "8")[:len(canaryHead)], canaryNeedles)
	require.False(t, found)
}
