// Package scheduler finds what time has made due: steps whose delivery or worker
// was lost, waits that are over, rows that are old enough to go. It lets the
// engine move them and moves nothing itself.
//
// Any number of schedulers may run at once. Each loop can be run a single time
// with RunOnce. It knows no HTTP and no connector; it may import engine, store,
// models, tasks and leaves of internal.
package scheduler
