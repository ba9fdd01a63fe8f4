package main

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/10ex/flows/internal/testkit/services"
)

// exports returns lines for a shell. The product's own variables are among them
// when a database was made for it: its data stays apart from the tests'.
func exports(set *services.Set, databases []string) string {
	var b strings.Builder
	line := func(name, value string) {
		if value != "" {
			// Nothing that is written here can hold a quote: URLs escape it.
			fmt.Fprintf(&b, "export %s='%s'\n", name, value)
		}
	}
	for _, kind := range []services.Kind{services.Postgres, services.Redis, services.Chromium} {
		line(services.Variable(kind), set.URL(kind))
	}
	if len(databases) > 0 {
		line("FLOWS_DATABASE_URL", withDatabase(set.URL(services.Postgres), databases[0]))
		line("FLOWS_REDIS_URL", set.URL(services.Redis))
	}
	return b.String()
}

// withDatabase returns the URL of another database of the same server.
func withDatabase(raw, database string) string {
	u, err := url.Parse(raw)
	if raw == "" || err != nil {
		return ""
	}
	u.Path = "/" + database
	return u.String()
}

func writeEnvFile(path string, set *services.Set, databases []string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("write the variables: %w", err)
	}
	// The URLs hold passwords.
	if err := os.WriteFile(path, []byte(exports(set, databases)), 0o600); err != nil {
		return fmt.Errorf("write the variables: %w", err)
	}
	return nil
}
