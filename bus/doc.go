// Package bus brings events to whoever listens: it stores them, matches them with
// triggers and with the waits of runs, fires schedules when they are due, takes
// webhooks in and sends them out.
//
// It moves no run: it asks the engine to start one or to end a wait. It must not
// know who asks (api) nor who works (worker, scheduler), and does nothing in the
// background: it is called by tasks, and by sweeps for what tasks have lost. All
// it does may be done twice.
//
// It may import engine, store, tasks, models and the leaves of internal.
package bus
