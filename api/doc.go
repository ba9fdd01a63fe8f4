// Package api is the product's HTTP side: it reads a request, checks who asks and
// whether they may, calls the engine or reads the store, and writes the answer.
//
// routes.go is the one table of operations, errors.go the one map from errors to
// answers. Operations are functions of a context and a request; they know nothing
// of Fiber, whose values are reused once a handler has returned. What every
// request goes through on its way to an operation is in chain.go.
//
// The package decides nothing about runs and delivers no task. It may import
// engine, store, models, connectors, agents, web and leaves of internal.
package api
