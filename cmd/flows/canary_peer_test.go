package main

import (
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// echoes is a peer that repeats the secrets it is sent, in the way that the first part
// of the path names. It speaks what each connector wants to hear as far as that makes
// the connector listen on.
type echoes struct {
	url   string
	other string // another origin

	mu    sync.Mutex
	heard map[string]int // by kind of secret
	sweep *sweep
	t     *testing.T
}

func newEchoes(t *testing.T, s *sweep) *echoes {
	t.Helper()
	e := &echoes{heard: map[string]int{}, sweep: s, t: t}
	one, two := httptest.NewServer(e), httptest.NewServer(e)
	t.Cleanup(one.Close)
	t.Cleanup(two.Close)
	e.url, e.other = one.URL, two.URL
	return e
}

var kindForm = regexp.MustCompile(canaryCore + `\(([^)]*)\)`)

// secretsIn finds the secrets in a request, as a server does that knows where to look.
func (e *echoes) secretsIn(r *http.Request, body []byte) (found []string) {
	var candidates []string
	if _, password, ok := r.BasicAuth(); ok {
		if !kindForm.MatchString(password) { // clients of OAuth send it in the spelling of URLs
			password, _ = url.QueryUnescape(password)
		}
		candidates = append(candidates, password)
	}
	for _, values := range r.Header {
		for _, v := range values {
			candidates = append(candidates, strings.TrimPrefix(v, "Bearer "))
		}
	}
	for _, values := range r.URL.Query() {
		candidates = append(candidates, values...)
	}
	if form, err := url.ParseQuery(string(body)); err == nil && strings.Contains(r.Header.Get("Content-Type"), "form") {
		for _, values := range form {
			candidates = append(candidates, values...)
		}
	}
	for _, one := range candidates {
		if strings.Contains(one, canaryHead) && strings.Contains(one, canaryTail) {
			found = append(found, one)
			e.mu.Lock()
			for _, kind := range kindForm.FindAllStringSubmatch(one, -1) {
				e.heard[kind[1]]++
			}
			e.mu.Unlock()
		}
	}
	return found
}

// kinds tells which secrets were heard.
func (e *echoes) kinds() map[string]int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return maps.Clone(e.heard)
}

// modesOfHTTP are the ways in which any server answers.
func modesOfHTTP() []string {
	modes := []string{
		"ok", "text", "near", "away", "nowhere", "loop", "badjson", "shape", "empty", "cut", "half", "badheader", "badstatus", "badchunk", "badgzip",
		"binary", "429-after", "409-json", "404-long-0", "400-long-23", "502-long-51", "403-long-77", "400-plain",
	}
	for i, name := range spellings() {
		modes = append(modes, []string{"400-", "401-", "403-", "422-", "500-", "503-"}[i%6]+name)
	}
	return modes
}

// modes are a third of modesOfHTTP, and the first. Which third depends on the drive and
// on who asks, so that all together have all of them.
func (d *canaryDrive) modes(who string) (some []string) {
	third := len(who)
	if d.trusted {
		third++
	}
	for i, mode := range modesOfHTTP() {
		if i == 0 || i%3 == third%3 {
			some = append(some, mode)
		}
	}
	return some
}

// inEverySpelling is a secret in every spelling.
func inEverySpelling(s string) map[string]any {
	all := map[string]any{s: "in a name"}
	for name, spell := range spelled {
		all[name] = spell(s)
	}
	inner, _ := json.Marshal(all)
	all["text of JSON"] = string(inner)
	return all
}

func (e *echoes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if strings.HasPrefix(r.URL.Path, "/hook") {
		e.sweep.look(e.t, "webhooks", "a delivery", fmt.Sprint(r.Header, string(body)))
		return
	}
	secrets := e.secretsIn(r, body)
	s := strings.Join(secrets, " ")
	mode, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	if !e.misbehave(w, r, mode, s) && !e.speak(w, r, rest, s, body) {
		e.ok(w, rest, s)
	}
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v)
}

