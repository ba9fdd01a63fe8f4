// Package expression is the one expression language of the product: conditions
// on edges, filters of triggers, times of waits, lists to iterate over, and the
// {{ … }} inside templates.
//
// The language is the grammar of github.com/expr-lang/expr with a meaning of its
// own. A source is parsed, checked against a Scope and rewritten before it is
// compiled: every read of data, every operator whose cost depends on its operands
// and every function becomes a call into this package, and every turn of a loop
// is counted. That gives three promises:
//
//   - Pure. No clock, no randomness, no environment, no network, no files, no Go
//     methods. The same expression on the same data gives the same answer.
//   - Bounded. Source, nodes, nesting, list lengths, work, memory and result have
//     limits (see limits.go). Work is counted, not timed, so whether an expression
//     is too expensive does not depend on how busy the machine is. Evaluation runs
//     on the caller's goroutine and leaves nothing behind when it is stopped.
//   - Explained. Errors carry a position and a sentence about the user's data,
//     never a Go type or a library's text.
//
// A field or item that is not there is null. Reading a field of null is an error,
// unless the read is marked with ?. or stands to the left of ??.
//
// The package knows strings, JSON values and maps. It must not know of stores,
// runs, models or HTTP, and imports the standard library and expr only.
package expression
