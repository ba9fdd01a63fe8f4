package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
)

// terminal is a shell in which the commands for clients are typed.
type terminal struct {
	t   *testing.T
	env []string
}

// ends runs a command and gives its exit code and what it printed.
func (c terminal) ends(args ...string) (code int, out, errs string) {
	c.t.Helper()
	p := start(c.t, c.env, args...)
	return p.wait(), p.stdout.String(), p.stderr.String()
}

// types runs a command that has to succeed and gives what it printed.
func (c terminal) types(args ...string) string {
	c.t.Helper()
	code, out, errs := c.ends(args...)
	require.Zero(c.t, code, "flows %s: %s", strings.Join(args, " "), errs)
	return out
}

// typed runs a command with -o json and decodes its answer.
func typed[T any](c terminal, args ...string) (out T) {
	c.t.Helper()
	raw := c.types(append(args, "-o", "json")...)
	require.NoError(c.t, json.Unmarshal([]byte(raw), &out), raw)
	return out
}

const asking = `{"steps":[{"id":"ask","type":"wait","approval":{"prompt":"Send it?"}},
	{"id":"say","type":"connector","connector":"core","action":"set","input":{"said":"{{ steps.ask.output.comment }}"}}],
	"edges":[{"from":"ask","to":"say"}]}`

const fourGreetings = `{"steps":[{"id":"greet","type":"connector","connector":"core","action":"set","foreach":"1..4","input":{"greeted":"{{ item }}"}}]}`

func TestAClientReadsTheItemsOfAList(t *testing.T) {
	t.Parallel()
	_, l, _ := dev(t, filepath.Join(t.TempDir(), "data"))
	c := terminal{t, []string{"TENEX_API_BASE=" + l.URL, "TENEX_API_KEY=" + l.Key}}
	file := filepath.Join(t.TempDir(), "graph.json")
	require.NoError(t, os.WriteFile(file, []byte(fourGreetings), 0o600))
	type thing struct{ ID string }
	flow := typed[thing](c, "workflows", "create", "-f", file, "--name", "Greet")
	c.types("runs", "trigger", flow.ID, "--watch")
	run := typed[struct{ Items []thing }](c, "runs", "ls", "--workflow", flow.ID).Items[0].ID

	require.Regexp(t, `^STEP +TYPE .*\ngreet +connector +completed `, c.types("runs", "trace", run))
	require.Regexp(t, `^ITEM +STATUS +ATTEMPT .* INPUT\n0 +completed +1 .* \{"greeted":1\} +\{"greeted":1\}\n1 (?s:.*)\n3 +completed .*\n$`,
		c.types("runs", "trace", run, "--step", "greet"))
	type page struct {
		Items []struct{ Iteration int }
	}
	require.Len(t, typed[page](c, "runs", "trace", run, "--step", "greet", "--limit", "0", "--status", "completed,failed").Items, 4)
	require.Len(t, typed[page](c, "runs", "trace", run, "--step", "greet", "--limit", "3").Items, 3)
	require.Empty(t, typed[page](c, "runs", "trace", run, "--step", "greet", "--status", "failed").Items)
	code, _, errs := c.ends("runs", "trace", run, "--step", "nothing")
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, "not_found")
	code, _, errs = c.ends("runs", "trace", run, "--status", "failed")
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, "--status needs --step")
}

