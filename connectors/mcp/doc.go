// Package mcp makes connectors of MCP servers: every tool is an action. What tools
// there are is asked once, when a server is registered, and again when it is
// refreshed. Each call is a session of its own, so nothing is kept between calls.
//
// Servers are reached over Streamable HTTP through internal/egress, and as programs
// on standard streams only where that is allowed. The package knows nothing of
// workspaces and databases. It imports connectors, connectors/dialect and
// internal/egress.
package mcp
