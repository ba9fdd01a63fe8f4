// Package migrations holds the schema of both databases as SQL files with equal
// names, and hands them out by dialect. It runs nothing; package store does. A
// test holds both to the same tables and columns.
//
// It imports nothing of ours.
package migrations

import (
	"embed"
	"io/fs"
)

//go:embed postgres/*.sql sqlite/*.sql
var files embed.FS

// Postgres gives the migrations for PostgreSQL.
func Postgres() fs.FS { return sub("postgres") }

// SQLite gives the migrations for SQLite.
func SQLite() fs.FS { return sub("sqlite") }

func sub(dir string) fs.FS {
	f, err := fs.Sub(files, dir)
	if err != nil {
		panic(err) // the directories are embedded above
	}
	return f
}
