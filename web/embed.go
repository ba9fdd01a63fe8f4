// Package web holds what browsers are given: the pages and what they need. All of
// it is in the binary, so that pages work where nothing else can be reached.
//
// It knows nothing of the rest and speaks to the API over HTTP only.
package web

import "embed"

// Files has the pages under static/.
//
//go:embed static
var Files embed.FS