func TestAClientWorksFromTheCommandLine(t *testing.T) {
	t.Parallel()
	_, l, _ := dev(t, filepath.Join(t.TempDir(), "data"))
	c := terminal{t, []string{"TENEX_API_BASE=" + l.URL, "TENEX_API_KEY=" + l.Key}}
	type thing struct {
		ID, Status, Name string
		Output           json.RawMessage
		RerunOf          string `json:"rerun_of"`
		Version          int
	}
	type page struct {
		Items []map[string]any
		Next  *string `json:"next_cursor"`
	}

	require.Regexp(t, `(?m)^WORKSPACE\s+`+l.Workspace+`$`, c.types("whoami"))
	file := filepath.Join(t.TempDir(), "graph.json")
	require.NoError(t, os.WriteFile(file, []byte(asking), 0o600))

	flow := typed[thing](c, "workflows", "create", "-f", file, "--name", "Ask\x1b[31m first")
	require.Equal(t, 1, flow.Version)
	table := c.types("workflows", "ls")
	require.Regexp(t, `^ID +NAME +STATUS +VERSION +TAGS +UPDATED\n`+flow.ID+` +Ask\[31m first +active +1 +- +\d{4}-`, table)
	require.NotContains(t, table, "\x1b")
	require.Contains(t, c.types("workflows", "get", flow.ID), "STEPS")
	require.Empty(t, typed[page](c, "workflows", "ls", "-q", "nothing like it").Items)

	document := filepath.Join(t.TempDir(), "flow.json")
	require.NoError(t, os.WriteFile(document, []byte(c.types("workflows", "export", flow.ID)), 0o600))
	copied := typed[thing](c, "workflows", "create", "-f", document, "--name", "A copy")
	require.NotEqual(t, flow.ID, copied.ID)
	require.Equal(t, "archived", typed[thing](c, "workflows", "archive", copied.ID).Status)

	run := typed[thing](c, "runs", "trigger", flow.ID, "--payload", `{"lead_id":"lead_1"}`, "--metadata", "lead=1", "--idempotency-key", "once")
	again := typed[thing](c, "runs", "trigger", flow.ID, "--payload", `{"lead_id":"lead_1"}`, "--metadata", "lead=1", "--idempotency-key", "once")
	require.Equal(t, run.ID, again.ID)
	watching := start(t, c.env, "runs", "watch", run.ID)
	watching.line(watching.stdout, "run.waiting")
	require.Regexp(t, `(?s)Step "ask" waits.*STEP +FOR .*\nask +approval `, c.types("runs", "why", run.ID))
	require.Contains(t, c.types("runs", "why", run.ID, "-o", "json"), `"waiting_on"`)
	require.Equal(t, "paused", typed[thing](c, "runs", "pause", run.ID).Status)
	require.NotEqual(t, "paused", typed[thing](c, "runs", "resume", run.ID).Status)
	require.Contains(t, c.types("runs", "approve", run.ID, "ask", "--comment", "go ahead"), run.ID)
	require.Zero(t, watching.wait())
	require.Regexp(t, `(?m)^\d\d:\d\d:\d\d\.\d{3}  step\.waiting +ask`, watching.stdout.String())
	require.Contains(t, watching.stdout.String(), "run.completed")
	require.JSONEq(t, `{"say":{"said":"go ahead"}}`, string(typed[thing](c, "runs", "get", run.ID).Output))
	require.Regexp(t, `(?m)^say +connector +completed +1 `, c.types("runs", "trace", run.ID))
	require.Len(t, typed[page](c, "runs", "ls", "--metadata", "lead=1", "--status", "completed,failed", "--workflow", flow.ID).Items, 1)

	rerun := typed[thing](c, "runs", "rerun", run.ID)
	require.Equal(t, run.ID, rerun.RerunOf)
	rejecting := start(t, c.env, "runs", "watch", rerun.ID, "-o", "json")
	rejecting.line(rejecting.stdout, `"type":"run.waiting"`)
	c.types("runs", "reject", rerun.ID, "ask", "--comment", "not now")
	require.Equal(t, exitFailed, rejecting.wait(), "it fails where the run does")
	require.Contains(t, rejecting.stderr.String(), "flows: run "+rerun.ID+" has failed at step ask: the approval was rejected: not now\n")

	third := typed[thing](c, "runs", "trigger", flow.ID)
	c.types("runs", "cancel", third.ID)
	code, _, errs := c.ends("runs", "watch", third.ID)
	require.Equal(t, exitFailed, code)
	require.Contains(t, errs, "run "+third.ID+" is cancelled")
	first := typed[page](c, "runs", "ls", "--limit", "2")
	require.Len(t, first.Items, 2)
	require.NotNil(t, first.Next)
	require.Len(t, typed[page](c, "runs", "ls", "--limit", "0").Items, 3)
	_, _, errs = c.ends("runs", "ls", "--limit", "2")
	require.Contains(t, errs, "--limit 0 shows all")

	require.Contains(t, c.types("templates", "ls", "-q", "digest"), "daily-digest")
	require.Regexp(t, `(?s)SLUG +approve-then-send.*\nINPUT +TYPE `, c.types("templates", "get", "approve-then-send"))
	code, _, errs = c.ends("templates", "install", "lead-to-sequence")
	require.Equal(t, exitFailed, code)
	require.Regexp(t, `^flows: .* body\.inputs.*\(invalid, request \S+\)\n$`, errs)
	for _, slug := range []string{"lead-enricher", "sequence-enroller"} {
		require.Equal(t, http.StatusCreated, client{t, l.URL, l.Key}.do(http.MethodPost, apiRoot+"/agents",
			`{"slug":"`+slug+`","kind":"http","config":{"url":"http://127.0.0.1:1/"}}`, nil))
	}
	installed := c.types("templates", "install", "lead-to-sequence", "--name", "Leads", "--input", "segment_id=seg_1", "--input", "sequence_id=seq_1")
	require.Regexp(t, `(?s)NAME +Leads\n.*\nID +NAME +TYPE .*\ntrg_`, installed)

	triggers := typed[page](c, "triggers", "ls", "--type", "event")
	require.Len(t, triggers.Items, 1)
	require.Contains(t, c.types("triggers", "get", triggers.Items[0]["id"].(string)), "ENABLED")
	sent := typed[thing](c, "events", "send", "lead.created", "--data", `{"lead_id":"lead_1"}`, "--source", "crm", "--id", "mine")
	require.Regexp(t, `DUPLICATE +true`, c.types("events", "send", "lead.created", "--data", `{"lead_id":"lead_1"}`, "--source", "crm", "--id", "mine"))
	require.Contains(t, c.types("events", "ls", "--source", "crm"), sent.ID)
	require.Regexp(t, `DATA +\{"lead_id":"lead_1"\}`, c.types("events", "get", sent.ID))

	require.Regexp(t, `(?m)^http +.+ +built_in +1 `, c.types("connectors", "ls"))
	require.Regexp(t, `^ID +NAME +CONNECTOR`, c.types("connections", "ls"))
	require.Regexp(t, `^SLUG +NAME +KIND`, c.types("agents", "ls"))
}

