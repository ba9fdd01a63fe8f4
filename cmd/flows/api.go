package main

import (
	"crypto/hkdf"
	"crypto/sha256"
	"fmt"

	"github.com/10ex/flows/api"
	"github.com/10ex/flows/api/mcp"
)

// openAPI makes the API and the pages behind its login.
func (a *app) openAPI() error {
	session, err := sessionKey(a.cfg.EncryptionKey)
	if err != nil {
		return err
	}
	a.monitoring = newMonitoring(a.broker, a.cfg.Monitoring)
	served, err := api.New(api.Deps{
		Store: a.store, Engine: a.apiEngine(), Tracer: a.tracer, Bus: a.bus, Hub: a.hub, Deltas: a.deltas, Connectors: a.catalogue, Registered: a.registered, Agents: a.agents, Connections: a.connections,
		Redis: a.broker.Client(), Clock: a.clock, Log: a.log, Metrics: a.metrics, Monitoring: a.monitoring,
		Version: version, Commit: commit(),
	}, api.Config{
		RateLimit: a.cfg.RateLimit, MaxBody: a.cfg.MaxBody, MaxOutput: a.cfg.MaxOutput, TrustedProxies: a.cfg.Proxies, SessionKey: session, PublicURL: a.cfg.PublicURL,
	})
	if err != nil {
		return err
	}
	door, err := mcp.New(served, version)
	if err != nil {
		return err
	}
	served.Open(mcp.Path, door)
	a.server = served
	return nil
}

// sessionKey makes the key that logins are signed with from the one that all
// processes of an installation share, so that a login holds in each of them.
// Without one it holds in the process it was made in.
func sessionKey(encryption []byte) ([]byte, error) {
	if encryption == nil {
		return nil, nil
	}
	key, err := hkdf.Key(sha256.New, encryption, nil, "flows session", 32)
	if err != nil {
		return nil, fmt.Errorf("session key: %w", err)
	}
	return key, nil
}
