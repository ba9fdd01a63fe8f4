package main

import (
	"github.com/hibiken/asynqmon"

	"github.com/10ex/flows/internal/broker"
)

// monitoringPath is where the queue's pages are.
const monitoringPath = "/monitoring"

// newMonitoring makes the queue's pages. What they can change is only what is
// delivered, never a run; still they may only look, unless a setting says otherwise.
// Payloads hold ids and nothing else, so they are shown as they are. Whoever
// mounts it has to ask for a login before.
func newMonitoring(b *broker.Broker, write bool) *asynqmon.HTTPHandler {
	return asynqmon.New(asynqmon.Options{RootPath: monitoringPath, RedisConnOpt: b, ReadOnly: !write})
}
