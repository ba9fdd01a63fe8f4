// Package connectorstest holds a connector to the contract of package
// connectors. A connector's own test lists cases; Run checks on each what every
// connector has promised. Peer is the server at the other side. It is for tests
// only and imports connectors.
package connectorstest
