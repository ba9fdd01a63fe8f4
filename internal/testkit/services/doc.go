// Package services gets the servers that tests and benchmarks need (PostgreSQL,
// Redis, a browser) on any machine: the ones named in the environment, the ones
// that already listen here, local programs run in a private folder, packages
// installed for the purpose, or containers, in that order. What it started, it
// stops.
//
// It must not know what the servers are used for: no schema, no key names. It
// imports nothing of this module, and is imported only by
// internal/testkit/withservices.
package services
