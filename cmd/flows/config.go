package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/10ex/flows/internal/apikey"
	"github.com/10ex/flows/internal/limits"
)

// config is every setting the product reads from its environment. Nothing else
// reads it.
type config struct {
	DatabaseURL   string
	DatabaseConns int
	RedisURL      string
	HTTPAddr      string // empty: the command's own default
	EncryptionKey []byte // nil: none
	// OldEncryptionKeys open what was sealed before the key was replaced.
	OldEncryptionKeys [][]byte
	LogLevel          slog.Level
	LogJSON           bool
	Concurrency       int
	WorkspaceLimit    limits.Limit // on its steps
	AllowPrivate      *bool        // nil: the command's own default
	APIKey            string       // of a client
	APIBase           string       // of a client
	PublicURL         string       // of the API; empty: not known
	RateLimit         int          // requests a minute and key
	AllowStdioMCP     bool
	Path              string // where programs are found, for those servers
	MaxBody           int
	MaxOutput         int
	Monitoring        bool          // whether the queue's pages may change it
	Retention         time.Duration // 0: for ever
	Drain             time.Duration
	WebhookRetries    []time.Duration
	Proxies           []string
	Tracing           tracing
}

// setting is one variable of the environment.
type setting struct {
	name     string
	initial  string // what holds when it is not set
	allowed  string // in words, for whoever set it wrongly
	does     string
	secret   bool // never shown, and may be given as the path of a file in <name>_FILE
	parseSet func(c *config, value string) error
}

// errNotAllowed stands for a value the words in allowed do not cover.
var errNotAllowed = errors.New("not allowed")

