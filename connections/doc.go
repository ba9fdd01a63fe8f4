// Package connections keeps the accounts that workspaces have at other sides: it
// judges what a connection may be, seals its secrets, opens them for those who act,
// tries them, and keeps tokens of OAuth 2.0 fresh.
//
// What is sealed is bound to the workspace, the connection and all of its config, which
// says where the secrets may go: whoever changes the one without knowing the other is
// left with something that does not open.
//
// It knows nothing of runs, steps and HTTP routes: whoever calls says which workspace
// it acts for. It may import models, store, connectors and the leaves below internal.
package connections
