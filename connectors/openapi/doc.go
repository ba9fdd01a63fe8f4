// Package openapi makes connectors of OpenAPI documents (3.0 and 3.1, JSON and YAML):
// every operation is an action. A document is read once, when it is registered, and
// what is kept of it is what sending requests takes.
//
// Documents are written by others, so everything about them is bounded: size, depth,
// the number of operations and schemas. Requests go to the servers that the document
// or the registration names, whatever an input says.
//
// The package knows nothing of workspaces and databases. It imports connectors,
// connectors/dialect, connectors/http and internal/egress.
package openapi
