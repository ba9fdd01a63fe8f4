// Package egress is the one way out: every HTTP request the product sends to an
// address somebody else chose goes through its Client, and every other connection
// is opened by it.
//
// The Client decides which addresses may be reached, how far redirects are
// followed, what they may carry along, and how much of an answer is read. The
// address is judged when the socket is opened, on what the name resolved to, so
// a name that resolves differently the second time gains nothing.
//
// The package knows nothing of flows, connectors or secrets, and imports none
// of our packages.
package egress
