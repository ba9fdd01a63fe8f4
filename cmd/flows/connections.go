package main

import (
	"context"

	"github.com/10ex/flows/connections"
)

func (a *app) openConnections(context.Context) error {
	ring, err := a.cfg.ring()
	if err != nil {
		return err
	}
	a.connections, err = connections.New(connections.Deps{
		Store: a.store, Connectors: a.catalogue, Seal: ring, Egress: a.egress, Clock: a.clock, Log: a.log,
	})
	return err
}
