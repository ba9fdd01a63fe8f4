package main

import (
	"encoding/json"
	"testing"
)

// accounts lists an account at least for every connector that takes one.
func (d *canaryDrive) accounts(t *testing.T) []account {
	t.Helper()
	below := func(_ *testing.T, mode string) map[string]any {
		return map[string]any{"base_url": d.peer.url + "/" + mode}
	}
	rest := func(name, connector, auth string, secret string, actions ...canaryUse) account {
		return account{
			name: name, connector: connector, config: map[string]any{"auth": json.RawMessage(auth)}, secrets: []string{secret},
			modes: modesOfHTTP(), at: below, actions: actions,
		}
	}
	request := canaryUse{"request", `{"method":"POST","url":"/again","body":{"x":1}}`}
	pages := canaryUse{"request", `{"method":"GET","url":"/pages","paginate":{"by":"link"}}`}
	get := canaryUse{"request", `{"method":"GET","url":"/x?y=1"}`}
	return []account{
		rest("http-bearer", "http", `{"type":"bearer"}`, "token", request, pages, get),
		rest("http-basic", "http", `{"type":"basic","username":"ann"}`, "password", request, get),
		rest("http-header", "http", `{"type":"header","name":"X-Api-Key","prefix":"Token "}`, "value", request, get),
		rest("http-query", "http", `{"type":"query","name":"key"}`, "value", request, pages, get),
		rest("http-10ex", "http", `{"type":"10ex"}`, "api_key", request),
	}
}
