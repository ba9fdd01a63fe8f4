// Package dialect makes schemas that others have written fit for use: whatever
// dialect of JSON Schema they are in, what comes out is 2020-12, compiles, refers
// to nothing outside, and is bounded in size. Where a schema says something that is
// no schema, the result allows more rather than less: the other side judges what it
// is sent as well.
//
// It knows nothing of OpenAPI, MCP or connections. It imports nothing of ours.
package dialect
