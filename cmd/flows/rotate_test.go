package main

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/seal"

	"github.com/10ex/flows/internal/testkit"
)

func TestStoredSecretsMoveToTheNewKey(t *testing.T) {
	t.Parallel()
	p := start(t, nil, "encryption", "rotate")
	require.Equal(t, exitFailed, p.wait())
	require.Contains(t, p.stderr.String(), "FLOWS_ENCRYPTION_KEY")
	if !testkit.HavePostgres() || !testkit.HaveRedis() {
		return
	}
	const oldKey, newKey = "hJm0kvPX3l8rD2nbqgA1yI7e5uGZcMTf4WxR9sEoKdU=", "q1T8u2Zb6nYdXo0wGk3rLs9VfHcJm5eApQyNtRiDvB4="
	env, _ := servers(t)
	env = env[:len(env)-1]
	with := func(keys string) []string { return append(slices.Clip(env), "FLOWS_ENCRYPTION_KEY="+keys) }
	key := installed(t, with(oldKey))
	server, address := serving(t, with(oldKey), "serve")
	c := client{t: t, url: address, key: key}
	for _, body := range []string{`{"connector":"http","name":"a","config":{"base_url":"https://example.com"},"secrets":{"token":"s3cret-token"}}`} {
		status, raw := c.send("POST", apiRoot+"/connections", body)
		require.Equal(t, 201, status, string(raw))
	}
	status, raw := c.send("POST", apiRoot+"/triggers", `{"type":"event","event_type":"a","target_type":"webhook","url":"https://example.com/"}`)
	require.Equal(t, 201, status, string(raw))
	require.Zero(t, server.stop())

	count := func(kind string, resealed int) rotated {
		return rotated{kind, seal.Renewed{Examined: 1, Resealed: resealed}}
	}
	require.Equal(t, []rotated{count("connections", 1), count("triggers", 1)}, runTo[rotated](t, with(newKey+","+oldKey), "encryption", "rotate"))
	require.Equal(t, []rotated{count("connections", 0), count("triggers", 0)}, runTo[rotated](t, with(newKey), "encryption", "rotate"))
	p = start(t, with(oldKey), "encryption", "rotate")
	require.Equal(t, exitFailed, p.wait(), "the old key alone opens nothing any more")
	require.Contains(t, p.stdout.String(), `{"kind":"connections","examined":1,"resealed":0,"unreadable":1}`)
	require.Contains(t, p.stderr.String(), "2 secrets open with none of the keys")
}