// ok is a success that has what most connectors look for, and the secret wherever it
// may stand.
func (e *echoes) ok(w http.ResponseWriter, rest, s string) {
	text := s + " " + spelled["base64-1"](s) + " " + url.QueryEscape(s)
	all := inEverySpelling(s)
	record := map[string]any{"id": text, "properties": all, "createdAt": text, "updatedAt": text, "email": text, "type": "model"}
	v := map[string]any{
		"ok": true, "id": text, "ts": text, "channel": text, "range": text, "user": map[string]any{"id": text, "name": text, "real_name": text, "tz": text, "profile": record},
		"items": []any{record, all}, "results": []any{record}, "next_cursor": text, "total": 1, "properties": all, "createdAt": text, "updatedAt": text, "lead_id": text,
		"values": []any{[]any{"Email", text}, []any{"ann@x.example", text}}, "updates": map[string]any{"updatedRange": text, "updatedRows": 1, "updatedCells": 1},
		"updatedRange": text, "updatedRows": 1, "updatedCells": 1, "clearedRange": text, "paging": map[string]any{"next": map[string]any{"after": text}},
		"recordsIdsAdded": []any{text}, "recordIdsRemoved": []any{text}, "recordIdsMissing": []any{text}, "status": "completed", "output": all, "all": all,
		"data": []any{record}, s: text,
	}
	if strings.HasSuffix(rest, "conversations.open") {
		v["channel"] = record
	}
	w.Header().Set("X-Echo", s)
	w.Header().Set("Link", "</"+hex.EncodeToString([]byte(s))+">; rel=next")
	writeJSON(w, http.StatusOK, v)
}

// misbehave answers in one of modesOfHTTP, or not at all.
func (e *echoes) misbehave(w http.ResponseWriter, r *http.Request, mode, s string) bool {
	asText := func(status int, text string) {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, text)
	}
	goTo := func(status int, address string) {
		w.Header().Set("Location", address)
		w.Header().Set("X-Echo", s)
		w.WriteHeader(status)
	}
	raw := func(answer string) {
		conn, out, err := http.NewResponseController(w).Hijack()
		if err == nil {
			_, _ = out.WriteString(answer)
			_ = out.Flush()
			_ = conn.Close()
		}
	}
	switch mode {
	case "text":
		asText(http.StatusOK, "you sent "+s+" and "+base64.StdEncoding.EncodeToString([]byte("user:"+s)))
	case "near":
		goTo(http.StatusFound, "/ok/again?again="+url.QueryEscape(s))
	case "away":
		goTo(http.StatusTemporaryRedirect, e.other+"/ok/?stolen="+url.QueryEscape(s))
	case "nowhere":
		goTo(http.StatusFound, "http://"+hex.EncodeToString([]byte(s))[:40]+".invalid/"+url.PathEscape(s))
	case "loop":
		goTo(http.StatusFound, r.URL.Path+"?again="+url.QueryEscape(s))
	case "badlocation":
		goTo(http.StatusFound, "http://%zz"+s)
	case "badjson":
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"message":"`+quotedOnce(s)+`","x":`+s)
	case "shape":
		writeJSON(w, http.StatusOK, []any{s, map[string]any{"id": []any{s}}})
	case "empty":
		w.Header().Set("X-Echo", s)
		w.WriteHeader(http.StatusNoContent)
	case "cut":
		raw("")
	case "half":
		raw("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{\"message\":\"" + quotedOnce(s))
	case "badheader":
		raw("HTTP/1.1 200 OK\r\n" + s + "\r\n\r\n{}")
	case "badstatus":
		raw("HTTP/1.1 " + s + "\r\n\r\n{}")
	case "badchunk":
		raw("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n" + s + "\r\n")
	case "badgzip":
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		_ = json.NewEncoder(z).Encode(s)
		_ = z.Flush() // the end is missing
	case "binary":
		w.Header().Set("Content-Type", "application/octet-stream")
		_, _ = w.Write(append([]byte{0, 0xff}, s...))
	case "429-after":
		w.Header().Set("Retry-After", "1")
		w.Header().Set("X-Echo", s)
		writeJSON(w, http.StatusTooManyRequests, map[string]any{"message": s})
	default:
		number, how, _ := strings.Cut(mode, "-")
		status, err := strconv.Atoi(number)
		if err != nil {
			return false
		}
		w.Header().Set("X-Echo", s)
		w.Header().Set("Retry-After", s)
		w.Header().Set("Www-Authenticate", `Bearer error="`+s+`"`)
		pad, long := strings.CutPrefix(how, "long-")
		switch spell := spelled[how]; {
		case how == "plain":
			asText(status, s)
		case long: // messages are cut short somewhere within
			n, _ := strconv.Atoi(pad)
			writeJSON(w, status, map[string]any{"message": strings.Repeat("x", n) + strings.Repeat(s, 20)})
		case how == "json-all" || spell == nil:
			writeJSON(w, status, map[string]any{"error": map[string]any{"message": s, "all": inEverySpelling(s)}})
		default:
			writeJSON(w, status, map[string]any{"detail": spell(s), "ok": false, "error": s, "message": spell(s), "code": s, "category": s})
		}
	}
	return true
}
