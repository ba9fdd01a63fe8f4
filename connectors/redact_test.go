package connectors_test

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/connectors"
)

// written lists ways in which peers repeat what they were sent.
var written = map[string]func(string) string{
	"as it is":       func(s string) string { return s },
	"in a query":     url.QueryEscape,
	"in a path":      url.PathEscape,
	"lower escapes":  func(s string) string { return lowered(url.QueryEscape(s)) },
	"all escaped":    func(s string) string { return each(s, "%%%02X") },
	"JSON":           func(s string) string { return inside(s, true) },
	"plain JSON":     func(s string) string { return inside(s, false) },
	"slashes":        func(s string) string { return strings.ReplaceAll(inside(s, false), "/", `\/`) },
	"JSON in JSON":   func(s string) string { return inside(inside(s, true), true) },
	"URL in JSON":    func(s string) string { return inside(url.QueryEscape(s), true) },
	"JSON in a URL":  func(s string) string { return url.QueryEscape(inside(s, true)) },
	"URL in a URL":   func(s string) string { return url.QueryEscape(url.QueryEscape(s)) },
	"HTML":           html.EscapeString,
	"HTML by number": func(s string) string { return eachRune(s, "&#x%X;") },
	"base64":         func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
	"base64 raw":     func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) },
	"base64 after 1": func(s string) string { return base64.StdEncoding.EncodeToString([]byte("x" + s + "y")) },
	"base64 after 2": func(s string) string { return base64.URLEncoding.EncodeToString([]byte("xy" + s + "z")) },
	"hex":            func(s string) string { return hex.EncodeToString([]byte(s)) },
	"upper hex":      func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) },
}

func lowered(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			out.WriteString(strings.ToLower(s[i : i+3]))
			i += 2
			continue
		}
		out.WriteByte(s[i])
	}
	return out.String()
}

func each(s, format string) string {
	var out strings.Builder
	for _, b := range []byte(s) {
		fmt.Fprintf(&out, format, b)
	}
	return out.String()
}

func eachRune(s, format string) string {
	var out strings.Builder
	for _, r := range s {
		fmt.Fprintf(&out, format, r)
	}
	return out.String()
}

// inside is s as it stands within a text of JSON.
func inside(s string, escapeHTML bool) string {
	var out strings.Builder
	enc := json.NewEncoder(&out)
	enc.SetEscapeHTML(escapeHTML)
	_ = enc.Encode(s)
	text := strings.TrimSuffix(out.String(), "\n")
	return text[1 : len(text)-1]
}

var secrets = []string{
	"s3cret-token", "abcd", `a"b\c/d`, "with space+plus", "<&>'", "pä߀🙂!", "sk-proj-ABC/def+ghi=", "1234567890", "%41%42", `\u0041`,
}

func TestNoSpellingOfASecretIsLeft(t *testing.T) {
	t.Parallel()
	for _, secret := range secrets {
		r := connectors.NewRedactor(secret)
		for name, write := range written {
			text := "before " + write(secret) + " after"
			got := r.Text(text)
			require.NotContains(t, got, write(secret), "%s of %q", name, secret)
			require.Contains(t, got, connectors.Redacted, "%s of %q", name, secret)
			require.True(t, strings.HasPrefix(got, "before "), got)
			require.True(t, strings.HasSuffix(got, " after"), got)

			value, err := json.Marshal(map[string]any{text: []any{text, 1, nil, true}, "other": text})
			require.NoError(t, err)
			clean := r.JSON(value)
			require.True(t, json.Valid(clean), "%s", clean)
			var decoded map[string]any
			require.NoError(t, json.Unmarshal(clean, &decoded))
			require.NotContains(t, fmt.Sprint(decoded), write(secret), "%s of %q", name, secret)
		}
	}
}

