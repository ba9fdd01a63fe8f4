package testkit

import (
	"os"
	"testing"
)

const (
	postgresVariable = "FLOWS_TEST_DATABASE_URL"
	redisVariable    = "FLOWS_TEST_REDIS_URL"
	chromiumVariable = "FLOWS_TEST_CHROMIUM"
)

// have tells whether tests that need the service run.
func have(variable string) bool {
	return os.Getenv(variable) != "" || os.Getenv("CI") == "true"
}

// need returns the variable's value, and ends the test when there is none.
func need(t testing.TB, variable string) string {
	t.Helper()
	value := os.Getenv(variable)
	if value == "" {
		t.Fatalf("%s is not set; `make test` gets the servers and sets it", variable)
	}
	return value
}
