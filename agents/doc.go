// Package agents runs agents: things that take an input, work on it for as long
// as they need, and give an output. To a flow an agent is one step; how its kind
// is reached and followed is decided here. An agent of kind llm is a conversation
// with a model, whose tools are actions of connectors.
//
// The package knows nothing of how runs are moved, of queues or databases: agents
// come to it already looked up, and what has to outlive an attempt is kept by the
// Ledger that it is given. It imports connectors, whose requests, answers and errors
// it shares, models for what the ledger keeps, and internal/egress.
package agents
