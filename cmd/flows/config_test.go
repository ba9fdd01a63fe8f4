package main

import (
	"bytes"
	"encoding/base64"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/trace"
)

// envOf is an environment of given variables and files.
func envOf(vars, files map[string]string) environment {
	return environment{
		lookup: func(name string) (string, bool) { v, ok := vars[name]; return v, ok },
		readFile: func(path string) ([]byte, error) {
			if content, ok := files[path]; ok {
				return []byte(content), nil
			}
			return nil, os.ErrNotExist
		},
	}
}

func TestConfigDefaults(t *testing.T) {
	t.Parallel()
	c, err := readConfig(envOf(nil, nil))
	require.NoError(t, err)
	require.Equal(t, config{
		DatabaseConns: 10, Concurrency: 100, RateLimit: 1000, MaxBody: 1 << 20, MaxOutput: 1 << 20, Drain: 25 * time.Second,
		APIBase:        "http://127.0.0.1:8080",
		WebhookRetries: []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second},
		Tracing: tracing{
			All:     otlp{Timeout: 10 * time.Second, Compression: "gzip"},
			Sampler: trace.ParentBasedAlwaysOn, Ratio: 1, Delay: 5 * time.Second, ExportTimeout: 30 * time.Second, Queue: 2048, Batch: 512,
		},
	}, c)
	require.False(t, c.Tracing.on())
}

func TestConfigReadsWhatIsSet(t *testing.T) {
	t.Parallel()
	c, err := readConfig(envOf(map[string]string{
		"FLOWS_DATABASE_URL_FILE":      "/run/secrets/db",
		"FLOWS_REDIS_URL":              "redis://localhost:6379/3",
		"FLOWS_HTTP_ADDR":              ":0",
		"FLOWS_LOG_LEVEL":              "DEBUG",
		"FLOWS_LOG_FORMAT":             "json",
		"FLOWS_ALLOW_PRIVATE_NETWORKS": "false",
		"FLOWS_MAX_BODY":               "512KiB",
		"FLOWS_RETENTION":              "90d",
		"FLOWS_WORKER_CONCURRENCY":     "", // left empty: not set
		"FLOWS_TRUSTED_PROXIES":        "10.0.0.0/8, fd00::/8",
	}, map[string]string{"/run/secrets/db": "postgres://flows:secret@db/flows\n"}))
	require.NoError(t, err)
	require.Equal(t, "postgres://flows:secret@db/flows", c.DatabaseURL)
	require.Equal(t, "redis://localhost:6379/3", c.RedisURL)
	require.True(t, c.LogJSON)
	require.NotNil(t, c.AllowPrivate)
	require.False(t, *c.AllowPrivate)
	require.Equal(t, 512<<10, c.MaxBody)
	require.Equal(t, 90*24*time.Hour, c.Retention)
	require.Equal(t, 100, c.Concurrency)
	require.Len(t, c.Proxies, 2)
}