func TestWhatAClientCannotDoSaysWhyOnOneLine(t *testing.T) {
	t.Parallel()
	_, l, _ := dev(t, filepath.Join(t.TempDir(), "data"))
	good := []string{"TENEX_API_BASE=" + l.URL, "TENEX_API_KEY=" + l.Key}
	stranger := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/whoami") {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusTemporaryRedirect)
			return
		}
		_, _ = io.WriteString(w, "<html>hello</html>")
	}))
	t.Cleanup(stranger.Close)
	for name, tc := range map[string]struct {
		env  []string
		args []string
		code int
		says string
	}{
		"no key":              {nil, []string{"whoami"}, exitFailed, `TENEX_API_KEY is not set`},
		"a key nobody has":    {[]string{good[0], "TENEX_API_KEY=" + someKey}, []string{"whoami"}, exitFailed, `\(unauthorized, request \S+\)`},
		"server that is away": {[]string{"TENEX_API_BASE=http://127.0.0.1:1", good[1]}, []string{"runs", "ls"}, exitFailed, `the server at http://127\.0\.0\.1:1 cannot be reached: connection refused`},
		"another server":      {[]string{"TENEX_API_BASE=" + stranger.URL, good[1]}, []string{"runs", "ls"}, exitFailed, `not one of flows`},
		"another stream":      {[]string{"TENEX_API_BASE=" + stranger.URL, good[1]}, []string{"runs", "watch", "run_1"}, exitFailed, `it sends no stream`},
		"server elsewhere":    {[]string{"TENEX_API_BASE=" + stranger.URL, good[1]}, []string{"whoami"}, exitFailed, `answered 307`},
		"no such run":         {good, []string{"runs", "watch", "run_none"}, exitFailed, `\(not_found, request \S+\)`},
		"an id with a slash":  {good, []string{"runs", "get", "../workflows"}, exitFailed, `\(not_found, request \S+\)`},
		"bad filter":          {good, []string{"runs", "ls", "--status", "asleep"}, exitFailed, `query\.status.* \(invalid, `},
		"bad limit":           {good, []string{"runs", "ls", "--limit=-1"}, exitFailed, `--limit`},
		"bad format":          {good, []string{"runs", "ls", "-o", "yaml"}, exitUsage, `--output must be one of`},
		"bad payload":         {good, []string{"runs", "trigger", "wf_1", "--payload", "{"}, exitFailed, `--payload is not JSON`},
		"no such file":        {good, []string{"workflows", "create", "-f", "/not/there"}, exitFailed, `--file: open /not/there`},
		"no name":             {good, []string{"workflows", "create", "-f", "-"}, exitFailed, `--file: - does not hold a JSON object`},
		"bad pair":            {good, []string{"templates", "install", "x", "--input", "y"}, exitFailed, `--input is "y": it must be NAME=VALUE`},
		"nothing said":        {good, []string{"runs"}, exitUsage, `expected one of "ls"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, out, errs := terminal{t, tc.env}.ends(tc.args...)
			require.Equal(t, tc.code, code, errs)
			require.Empty(t, out)
			require.Regexp(t, tc.says, errs)
			require.Equal(t, 1, strings.Count(strings.TrimSuffix(errs, "Try 'flows --help'.\n"), "\n"), errs)
			require.NotContains(t, errs, l.Key)
		})
	}
}

// TestAWatchedRunGoesOnOverBrokenConnections cuts every connection after a few bytes.
func TestAWatchedRunGoesOnOverBrokenConnections(t *testing.T) {
	t.Parallel()
	_, l, _ := dev(t, filepath.Join(t.TempDir(), "data"))
	target, err := url.Parse(l.URL)
	require.NoError(t, err)
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.FlushInterval = -1
	var streams atomic.Int32
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/stream") {
			n := streams.Add(1)
			if n%3 == 2 {
				http.Error(w, "away", http.StatusBadGateway)
				return
			}
			w = &cutting{ResponseWriter: w, left: 400}
		}
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	c := terminal{t, []string{"TENEX_API_BASE=" + front.URL, "TENEX_API_KEY=" + l.Key}}
	id := client{t, l.URL, l.Key}.workflow(threeSteps)
	out := c.types("runs", "trigger", id, "--watch", "-o", "json")
	for i, line := range strings.Split(strings.TrimSpace(out), "\n") {
		var e struct{ Seq int }
		require.NoError(t, json.Unmarshal([]byte(line), &e))
		require.Equal(t, i+1, e.Seq, "no gap and no repeat")
	}
	require.Contains(t, out, `"type":"run.completed"`)
	require.Greater(t, streams.Load(), int32(3))
}

// cutting breaks its connection in the middle of what is written.
type cutting struct {
	http.ResponseWriter
	left int
}

// Write writes what may still be written.
func (c *cutting) Write(b []byte) (int, error) {
	if len(b) > c.left {
		_, _ = c.ResponseWriter.Write(b[:c.left])
		c.Flush()
		panic(http.ErrAbortHandler)
	}
	c.left -= len(b)
	return c.ResponseWriter.Write(b)
}

// Flush sends what was written.
func (c *cutting) Flush() { c.ResponseWriter.(http.Flusher).Flush() }

func TestHelpNamesEveryCommandForClients(t *testing.T) {
	t.Parallel()
	out := terminal{t, nil}.types("--help")
	for _, name := range []string{"workflows ls", "runs watch", "templates install", "events send", "whoami"} {
		require.Regexp(t, `(?m)^  `+regexp.QuoteMeta(name), out)
	}
}
