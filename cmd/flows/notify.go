package main

import (
	"context"
	"encoding/json"

	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/broker"
	"github.com/10ex/flows/internal/deltas"
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

// deltasChannel carries what models say between processes.
const deltasChannel = "flows:deltas"

// deltaNotifier passes on what models say to those who follow their runs, in this
// process and, over Redis, in others. Some of it may be lost.
type deltaNotifier struct {
	hub    *deltas.Hub
	broker *broker.Broker
}

// tell returns at once.
func (n deltaNotifier) tell(_ context.Context, d deltas.Delta) {
	n.hub.Publish(d)
	if n.broker.Embedded() {
		return
	}
	message, err := json.Marshal(d)
	if err != nil {
		return // text always marshals
	}
	n.broker.Publish(deltasChannel, message)
}

// listen passes on what other processes tell, until ctx ends.
func (n deltaNotifier) listen(ctx context.Context) {
	n.broker.Subscribe(ctx, deltasChannel, func(message []byte) {
		var d deltas.Delta
		if json.Unmarshal(message, &d) == nil {
			n.hub.Publish(d)
		}
	})
}
