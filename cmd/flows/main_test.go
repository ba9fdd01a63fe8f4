package main

import (
	"encoding/base64"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/testkit"
)

func TestVersionAndSettingsPrintJSON(t *testing.T) {
	t.Parallel()
	shown := runTo[map[string]string](t, nil, "version")
	require.Len(t, shown, 1)
	require.NotEmpty(t, shown[0]["version"])

	listed := runTo[map[string]string](t, nil, "settings")
	require.Len(t, listed, len(settings))
	for _, s := range listed {
		require.NotEmpty(t, s["does"], s["name"])
		require.NotEmpty(t, s["allowed"], s["name"])
		ours, headers := !strings.HasPrefix(s["name"], "OTEL_"), strings.HasSuffix(s["name"], "_HEADERS")
		secret := headers || ours && (strings.HasSuffix(s["name"], "_URL") && s["name"] != "FLOWS_PUBLIC_URL" || strings.HasSuffix(s["name"], "_KEY"))
		require.Equal(t, secret, s["file"] != "", s["name"])
	}
}

func TestWhatCannotWorkSaysWhy(t *testing.T) {
	t.Parallel()
	notThere := "FLOWS_DATABASE_URL=postgres://nobody:hunter2@127.0.0.1:1/none"
	someRedis := "FLOWS_REDIS_URL=redis://127.0.0.1:1/0"
	sampleKey := "FLOWS_ENCRYPTION_KEY=" + base64.StdEncoding.EncodeToString([]byte("this-is-a-sample-key-of-32-bytes"))
	for name, tc := range map[string]struct {
		env  []string
		args string
		code int
		says []string
	}{
		"unknown command":          {nil, "fly", exitUsage, []string{"fly"}},
		"unknown flag":             {nil, "dev --fast", exitUsage, []string{"--fast"}},
		"worker without stores":    {nil, "worker", exitFailed, []string{"FLOWS_DATABASE_URL", "FLOWS_REDIS_URL", "only flows dev runs on embedded storage"}},
		"api without Redis":        {[]string{notThere}, "api", exitFailed, []string{"flows api needs FLOWS_REDIS_URL"}},
		"scheduler without stores": {nil, "scheduler", exitFailed, []string{"flows scheduler needs FLOWS_DATABASE_URL"}},
		"serve without stores":     {nil, "serve", exitFailed, []string{"flows serve needs FLOWS_DATABASE_URL"}},
		"serve without a key":      {[]string{notThere, someRedis}, "serve", exitFailed, []string{"flows serve needs FLOWS_ENCRYPTION_KEY", "openssl rand"}},
		"a key for samples":        {[]string{notThere, someRedis, sampleKey}, "serve", exitFailed, []string{"FLOWS_ENCRYPTION_KEY", "random"}},
		"migrate without database": {nil, "migrate", exitFailed, []string{"FLOWS_DATABASE_URL"}},
		"database that is away":    {[]string{notThere, someRedis, testEncryptionKey}, "api", exitFailed, []string{"the database cannot be opened"}},
		"bad setting":              {[]string{"FLOWS_RATE_LIMIT=lots"}, "dev", exitFailed, []string{"FLOWS_RATE_LIMIT", `"lots"`, "a number from 1"}},
		"bad address":              {nil, "dev --addr nowhere", exitFailed, []string{"--addr", `"nowhere"`, "HOST:PORT"}},
		"bad concurrency":          {[]string{notThere, someRedis, testEncryptionKey}, "worker --concurrency 0x", exitUsage, []string{"--concurrency"}},
		"too much concurrency":     {[]string{notThere, someRedis, testEncryptionKey}, "worker --concurrency 5000", exitFailed, []string{"--concurrency", "5000", "1 to 1000"}},
		"no concurrency":           {[]string{notThere, someRedis, testEncryptionKey}, "worker --concurrency 0", exitFailed, []string{"--concurrency is 0", "1 to 1000"}},
		"bad queue":                {[]string{notThere, someRedis, testEncryptionKey}, "worker --queues fast", exitFailed, []string{"--queues", `"fast"`, "default, agents and system"}},
		"bad scope":                {[]string{notThere}, "keys create --workspace ws_1 --name n --scopes all", exitFailed, []string{"--scopes", `"all"`, "runs:read"}},
		"no scopes":                {[]string{notThere}, "keys create --workspace ws_1 --name n --scopes=", exitFailed, []string{"--scopes is empty", "runs:read"}},
		"folder that cannot be":    {nil, "dev --data-dir /dev/null/x", exitFailed, []string{"--data-dir", "/dev/null/x"}},
		"mcp without a key":        {nil, "mcp", exitFailed, []string{"TENEX_API_KEY"}},
		"mcp with a bad key":       {[]string{"TENEX_API_KEY=hunter2"}, "mcp", exitFailed, []string{"TENEX_API_KEY", "tnx_"}},
		"mcp to no address":        {[]string{"TENEX_API_BASE=nowhere"}, "mcp", exitFailed, []string{"TENEX_API_BASE", `"nowhere"`, "https://"}},
		"server that does not run": {nil, "healthcheck --url http://127.0.0.1:1/readyz", exitFailed, []string{"127.0.0.1:1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, tc.env, strings.Fields(tc.args)...)
			require.Equal(t, tc.code, p.wait())
			for _, part := range tc.says {
				require.Contains(t, p.stderr.String(), part)
			}
			require.NotContains(t, p.stderr.String(), "hunter2")
			require.NotContains(t, p.stderr.String(), "goroutine")
			require.Empty(t, p.stdout.String())
		})
	}
}

func TestAnAddressThatIsTakenIsNamed(t *testing.T) {
	t.Parallel()
	_, l, _ := dev(t, filepath.Join(t.TempDir(), "a"))
	addr := strings.TrimPrefix(l.URL, "http://")
	p := start(t, nil, "dev", "--addr", addr, "--data-dir", filepath.Join(t.TempDir(), "b"))
	require.Equal(t, exitFailed, p.wait())
	require.Contains(t, p.stderr.String(), addr)
	require.Contains(t, p.stderr.String(), "in use")
}

func TestARoleRefusesAnOldSchemaAndSaysWhatToDo(t *testing.T) {
	t.Parallel()
	if !testkit.HavePostgres() || !testkit.HaveRedis() {
		return
	}
	env, _ := servers(t)
	for _, args := range []string{"serve", "api", "worker", "scheduler", "workspaces create --name n", "keys create --workspace w --name n"} {
		p := start(t, env, strings.Fields(args)...)
		require.Equal(t, exitFailed, p.wait(), args)
		require.Contains(t, p.stderr.String(), "flows migrate up", args)
	}
	for _, m := range runTo[map[string]any](t, env, "migrate", "status") {
		require.Equal(t, false, m["applied"])
	}
	require.NotEmpty(t, runTo[map[string]any](t, env, "migrate", "up"))
	require.Empty(t, runTo[map[string]any](t, env, "migrate", "up"), "a second time there is nothing to do")
	for _, m := range runTo[map[string]any](t, env, "migrate", "status") {
		require.Equal(t, true, m["applied"])
	}
	p := start(t, env, "keys", "create", "--workspace", "ws_none", "--name", "n")
	require.Equal(t, exitFailed, p.wait())
	require.Contains(t, p.stderr.String(), "no such workspace")
}
