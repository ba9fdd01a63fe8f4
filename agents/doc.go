// Package agents runs agents: things that take an input, work on it for as long
// as they need, and give an output. To a flow an agent is one step; how its kind
// is reached and followed is decided here.
//
// The package knows nothing of runs, queues or databases: agents come to it
// already looked up. It imports connectors, whose requests, answers and errors
// it shares, and internal/egress.
package agents
