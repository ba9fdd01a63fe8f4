// Package enginetest runs scenarios: a flow, what happens to a run of it, and what
// has to be true then, written so that they can be read without knowing the code.
// The files in engine/testdata and the examples of docs/reference/graph.md are
// scenarios.
//
// The engine and the store are the real ones. The clock stands still unless a
// scenario moves it, and the queue is a list, so nothing happens by itself. What
// a scenario may say is listed at the tables in command.go and expect.go, and how
// a flow may be written in flow.go.
//
// It knows no HTTP and no Redis. It imports engine, store, connectors and what
// they need; only tests import it.
package enginetest
