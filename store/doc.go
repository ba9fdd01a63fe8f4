// Package store keeps everything there is to keep: every query of the product is
// here, on PostgreSQL or SQLite, behind functions named for what they mean.
//
// What one tenant may see is reached through For, whose handle carries the
// workspace into every statement. What the engine does to many runs at once goes
// through WithRuns. dialect.go holds every difference between the databases.
//
// It decides nothing about runs, never talks to Redis, and imports models and
// migrations only.
package store
