package store

import "github.com/uptrace/bun"

// DB gives tests the connections below a store, to look at what it wrote.
func (s *Store) DB() *bun.DB { return s.db }

// RunsSQL is the statement behind Runs.
func (t *Tenant) RunsSQL(f RunFilter, p Page) string { return t.runsQuery(f, p).String() }
