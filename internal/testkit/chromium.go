package testkit

import "testing"

// HaveChromium tells whether tests in a browser run. Under CI=true they always
// do.
func HaveChromium() bool { return have(chromiumVariable) }

// Chromium returns the path of the browser's program.
func Chromium(t testing.TB) string {
	t.Helper()
	return need(t, chromiumVariable)
}