// settings is the list of all variables.
var settings = append([]setting{
	{
		name: "FLOWS_DATABASE_URL", allowed: "postgres://USER:PASSWORD@HOST:PORT/DATABASE",
		does: "the PostgreSQL database; the embedded one in dev", secret: true,
		parseSet: func(c *config, v string) error {
			c.DatabaseURL = v
			return oneScheme(v, "postgres", "postgresql")
		},
	},
	{
		name: "FLOWS_DATABASE_MAX_CONNS", initial: "10", allowed: "a number from 2 to 1000",
		does:     "connections to the database a process may hold",
		parseSet: func(c *config, v string) error { return number(&c.DatabaseConns, v, 2, 1000) },
	},
	{
		name: "FLOWS_REDIS_URL", allowed: "redis://USER:PASSWORD@HOST:PORT/DB, rediss://… or unix://…",
		does: "the Redis server; the embedded one in dev", secret: true,
		parseSet: func(c *config, v string) error {
			c.RedisURL = v
			return oneScheme(v, "redis", "rediss", "unix")
		},
	},
	{
		name: "FLOWS_HTTP_ADDR", allowed: "HOST:PORT, where HOST may be empty for all addresses",
		does: "where HTTP is served: 127.0.0.1:8080 in dev, :8080 in serve and api; in worker and scheduler " +
			"health and metrics only, and only if it is set",
		parseSet: func(c *config, v string) error {
			c.HTTPAddr = v
			return checkAddr(v)
		},
	},
	{
		name:    "FLOWS_ENCRYPTION_KEY",
		allowed: "32 random bytes in base64, as made by: openssl rand -base64 32 (to replace it: the new one, a comma, the old one)",
		does:    "the key that stored secrets are encrypted with; dev makes one in its data folder", secret: true,
		parseSet: parseEncryptionKeys,
	},
	{
		name: "FLOWS_LOG_LEVEL", initial: "info", allowed: "debug, info, warn or error",
		does: "the least important lines that are logged",
		parseSet: func(c *config, v string) error {
			levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
			level, ok := levels[strings.ToLower(v)]
			if !ok {
				return errNotAllowed
			}
			c.LogLevel = level
			return nil
		},
	},
	{
		name: "FLOWS_LOG_FORMAT", initial: "text", allowed: "text or json", does: "how lines are logged",
		parseSet: func(c *config, v string) error {
			c.LogJSON = v == "json"
			if v != "json" && v != "text" {
				return errNotAllowed
			}
			return nil
		},
	},
	{
		name: "FLOWS_WORKER_CONCURRENCY", initial: "100", allowed: "a number from 1 to 1000",
		does:     "steps a process does at once",
		parseSet: func(c *config, v string) error { return number(&c.Concurrency, v, 1, 1000) },
	},
	{
		name: "FLOWS_WORKSPACE_CONCURRENCY", initial: "0", allowed: "a number from 1 to 100000, or 0 for any number",
		does:     "steps of one workspace that may be under way in all processes together",
		parseSet: func(c *config, v string) error { return number(&c.WorkspaceLimit.Concurrency, v, 0, 100_000) },
	},
	{
		name: "FLOWS_WORKSPACE_RATE", initial: "0", allowed: "a number from 1 to 10000000, or 0 for any number",
		does: "steps of one workspace that may begin in a minute in all processes together",
		parseSet: func(c *config, v string) error {
			err := number(&c.WorkspaceLimit.Count, v, 0, 10_000_000)
			if c.WorkspaceLimit.Count > 0 {
				c.WorkspaceLimit.Per = time.Minute
			}
			return err
		},
	},
	{
		name: "FLOWS_ALLOW_PRIVATE_NETWORKS", allowed: "true or false",
		does: "whether flows may call loopback and private addresses: true in dev, false elsewhere",
		parseSet: func(c *config, v string) error {
			c.AllowPrivate = new(bool)
			return boolean(c.AllowPrivate, v)
		},
	},
	{
		name: "FLOWS_ALLOW_STDIO_MCP", initial: "false", allowed: "true or false",
		does: "whether MCP servers may be registered that are programs, started on this machine with the rights of this process: " +
			"whoever may register connectors can then run anything",
		parseSet: func(c *config, v string) error { return boolean(&c.AllowStdioMCP, v) },
	},
	{
		name: "FLOWS_RATE_LIMIT", initial: "1000", allowed: "a number from 1 to 1000000",
		does:     "requests a minute each key may make",
		parseSet: func(c *config, v string) error { return number(&c.RateLimit, v, 1, 1_000_000) },
	},
	{
		name: "FLOWS_MAX_BODY", initial: "1MiB", allowed: "a size from 1KiB to 64MiB, such as 512KiB",
		does:     "how large a request may be",
		parseSet: func(c *config, v string) error { return size(&c.MaxBody, v, 1<<10, 64<<20) },
	},
	{
		name: "FLOWS_MAX_OUTPUT", initial: "1MiB", allowed: "a size from 1KiB to 64MiB, such as 512KiB",
		does:     "how large the output of a step may be",
		parseSet: func(c *config, v string) error { return size(&c.MaxOutput, v, 1<<10, 64<<20) },
	},
	{
		name: "FLOWS_PUBLIC_URL", allowed: "the address of a server, http://… or https://…",
		does:     "where people and other sides reach the API; without it events carry no links to approvals (flows dev takes its own address)",
		parseSet: func(c *config, v string) error { return serverAddress(&c.PublicURL, v) },
	},
	{
		name: "TENEX_API_KEY", allowed: "an API key, tnx_…", does: "the key that clients such as flows mcp work with", secret: true,
		parseSet: func(c *config, v string) error {
			c.APIKey = v
			if _, _, ok := apikey.Parse(v); !ok {
				return errNotAllowed
			}
			return nil
		},
	},
	{
		name: "TENEX_API_BASE", initial: "http://127.0.0.1:8080", allowed: "the address of a server, http://… or https://…",
		does:     "the server that clients such as flows mcp work with",
		parseSet: func(c *config, v string) error { return serverAddress(&c.APIBase, v) },
	},
	{
		name: "FLOWS_MONITORING_WRITE", initial: "false", allowed: "true or false",
		does:     "whether the queue's pages may pause queues and delete tasks",
		parseSet: func(c *config, v string) error { return boolean(&c.Monitoring, v) },
	},
	{
		name: "FLOWS_RETENTION", initial: "0", allowed: "a time such as 720h or 90d, or 0 for ever",
		does:     "how long runs are kept after they have ended, and events, deliveries and ticks of schedules",
		parseSet: func(c *config, v string) error { return duration(&c.Retention, v, 0) },
	},
	{
		name: "FLOWS_DRAIN_TIMEOUT", initial: "25s", allowed: "a time of at least 0s, such as 25s",
		does:     "how long a process that is told to stop lets steps finish before it hands them back",
		parseSet: func(c *config, v string) error { return duration(&c.Drain, v, 0) },
	},
	{
		name: "FLOWS_WEBHOOK_RETRIES", initial: "1s,2s,4s,8s,16s", allowed: "up to 20 times separated by commas, such as 1s,1m,1h",
		does:     "how long to wait before each further attempt to send a webhook; after the last one it has failed",
		parseSet: func(c *config, v string) error { return durations(&c.WebhookRetries, v, 20) },
	},
	{
		name: "FLOWS_TRUSTED_PROXIES", allowed: "addresses and networks separated by commas, such as 10.0.0.0/8,::1",
		does: "proxies whose X-Forwarded-For is believed",
		parseSet: func(c *config, v string) error {
			for one := range strings.SplitSeq(v, ",") {
				one = strings.TrimSpace(one)
				_, notNetwork := netip.ParsePrefix(one)
				if _, err := netip.ParseAddr(one); err != nil && notNetwork != nil {
					return errNotAllowed
				}
				c.Proxies = append(c.Proxies, one)
			}
			return nil
		},
	},
}, tracingSettings()...)

