package connectors

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Redacted stands where a secret stood.
const Redacted = "[redacted]"

// leastRedacted is the length below which a secret is not looked for: everything
// would be full of it.
const leastRedacted = 4

// Redactor takes secrets out of what a step gives back, in every spelling in which
// they usually come: as they are, in hex, in base64 at any offset, and with any of
// their characters escaped as in URLs, JSON and HTML, also where one is written
// within another. A nil Redactor changes nothing.
type Redactor struct {
	forms   []string // what is looked for, the longest first
	longest int
}

// NewRedactor makes a Redactor for secrets. It is nil where there are none.
func NewRedactor(secrets ...string) *Redactor {
	found := map[string]bool{}
	longest := 0
	for _, s := range secrets {
		if len(s) < leastRedacted {
			continue
		}
		for _, form := range spellings(s) {
			if len(form) >= leastRedacted {
				found[form] = true
				longest = max(longest, len(form))
			}
		}
	}
	if len(found) == 0 {
		return nil
	}
	forms := slices.Collect(maps.Keys(found))
	slices.SortFunc(forms, longestFirst)
	// An escape takes at most six characters for one: \u0041 or &#x41;.
	return &Redactor{forms: forms, longest: longest * 6}
}

func longestFirst(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) }

// with gives a Redactor for the secrets of both.
func (r *Redactor) with(other *Redactor) *Redactor {
	switch {
	case r == nil:
		return other
	case other == nil:
		return r
	}
	forms := slices.Concat(r.forms, other.forms)
	slices.SortFunc(forms, longestFirst)
	return &Redactor{forms: slices.Compact(forms), longest: max(r.longest, other.longest)}
}

// Redactor knows the secrets of a connection. It is nil for none.
func (c *Connection) Redactor() *Redactor {
	if c == nil {
		return nil
	}
	secrets := make([]string, 0, len(c.Secrets)+1)
	for _, s := range c.Secrets {
		secrets = append(secrets, s)
	}
	if c.Auth.Type == AuthBasic && len(c.Secrets[SecretPassword]) >= leastRedacted { // as it is sent, the name is part of what is encoded
		secrets = append(secrets, c.Auth.Username+":"+c.Secrets[SecretPassword])
	}
	return NewRedactor(secrets...)
}

// Text gives s without secrets.
func (r *Redactor) Text(s string) string {
	if r == nil {
		return s
	}
	found := r.look(s)
	for _, decode := range []func(string) *decoded{percent, jsonEscapes, entities} {
		if d := decode(s); d != nil {
			found = r.findIn(d, found)
			// Escaped once more, as an address within JSON is.
			for _, again := range []func(string) *decoded{percent, jsonEscapes, entities} {
				if dd := again(d.text); dd != nil {
					found = r.findIn(dd.within(d), found)
				}
			}
		}
	}
	return cut(s, found)
}

// JSON gives a JSON value without secrets, in keys as well as in values. A number that
// holds one becomes a text.
func (r *Redactor) JSON(v json.RawMessage) json.RawMessage {
	if r == nil || len(v) == 0 {
		return v
	}
	var out []byte // nil while nothing has changed
	kept := 0
	replace := func(from, to int, with string) {
		out = append(append(out, v[kept:from]...), with...)
		kept = to
	}
	for i := 0; i < len(v); {
		end := tokenEnd(v, i)
		switch c := v[i]; {
		case c == '"':
			var text string
			if json.Unmarshal(v[i:end], &text) != nil {
				return unreadable
			}
			if clean := r.Text(text); clean != text {
				quoted, err := json.Marshal(clean)
				if err != nil {
					return unreadable
				}
				replace(i, end, string(quoted))
			}
		case c == '-' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z':
			if text := string(v[i:end]); r.Text(text) != text {
				replace(i, end, `"`+Redacted+`"`)
			}
		}
		i = end
	}
	if out == nil {
		return v
	}
	return append(out, v[kept:]...)
}

// unreadable stands for what is no JSON, of which nothing is known.
var unreadable = json.RawMessage(`"` + Redacted + `"`)

// tokenEnd is where the text, number or word that begins at i ends; of anything else
// it is the next byte.
func tokenEnd(v []byte, i int) int {
	start := i
	if v[i] == '"' {
		for i++; i < len(v); i++ {
			switch v[i] {
			case '\\':
				i++
			case '"':
				return i + 1
			}
		}
		return len(v)
	}
	for i < len(v) && !strings.ContainsRune(" \t\r\n\",:[]{}", rune(v[i])) {
		i++
	}
	return max(i, start+1)
}

