package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/10ex/flows/bus"
	"github.com/10ex/flows/connections"
	"github.com/10ex/flows/internal/seal"
)

type encryptionCommand struct {
	Rotate encryptionRotateCommand `cmd:"" help:"Encrypt every stored secret with the first key of FLOWS_ENCRYPTION_KEY, so that the older ones behind it can go."`
}

type encryptionRotateCommand struct{}

// rotated is what became of one kind of secrets.
type rotated struct {
	Kind string `json:"kind"`
	seal.Renewed
}

// Run seals again what is sealed under older keys and prints counts. It may be stopped
// and begun again, and beside servers that run.
func (encryptionRotateCommand) Run(ctx context.Context, p *program) error {
	cfg, err := p.config()
	if err != nil {
		return err
	}
	if cfg.EncryptionKey == nil {
		return errNoEncryptionKey("encryption rotate")
	}
	ring, err := cfg.ring()
	if err != nil {
		return err
	}
	s, err := p.openStore(ctx, "encryption rotate")
	if err != nil {
		return err
	}
	defer s.Close()
	accounts, err := connections.Reseal(ctx, s, ring)
	if err != nil {
		return oldSchema(ctx, s, err)
	}
	if err := p.print(rotated{"connections", accounts}); err != nil {
		return err
	}
	triggers, err := bus.Reseal(ctx, s, ring)
	if err != nil {
		return oldSchema(ctx, s, err)
	}
	if err := p.print(rotated{"triggers", triggers}); err != nil {
		return err
	}
	if n := accounts.Unreadable + triggers.Unreadable; n > 0 {
		return fmt.Errorf("%d secrets open with none of the keys of FLOWS_ENCRYPTION_KEY: %w", n, errKeepKeys)
	}
	return nil
}

var errKeepKeys = errors.New("add the key they were encrypted with, or give them again")
