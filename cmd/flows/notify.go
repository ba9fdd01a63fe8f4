package main

import (
	"context"
	"encoding/json"

	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/broker"
)

// runsChannel carries notices between processes.
const runsChannel = "flows:runs"

// notifier tells the watchers of runs in this process at once, and those of the
// other processes over Redis.
type notifier struct {
	hub    *engine.Hub
	broker *broker.Broker
}

var _ engine.Notifier = notifier{}

// Notify returns at once.
func (n notifier) Notify(_ context.Context, notices []engine.Notice) {
	n.hub.Publish(notices)
	if n.broker.Embedded() {
		return // there are no other processes
	}
	message, err := json.Marshal(notices)
	if err != nil {
		return // ids and numbers always marshal
	}
	n.broker.Publish(runsChannel, message)
}

// listen passes on what other processes say, until ctx ends: one subscription,
// however many watch.
func (n notifier) listen(ctx context.Context) {
	n.broker.Subscribe(ctx, runsChannel, func(message []byte) {
		var notices []engine.Notice
		if json.Unmarshal(message, &notices) == nil {
			n.hub.Publish(notices)
		}
	})
}
