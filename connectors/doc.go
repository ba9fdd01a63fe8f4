// Package connectors holds the contract between a flow and the outside: what a
// connector tells about itself, how one of its actions is called, and how it
// says that an action failed. Each connector lives in a folder of its own and is
// listed by name where the program is wired together.
//
// The package knows nothing of runs, queues or databases: it is told the names
// of the run and step it works for and never looks them up. It imports none of
// our packages except internal/egress, whose refusals it puts into words.
package connectors