// Error gives an *Error without secrets.
func (r *Redactor) Error(err error) error {
	if r == nil || err == nil {
		return err
	}
	e := *AsError(err)
	e.Code, e.Message = r.Text(e.Code), r.Text(e.Message)
	return &e
}

// Longest is the most characters a secret may take: who redacts a stream has to hold
// back one less.
func (r *Redactor) Longest() int {
	if r == nil {
		return 0
	}
	return r.longest
}

// span is a part of a text, from its first byte to the one after its last.
type span struct{ from, to int }

// find adds where the forms stand in s.
func (r *Redactor) find(s string, found []span) []span {
	for _, form := range r.forms {
		for at := 0; ; {
			i := strings.Index(s[at:], form)
			if i < 0 {
				break
			}
			found = append(found, span{at + i, at + i + len(form)})
			at += i + len(form)
		}
	}
	return found
}

// look gives where the forms stand in s, whole or cut short.
func (r *Redactor) look(s string) []span { return r.clipped(s, r.find(s, nil)) }

// ellipsis is what messages are cut short with, by itself or in brackets.
const ellipsis = "…"

// maxBroken is the most of an escape that may be left of one that was cut: &#x0041 or
// \u004 or %4.
const maxBroken = 10

// clipped adds where the beginning of a form stands in front of an ellipsis: what was
// cut short may have been cut within a secret, and within an escape in it.
func (r *Redactor) clipped(s string, found []span) []span {
	for at := 0; ; at += len(ellipsis) {
		i := strings.Index(s[at:], ellipsis)
		if i < 0 {
			return found
		}
		at += i
		end := len(strings.TrimSuffix(s[:at], " ["))
		if from := r.beginning(s[:end]); from >= 0 {
			found = append(found, span{from, end})
			continue
		}
		if mark := strings.LastIndexAny(s[max(0, end-maxBroken):end], `%\&`); mark >= 0 {
			mark += max(0, end-maxBroken)
			if from := r.beginning(s[:mark]); from >= 0 {
				found = append(found, span{from, end})
			}
		}
	}
}

// beginning finds the longest beginning of a form with which s ends, and gives where it
// begins; -1 for none.
func (r *Redactor) beginning(s string) int {
	from := -1
	for _, form := range r.forms {
		first := max(0, len(s)-len(form)+1)
		for at := first; ; at++ {
			i := strings.Index(s[at:], form[:leastRedacted])
			if i < 0 {
				break
			}
			if at += i; strings.HasPrefix(form, s[at:]) {
				if from < 0 || at < from {
					from = at
				}
				break
			}
		}
	}
	return from
}

// findIn adds where the forms stand in a text that was decoded, as places in the text
// it was decoded from.
func (r *Redactor) findIn(d *decoded, found []span) []span {
	for _, s := range r.look(d.text) {
		found = append(found, span{d.at[s.from], d.at[s.to]})
	}
	return found
}

// cut writes s with Redacted in place of all that was found, what touches as one.
func cut(s string, found []span) string {
	if len(found) == 0 {
		return s
	}
	slices.SortFunc(found, func(a, b span) int { return a.from - b.from })
	var out strings.Builder
	end := 0
	for i := 0; i < len(found); {
		from, to := found[i].from, found[i].to
		for i++; i < len(found) && found[i].from < to; i++ {
			to = max(to, found[i].to)
		}
		out.WriteString(s[end:from])
		out.WriteString(Redacted)
		end = to
	}
	out.WriteString(s[end:])
	return out.String()
}

// decoded is a text without its escapes, and for each of its bytes, and its end, the
// place in the text before.
type decoded struct {
	text string
	at   []int
}

// within gives d, which was decoded from the text of outer, with places in what outer
// was decoded from.
func (d *decoded) within(outer *decoded) *decoded {
	at := make([]int, len(d.at))
	for i, place := range d.at {
		at[i] = outer.at[place]
	}
	return &decoded{d.text, at}
}

// unescape decodes s, in which escape reads what begins with mark. It is nil where
// there is nothing to decode.
func unescape(s string, mark byte, escape func(string) (text string, size int)) *decoded {
	if strings.IndexByte(s, mark) < 0 {
		return nil
	}
	var text strings.Builder
	text.Grow(len(s))
	at := make([]int, 0, len(s)+1)
	for i := 0; i < len(s); {
		if s[i] == mark {
			if got, size := escape(s[i:]); size > 0 {
				text.WriteString(got)
				for range len(got) {
					at = append(at, i)
				}
				i += size
				continue
			}
		}
		text.WriteByte(s[i])
		at = append(at, i)
		i++
	}
	return &decoded{text.String(), append(at, len(s))}
}

