// Package testkit gives tests what they run on: an own schema in PostgreSQL, an
// own logical Redis, an in-process Redis, a logger. Tests that use it may run
// side by side, in one process and in several.
//
// Where the servers are is told by FLOWS_TEST_DATABASE_URL and
// FLOWS_TEST_REDIS_URL, which `make test` sets. Without them a test leaves
// what needs the server out of its table, by HavePostgres and HaveRedis; with
// CI=true it is in the table all the same and fails, for a gate must not pass
// by testing less.
//
// It must not know what is tested: no table, no key of the product. It imports
// nothing of this module, and only tests import it.
package testkit
