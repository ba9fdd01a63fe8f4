// Package mcp lets programs that speak the Model Context Protocol use the product:
// agents, above all. It is a second door to the operations of package api and has no
// logic of its own. A tool names an operation and says which parts of its request
// are the tool's arguments; the schemas come from the OpenAPI document, and a call
// goes through the operation's own route with the caller's key, scopes and rate. What
// is to be checked is checked there and nowhere else.
//
// tools.go is the table of tools. The package must not know the store, the engine or
// Fiber; it may import api alone of ours.
package mcp