// percent reads the escapes of URLs. A plus stays one: spellings know it as a space.
func percent(s string) *decoded {
	return unescape(s, '%', func(s string) (string, int) {
		if len(s) < 3 {
			return "", 0
		}
		b, err := hex.DecodeString(s[1:3])
		if err != nil {
			return "", 0
		}
		return string(b), 3
	})
}

// jsonEscapes reads the escapes of texts in JSON.
func jsonEscapes(s string) *decoded {
	return unescape(s, '\\', func(s string) (string, int) {
		if len(s) < 2 {
			return "", 0
		}
		if s[1] != 'u' {
			if i := strings.IndexByte(`"\/bfnrt`, s[1]); i >= 0 {
				return "\"\\/\b\f\n\r\t"[i : i+1], 2
			}
			return "", 0
		}
		r, ok := escapedRune(s)
		if !ok {
			return "", 0
		}
		if utf16.IsSurrogate(r) {
			if low, ok := escapedRune(s[min(6, len(s)):]); ok {
				if both := utf16.DecodeRune(r, low); both != utf8.RuneError {
					return string(both), 12
				}
			}
		}
		return string(r), 6
	})
}

func escapedRune(s string) (rune, bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(s[2:6], 16, 16)
	return rune(n), err == nil
}

// entities reads those of HTML.
func entities(s string) *decoded {
	return unescape(s, '&', func(s string) (string, int) {
		const longest = 12
		end := strings.IndexByte(s[:min(len(s), longest)], ';')
		if end < 2 || strings.IndexByte(s[1:end], '&') >= 0 {
			return "", 0
		}
		if s[1] == '#' { // the standard reads some numbers as others
			digits, base := s[2:end], 10
			if hexadecimal, ok := strings.CutPrefix(strings.ToLower(digits), "x"); ok {
				digits, base = hexadecimal, 16
			}
			if n, err := strconv.ParseInt(digits, base, 32); err == nil && n >= 0 {
				return string(rune(n)), end + 1
			}
			return "", 0
		}
		text := html.UnescapeString(s[:end+1])
		if text == s[:end+1] {
			return "", 0
		}
		return text, end + 1
	})
}

// spellings lists how a secret may be written. The usual ways to escape it are among
// them, for what stands before it may take its beginning for the end of an escape.
func spellings(s string) []string {
	query, path, text, shown := url.QueryEscape(s), url.PathEscape(s), quoted(s, true), quoted(s, false)
	forms := []string{s, query, path, lowerEscapes(query), lowerEscapes(path), text, shown, strings.ReplaceAll(shown, "/", `\/`)}
	if line := strings.Join(strings.Fields(s), " "); line != s { // in a message of one line
		forms = append(forms, line)
	}
	if spaced := strings.ReplaceAll(s, " ", "+"); spaced != s { // in a query
		forms = append(forms, spaced)
	}
	digits := hex.EncodeToString([]byte(s))
	forms = append(forms, digits, strings.ToUpper(digits))
	for _, enc := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding} {
		forms = append(forms, enc.EncodeToString([]byte(s)), enc.WithPadding(base64.NoPadding).EncodeToString([]byte(s)))
		for offset := range 3 {
			forms = append(forms, inBase64(enc, s, offset))
		}
	}
	return forms
}

// inBase64 is what is certain of s in base64 where offset bytes, modulo 3, stand
// before it: the characters that hold bits of nothing else.
func inBase64(enc *base64.Encoding, s string, offset int) string {
	text := enc.WithPadding(base64.NoPadding).EncodeToString(append(make([]byte, offset), s...))
	if offset > 0 {
		text = text[offset+1:] // 1 byte before: 2 characters, 2 bytes: 3
	}
	if (offset+len(s))%3 != 0 {
		text = text[:len(text)-1]
	}
	return text
}

// quoted is s as it stands within a JSON string.
func quoted(s string, escapeHTML bool) string {
	var out strings.Builder
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(escapeHTML)
	if err := enc.Encode(s); err != nil {
		return s
	}
	text := strings.TrimSuffix(out.String(), "\n")
	return text[1 : len(text)-1]
}

// lowerEscapes writes %2F as %2f.
func lowerEscapes(s string) string {
	b := []byte(s)
	for i := 0; i+2 < len(b); i++ {
		if b[i] == '%' {
			copy(b[i+1:], bytes.ToLower(b[i+1:i+3]))
			i += 2
		}
	}
	return string(b)
}
