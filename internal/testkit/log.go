package testkit

import (
	"log/slog"
	"testing"
)

// Logger returns a logger that writes to the test's own output, which is shown
// when the test fails or with -v.
func Logger(t testing.TB) *slog.Logger {
	t.Helper()
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}
