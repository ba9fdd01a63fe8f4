package main

import (
	"encoding/json"
	"testing"
)

// accounts lists an account at least for every connector that acts through one.
func (d *canaryDrive) accounts(t *testing.T) []account {
	t.Helper()
	below := func(_ *testing.T, mode string) map[string]any {
		return map[string]any{"base_url": d.peer.url + "/" + mode}
	}
	rest := func(name, connector, auth string, secret string, actions ...canaryUse) account {
		return account{
			name: name, connector: connector, config: map[string]any{"auth": json.RawMessage(auth)}, secrets: []string{secret},
			modes: d.modes(name), at: below, actions: actions,
		}
	}
	request := canaryUse{"request", `{"method":"POST","url":"/again","body":{"x":1}}`}
	pages := canaryUse{"request", `{"method":"GET","url":"/pages","paginate":{"by":"link"}}`}
	get := canaryUse{"request", `{"method":"GET","url":"/x?y=1"}`}
	mcp := func(name, path string) account {
		return account{
			name: name, connector: "mcp", config: map[string]any{"auth": json.RawMessage(`{"type":"bearer"}`)}, secrets: []string{"token"}, modes: d.modes(name),
			at: func(_ *testing.T, mode string) map[string]any {
				return map[string]any{"url": d.peer.url + "/" + mode + path}
			},
			actions: []canaryUse{
				{"call_tool", `{"tool":"echo","arguments":{}}`}, {"call_tool", `{"tool":"fail","arguments":{}}`},
				{"call_tool", `{"tool":"break","arguments":{}}`}, {"list_tools", `{}`},
			},
		}
	}
	chat := canaryUse{"chat", `{"model":"small","prompt":"hello"}`}
	modelList := canaryUse{"list_models", `{}`}
	operations := []canaryUse{{"call", `{"operation":"echo","parameters":{},"body":{"x":1}}`}, {"list_operations", `{}`}}
	all := []account{
		rest("http-bearer", "http", `{"type":"bearer"}`, "token", request, pages, get),
		rest("http-basic", "http", `{"type":"basic","username":"ann"}`, "password", request, get),
		rest("http-header", "http", `{"type":"header","name":"X-Api-Key","prefix":"Token "}`, "value", request, get),
		rest("http-query", "http", `{"type":"query","name":"key"}`, "value", request, pages, get),
		rest("http-10ex", "http", `{"type":"10ex"}`, "api_key", request),
		rest("tenex", "tenex", `{"type":"10ex"}`, "api_key",
			canaryUse{"crm.create_lead", `{"email":"ann@x.example"}`}, canaryUse{"crm.find_leads", `{}`}, canaryUse{"sequences.add_lead", `{"lead_id":"l1","sequence_id":"q"}`}),
		rest("slack", "slack", `{"type":"bearer"}`, "token",
			canaryUse{"post_message", `{"text":"hi","channel":"#deals"}`}, canaryUse{"lookup_user_by_email", `{"email":"ann@x.example"}`}),
		rest("hubspot", "hubspot", `{"type":"bearer"}`, "token",
			canaryUse{"create_contact", `{"properties":{"email":"ann@x.example"}}`}, canaryUse{"get_contact", `{"id":"51"}`}, canaryUse{"search_contacts", `{"query":"ann"}`}),
		rest("google_sheets", "google_sheets", `{"type":"bearer"}`, "token",
			canaryUse{"read_range", `{"spreadsheet_id":"s1","range":"Leads"}`}, canaryUse{"append_row", `{"spreadsheet_id":"s1","range":"Leads","row":{"Email":"ann@x.example"}}`},
			canaryUse{"clear_range", `{"spreadsheet_id":"s1","range":"Leads"}`}),
		rest("openai", "openai", `{"type":"bearer"}`, "token", chat, modelList),
		rest("anthropic", "anthropic", `{"type":"bearer"}`, "token", chat, modelList),
		{
			name: "oauth", connector: "http", secrets: []string{"client_secret"}, modes: d.modes("oauth"), actions: []canaryUse{request, get},
			at: func(_ *testing.T, mode string) map[string]any {
				return map[string]any{"base_url": d.peer.url + "/" + mode, "auth": map[string]any{
					"type": "oauth2", "grant": "client_credentials", "client_id": "oauth", "token_url": d.peer.url + "/" + mode + "/token",
				}}
			},
		},
		{
			name: "oauth-good", connector: "http", secrets: []string{"client_secret"}, modes: d.modes("oauth-good"), actions: []canaryUse{request, get},
			at: func(_ *testing.T, mode string) map[string]any {
				return map[string]any{"base_url": d.peer.url + "/" + mode, "auth": map[string]any{
					"type": "oauth2", "grant": "client_credentials", "client_id": "oauth-good", "token_url": d.peer.url + "/ok/token",
				}}
			},
		},
		{
			name: "document", connector: "openapi", config: map[string]any{"auth": json.RawMessage(`{"type":"bearer"}`)}, secrets: []string{"token"},
			modes: d.modes("document"), actions: operations,
			at: func(_ *testing.T, mode string) map[string]any {
				return map[string]any{"document_url": d.peer.url + "/" + mode + "/openapi.json"}
			},
		},
		{
			name: "operation", connector: "openapi", config: map[string]any{"auth": json.RawMessage(`{"type":"header","name":"X-Api-Key"}`)}, secrets: []string{"value"},
			modes: d.modes("operation"), actions: operations,
			at: func(_ *testing.T, mode string) map[string]any {
				return map[string]any{"document_url": d.peer.url + "/ok/openapi.json", "base_url": d.peer.url + "/" + mode}
			},
		},
		mcp("mcp", "/mcp"), mcp("mcp-stream", "/mcp-stream"),
	}
	if !d.trusted {
		return all
	}
	return append(all, account{
		name: "email", connector: "email", secrets: []string{"password"}, modes: modesOfMail,
		config: map[string]any{"auth": json.RawMessage(`{"type":"basic","username":"ann"}`), "host": "127.0.0.1", "from": "Ann <ann@x.example>"},
		at: func(t *testing.T, mode string) map[string]any {
			t.Helper()
			return map[string]any{"port": d.mail.serve(t, mode)}
		},
		actions: []canaryUse{{"send", `{"to":"bo@x.example","subject":"Hi","text":"Hello"}`}},
	})
}
