// Package engine decides what happens next in a run, and is the only one to move
// a run or a step from one state to another.
//
// plan.go and walk.go are pure: a definition, a snapshot, something that
// happened and the time give a plan. engine.go and group.go are the shell around
// them: they lock the run, read the snapshot, save the plan in one transaction
// and, after the commit, hand what became ready to an Enqueuer. Losing that
// hand-over is safe: sweep.go finds it.
//
// It knows no HTTP, no connector and no queue. It may import models, store,
// tasks, engine/expression and leaves of internal.
package engine