func TestWhatIsNotSecretStays(t *testing.T) {
	t.Parallel()
	r := connectors.NewRedactor("s3cret-token", "", "abc")
	for _, text := range []string{"", "s3cret", "abc", "100%", "%zz", `\`, `\u12`, "&", "&amp", "a+b", "s3cret-toke"} {
		require.Equal(t, text, r.Text(text))
		value, err := json.Marshal(text)
		require.NoError(t, err)
		require.Equal(t, string(value), string(r.JSON(value)))
	}
	value := json.RawMessage(`{ "a" : [1.50, -2e3, "\u00e9\/", null] }`)
	require.Equal(t, string(value), string(r.JSON(value)), "not even its spelling changes")
	var none *connectors.Redactor
	require.Equal(t, "x", none.Text("x"))
	require.Nil(t, none.JSON(nil))
	require.Zero(t, none.Longest())
	require.Nil(t, connectors.NewRedactor("abc"))
}

func TestNumbersAndWordsMayBeSecrets(t *testing.T) {
	t.Parallel()
	r := connectors.NewRedactor("123456", "true")
	require.JSONEq(t, `{"a":"[redacted]","b":[0,"[redacted]","[redacted]"],"c":null}`, string(r.JSON(json.RawMessage(`{"a":123456,"b":[0,9123456.5,true],"c":null}`))))
}

func TestErrorsAreCleaned(t *testing.T) {
	t.Parallel()
	r := connectors.NewRedactor("s3cret-token")
	cause := errors.New("down")
	err := r.Error(connectors.Permanent("http_400", "you sent s3cret-token: %w", cause))
	require.Equal(t, "you sent [redacted]: down", err.Error())
	require.ErrorIs(t, err, cause)
	require.NoError(t, r.Error(nil))
}

func TestASecretThatIsCutShortIsFound(t *testing.T) {
	t.Parallel()
	for _, secret := range []string{"s3cret-token-of-some-length", "two  lines\nof a secret"} {
		r := connectors.NewRedactor(secret)
		for n := range 180 {
			body := strings.Repeat("x", n) + " " + secret + strings.Repeat(" y", 100)
			e := connectors.HTTPError(&http.Response{
				StatusCode: http.StatusBadRequest, Header: http.Header{"Content-Type": {"text/plain"}}, Body: io.NopCloser(strings.NewReader(body)),
			})
			got := r.Error(e).Error()
			require.NotContains(t, got, secret[:6], "after %d: %s", n, got)
		}
	}
}

// However a secret is written, and wherever it is cut, less is left of it than is looked
// for.
func TestASecretThatIsCutShortInAnySpellingIsFound(t *testing.T) {
	t.Parallel()
	const secret = `hEad/+"\<&>'%41= ümidd1e(x)?&=+tail==`
	r := connectors.NewRedactor(secret)
	ways := map[string]func(string) string{
		"by number of JSON": func(s string) string { return eachRune(s, `\u%04x`) },
	}
	maps.Copy(ways, written)
	for name, spell := range ways {
		for _, end := range []string{"…", " […]"} {
			text := spell(secret)
			for cut := len(spell(secret[:5])) + 1; cut < len(text); cut++ {
				if !utf8.RuneStart(text[cut]) {
					continue
				}
				got := r.Text("key " + strings.TrimSpace(text[:cut]) + end)
				require.Regexp(t, `^key .{0,4}\[redacted\].{0,4}`+regexp.QuoteMeta(end)+"$", got, "%s of %d", name, cut) // in base64 the outermost characters are not all its own
			}
		}
	}
}

func TestBasicIsKnownAsItIsSent(t *testing.T) {
	t.Parallel()
	c := &connectors.Connection{
		Auth: connectors.Auth{Type: connectors.AuthBasic, Username: "ann"}, Secrets: map[string]string{"password": "s3cret-word"},
	}
	sent := base64.StdEncoding.EncodeToString([]byte("ann:s3cret-word"))
	require.Equal(t, "Basic [redacted]", c.Redactor().Text("Basic "+sent))
	c.Secrets["password"] = ""
	require.Nil(t, c.Redactor(), "a name alone is no secret")
}

func TestAGuardWatchesAllThatIsUsed(t *testing.T) {
	t.Parallel()
	var g connectors.Guard
	require.Equal(t, "one two", g.Text("one two"))
	g.Watch(nil)
	for _, s := range []string{"s3cret-one", "s3cret-two"} {
		g.Watch(&connectors.Connection{Secrets: map[string]string{"token": s}})
	}
	require.Equal(t, "[redacted] [redacted]", g.Text("s3cret-one s3cret-two"))
	resp := g.Response(connectors.Response{Output: json.RawMessage(`"s3cret-two"`), Usage: &connectors.Usage{Model: "s3cret-one"}})
	require.Equal(t, `"[redacted]"`, string(resp.Output))
	require.Equal(t, "[redacted]", resp.Usage.Model)
	require.EqualError(t, g.Error(errors.New("x")), "the action failed unexpectedly")
	require.Positive(t, g.Longest())
}

func FuzzRedactor(f *testing.F) {
	for _, s := range secrets {
		f.Add(s, "before ", " after")
	}
	f.Add("aaaa", "aa", "aa")
	f.Add("abcabc", "abc", `%61bc\u0061`)
	f.Fuzz(func(t *testing.T, secret, before, after string) {
		if len(secret) < 4 || !utf8.ValidString(secret) || !utf8.ValidString(before) || !utf8.ValidString(after) || strings.Contains(connectors.Redacted, secret) { //nolint:gocritic // such a secret cannot be told from the mark
			return
		}
		if strings.ContainsAny(before, `\%&`) { // which may begin an escape that takes the secret's first character in
			return
		}
		r := connectors.NewRedactor(secret)
		for name, write := range written {
			form := write(secret)
			text := before + form + after
			got := r.Text(text)
			if n := strings.Count(got, connectors.Redacted); n == 0 {
				t.Fatalf("%s of %q is left in %q", name, secret, got)
			}
			if strings.Contains(got, secret) && !strings.Contains(connectors.Redacted+before, secret) && !strings.Contains(after+connectors.Redacted, secret) && len(secret) > len(connectors.Redacted) {
				t.Fatalf("%q is in %q", secret, got)
			}
			if len(form) > r.Longest() && !strings.Contains(name, " in ") {
				t.Fatalf("%s of %q is longer than %d", name, secret, r.Longest())
			}
			value, err := json.Marshal([]string{text})
			if err != nil {
				t.Fatal(err)
			}
			if clean := r.JSON(value); !json.Valid(clean) || !strings.Contains(string(clean), connectors.Redacted) {
				t.Fatalf("%s of %q: %s", name, secret, clean)
			}
		}
	})
}
