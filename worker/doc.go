// Package worker carries steps out. It takes them from the queue, or from whoever
// offers them sooner, claims them, has a connector or an agent do the work, and
// hands the result to the engine, which alone decides what follows.
//
// A worker may do a step twice and may do one that is another's by now: the
// claim, the lease and the fence around the result are the engine's, and here
// they are only obeyed.
//
// It knows no database and no HTTP. It may import engine, tasks, connectors,
// agents, models and leaves of internal.
package worker