func TestConfigNamesWhatIsWrongButNoSecret(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		vars map[string]string
		want []string
	}{
		"number out of range": {
			map[string]string{"FLOWS_WORKER_CONCURRENCY": "0"},
			[]string{"FLOWS_WORKER_CONCURRENCY", `"0"`, "from 1 to 1000"},
		},
		"not a number": {
			map[string]string{"FLOWS_RATE_LIMIT": "many"},
			[]string{"FLOWS_RATE_LIMIT", `"many"`, "a number"},
		},
		"a word of its own": {
			map[string]string{"FLOWS_LOG_LEVEL": "loud"},
			[]string{"FLOWS_LOG_LEVEL", `"loud"`, "debug, info, warn or error"},
		},
		"an address without port": {
			map[string]string{"FLOWS_HTTP_ADDR": "localhost"},
			[]string{"FLOWS_HTTP_ADDR", `"localhost"`, "HOST:PORT"},
		},
		"a size too large": {
			map[string]string{"FLOWS_MAX_BODY": "9999MiB"},
			[]string{"FLOWS_MAX_BODY", `"9999MiB"`, "64MiB"},
		},
		"one of the times is none": {
			map[string]string{"FLOWS_WEBHOOK_RETRIES": "1s,soon"},
			[]string{"FLOWS_WEBHOOK_RETRIES", `"1s,soon"`, "separated by commas"},
		},
		"a negative time": {
			map[string]string{"FLOWS_DRAIN_TIMEOUT": "-1s"},
			[]string{"FLOWS_DRAIN_TIMEOUT", `"-1s"`, "at least 0s"},
		},
		"a secret": {
			map[string]string{"FLOWS_DATABASE_URL": "mysql://user:hunter2@host/db"},
			[]string{"FLOWS_DATABASE_URL", "secret", "postgres://"},
		},
		"a secret that is no URL": {
			map[string]string{"FLOWS_REDIS_URL": "://hunter2"},
			[]string{"FLOWS_REDIS_URL", "secret", "redis://"},
		},
		"a key of the wrong length": {
			map[string]string{"FLOWS_ENCRYPTION_KEY": "aHVudGVyMg=="},
			[]string{"FLOWS_ENCRYPTION_KEY", "32 random bytes"},
		},
		"an old key of the wrong length": {
			map[string]string{"FLOWS_ENCRYPTION_KEY": keyOf(randomKey) + ",aHVudGVyMg=="},
			[]string{"FLOWS_ENCRYPTION_KEY", "32 random bytes"},
		},
		"a key that is no secret": {
			map[string]string{"FLOWS_ENCRYPTION_KEY": keyOf(bytes.Repeat([]byte{0}, 32))},
			[]string{"FLOWS_ENCRYPTION_KEY", "32 random bytes"},
		},
		"a file that is not there": {
			map[string]string{"FLOWS_REDIS_URL_FILE": "/run/secrets/redis"},
			[]string{"FLOWS_REDIS_URL_FILE", "/run/secrets/redis", "cannot be read"},
		},
		"both a value and a file": {
			map[string]string{"FLOWS_REDIS_URL_FILE": "/run/secrets/redis", "FLOWS_REDIS_URL": "redis://hunter2@host"},
			[]string{"FLOWS_REDIS_URL", "FLOWS_REDIS_URL_FILE", "only one"},
		},
		"all that is wrong at once": {
			map[string]string{"FLOWS_RATE_LIMIT": "-1", "FLOWS_LOG_FORMAT": "xml"},
			[]string{"FLOWS_RATE_LIMIT", "FLOWS_LOG_FORMAT"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := readConfig(envOf(tc.vars, nil))
			require.Error(t, err)
			for _, part := range tc.want {
				require.ErrorContains(t, err, part)
			}
			require.NotContains(t, err.Error(), "hunter2")
			require.NotContains(t, err.Error(), "aHVudGVyMg")
		})
	}
}

// randomKey is what a real key may look like.
var randomKey = []byte("\x84\x99\xb4\x92\xf3\xd7\xde\x5f\x2b\x0f\x69\xdb\xaa\x00\x35\xc8\x8e\xde\xe6\xe1\x99\x70\xc4\xdf\xe1\x6c\x51\xf6\xc1\x28\x29\xd5")

func keyOf(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func TestTheEncryptionKeyCanBeReplaced(t *testing.T) {
	t.Parallel()
	older := bytes.Clone(randomKey)
	older[0]++
	c, err := readConfig(envOf(map[string]string{"FLOWS_ENCRYPTION_KEY": keyOf(randomKey) + ", " + keyOf(older)}, nil))
	require.NoError(t, err)
	require.Equal(t, randomKey, c.EncryptionKey)
	require.Equal(t, [][]byte{older}, c.OldEncryptionKeys)
	ring, err := c.ring()
	require.NoError(t, err)
	before, err := (config{EncryptionKey: older}).ring()
	require.NoError(t, err)
	opened, err := ring.Open(before.Seal([]byte("s3cret"), "owner"), "owner")
	require.NoError(t, err)
	require.Equal(t, "s3cret", string(opened))
}

func TestKeysThatAreNoSecretAreKnown(t *testing.T) {
	t.Parallel()
	counting := make([]byte, 32)
	for i := range counting {
		counting[i] = byte(i)
	}
	for name, key := range map[string][]byte{
		"zeros": make([]byte, 32), "ones": bytes.Repeat([]byte{1}, 32), "counting": counting,
		"two signs": bytes.Repeat([]byte("ab"), 16), "digits": []byte("01234567890123456789012345678901"),
		"a word": []byte("CHANGE_ME_CHANGE_ME_CHANGE_ME_12"), "another": []byte("please-use-your-own-secret-here!"),
	} {
		require.True(t, forSamples(key), name)
	}
	require.False(t, forSamples(randomKey))
	for range 1000 {
		made, err := newEncryptionKey()
		require.NoError(t, err)
		require.False(t, forSamples(made))
	}
}
