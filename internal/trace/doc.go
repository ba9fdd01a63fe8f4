// Package trace tells a tracing tool, over OTLP, what requests, steps and outbound
// calls did and how long they took.
//
// A run may live for days, so it is one trace of its own: its trace id is the
// number in its id, and so every process finds it without asking anybody. The
// request that started a run and the run point at each other by links.
//
// Spans carry names, ids, states and codes. Payloads, addresses with their paths
// and queries, headers and messages of errors never get here.
//
// A nil *Tracer is one that is off; using it costs nothing. The package knows no
// environment, no engine and no Fiber. It may import models and leaves of
// internal, and is the only one that may import OpenTelemetry.
package trace