// environment is where settings come from.
type environment struct {
	lookup   func(name string) (string, bool)
	readFile func(path string) ([]byte, error)
}

// processEnvironment is the environment of this process.
func processEnvironment() environment {
	return environment{lookup: os.LookupEnv, readFile: os.ReadFile}
}

// readConfig reads all settings. The error names every one that is wrong.
func readConfig(env environment) (config, error) {
	var (
		c    config
		errs []error
	)
	for _, s := range settings {
		value, from, err := s.value(env)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if value == "" {
			continue
		}
		if err := s.parseSet(&c, value); err != nil {
			errs = append(errs, s.wrong(from, value))
		}
	}
	c.Path, _ = env.lookup("PATH")
	return c, errors.Join(errs...)
}

// value finds what a setting is set to, and by which variable. An empty variable
// counts as one that is not set: that is how compose files leave one out.
func (s setting) value(env environment) (value, from string, err error) {
	value, _ = env.lookup(s.name)
	if !s.secret {
		if value == "" {
			value = s.initial
		}
		return value, s.name, nil
	}
	file := s.name + "_FILE"
	path, _ := env.lookup(file)
	switch {
	case path == "":
		return value, s.name, nil
	case value != "":
		return "", "", fmt.Errorf("%s and %s are both set: only one may be", s.name, file)
	}
	content, err := env.readFile(path)
	if err != nil {
		return "", "", fmt.Errorf("%s is %q, which cannot be read: it must be the path of a file that holds %s", file, path, s.allowed)
	}
	return strings.TrimSpace(string(content)), file, nil
}

func (s setting) wrong(from, value string) error {
	shown := fmt.Sprintf("is %q", value)
	if s.secret || strings.Contains(value, "@") { // an address with a password in it is none of ours
		shown = "is not valid (its value is a secret and is not shown)"
	}
	return fmt.Errorf("%s %s: it must be %s", from, shown, s.allowed)
}

func oneScheme(v string, schemes ...string) error {
	u, err := url.Parse(v)
	if err != nil || !slices.Contains(schemes, u.Scheme) {
		return errNotAllowed
	}
	return nil
}

// serverAddress reads where a server is. The root of its operations is taken for it, too.
func serverAddress(to *string, v string) error {
	u, err := url.Parse(v)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return errNotAllowed
	}
	*to = strings.TrimRight(v, "/")
	for _, end := range []string{"/api/v1/flows", "/api/v1"} {
		*to = strings.TrimSuffix(*to, end)
	}
	return nil
}

func checkAddr(v string) error {
	_, port, err := net.SplitHostPort(v)
	if err != nil {
		return errNotAllowed
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n > 65535 {
		return errNotAllowed
	}
	return nil
}

func number(to *int, v string, least, most int) error {
	n, err := strconv.Atoi(v)
	if err != nil || n < least || n > most {
		return errNotAllowed
	}
	*to = n
	return nil
}

func boolean(to *bool, v string) error {
	switch strings.ToLower(v) {
	case "true", "1", "yes", "on":
		*to = true
	case "false", "0", "no", "off":
		*to = false
	default:
		return errNotAllowed
	}
	return nil
}

// size reads bytes: a plain number, or one with KiB or MiB behind it.
func size(to *int, v string, least, most int) error {
	unit := 1
	for suffix, n := range map[string]int{"KiB": 1 << 10, "MiB": 1 << 20} {
		if rest, ok := strings.CutSuffix(v, suffix); ok {
			v, unit = rest, n
		}
	}
	n, err := strconv.Atoi(v)
	if err != nil || n > most || n*unit < least || n*unit > most {
		return errNotAllowed
	}
	*to = n * unit
	return nil
}

// duration reads Go's durations and whole days.
func duration(to *time.Duration, v string, least time.Duration) error {
	if days, ok := strings.CutSuffix(v, "d"); ok {
		n, err := strconv.ParseUint(days, 10, 15)
		if err != nil {
			return errNotAllowed
		}
		*to = time.Duration(n) * 24 * time.Hour
		return nil
	}
	d, err := time.ParseDuration(v)
	if err != nil || d < least {
		return errNotAllowed
	}
	*to = d
	return nil
}

// durations reads up to most times, separated by commas.
func durations(to *[]time.Duration, v string, most int) error {
	*to = nil
	for one := range strings.SplitSeq(v, ",") {
		var d time.Duration
		if err := duration(&d, strings.TrimSpace(one), 0); err != nil || len(*to) == most {
			return errNotAllowed
		}
		*to = append(*to, d)
	}
	return nil
}
