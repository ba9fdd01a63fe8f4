package connections

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/internal/egress"
	"github.com/10ex/flows/models"
)

const (
	maxConfig = 64 << 10
	// leastSecret is the length from which a secret can be found in what comes back:
	// everything is full of shorter ones.
	leastSecret = 4
	maxSecret   = 16 << 10
)

// settings is a config that was found good, with all that it leaves to the connector
// filled in.
type settings struct {
	auth    connectors.Auth
	baseURL string
	hosts   []string
	config  json.RawMessage // what is kept
}

// common is what the config of every connection may say. What of auth goes with which
// type is told apart below.
var common = connectors.MustCompileSchema(`{
	"type": "object",
	"properties": {
		"auth": {
			"type": "object",
			"required": ["type"],
			"additionalProperties": false,
			"properties": {
				"type":              {"type": "string"},
				"name":              {"type": "string", "minLength": 1, "maxLength": 200},
				"prefix":            {"type": "string", "maxLength": 200},
				"username":          {"type": "string", "minLength": 1, "maxLength": 1000},
				"grant":             {"enum": ["authorization_code", "client_credentials"]},
				"authorization_url": {"type": "string", "minLength": 1, "maxLength": 2048},
				"token_url":         {"type": "string", "minLength": 1, "maxLength": 2048},
				"client_id":         {"type": "string", "minLength": 1, "maxLength": 1000},
				"client_auth":       {"enum": ["body", "header"]},
				"scopes":            {"type": "array", "maxItems": 100, "items": {"type": "string", "minLength": 1, "maxLength": 1000, "pattern": "^[!-~]+$"}},
				"params":            {"type": "object", "maxProperties": 20, "additionalProperties": {"type": "string", "maxLength": 2000}}
			}
		},
		"limits": {
			"type": "object",
			"additionalProperties": false,
			"properties": {
				"count":       {"type": "integer", "minimum": 1, "maximum": 1000000},
				"per":         {"type": "string", "minLength": 1, "maxLength": 20},
				"concurrency": {"type": "integer", "minimum": 1, "maximum": 10000}
			},
			"dependentRequired": {"count": ["per"], "per": ["count"]}
		},
		"base_url": {"type": "string", "minLength": 1, "maxLength": 2048},
		"hosts":    {"type": "array", "minItems": 1, "maxItems": 50, "items": {"type": "string", "minLength": 1, "maxLength": 260}}
	}
}`)

// faults gathers what is wrong with a config.
type faults struct{ found []models.FieldError }

func (f *faults) add(typ, msg string, loc ...any) {
	f.found = append(f.found, models.FieldError{Loc: loc, Msg: msg, Type: typ})
}

// violated takes over what a schema has found, with numbers for places in lists.
func (f *faults) violated(found []connectors.Violation, at ...any) {
	for _, v := range found {
		loc := slices.Clone(at)
		for _, name := range v.Path {
			if n, err := strconv.Atoi(name); err == nil {
				loc = append(loc, n)
				continue
			}
			loc = append(loc, name)
		}
		f.add(typeOf(v), v.Message, loc...)
	}
}

func typeOf(v connectors.Violation) string {
	switch v.Message {
	case "is required":
		return "missing"
	case "is not a known field":
		return "unknown_field"
	}
	return "invalid"
}

// resolve judges a config and fills in what it leaves out.
func resolve(spec *connectors.ConnectionSpec, raw json.RawMessage) (settings, []models.FieldError) {
	var f faults
	if len(raw) > maxConfig {
		f.add("limit", fmt.Sprintf("must have at most %d bytes", maxConfig), "config")
		return settings{}, f.found
	}
	fields := map[string]json.RawMessage{}
	if len(raw) > 0 && !bytes.Equal(raw, []byte("null")) {
		if err := json.Unmarshal(raw, &fields); err != nil {
			f.add("type", "must be object", "config")
			return settings{}, f.found
		}
	}
	maps.DeleteFunc(fields, func(_ string, v json.RawMessage) bool { return bytes.Equal(v, []byte("null")) })
	shared, own := map[string]json.RawMessage{}, map[string]json.RawMessage{}
	for name, v := range fields {
		if name == "auth" || name == "base_url" || name == "hosts" || name == limitsField {
			shared[name] = v
			continue
		}
		own[name] = v
	}
	f.violated(common.Check(encode(shared)), "config")
	f.own(spec, own)
	if len(f.found) > 0 {
		return settings{}, f.found
	}
	var out settings
	var written struct {
		Auth    *connectors.Auth `json:"auth"`
		BaseURL string           `json:"base_url"`
		Hosts   []string         `json:"hosts"`
		Limits  *usage           `json:"limits"`
	}
	if err := json.Unmarshal(encode(shared), &written); err != nil {
		f.add("invalid", "cannot be read", "config")
		return out, f.found
	}
	out.auth = f.auth(spec, written.Auth)
	out.baseURL = f.baseURL(spec, written.BaseURL)
	if len(written.Hosts) == 0 && out.baseURL == "" {
		written.Hosts = hostOf(own[spec.Address])
	}
	out.hosts = f.hosts(spec, out, written.Hosts)
	if written.Limits != nil {
		if _, err := written.Limits.limits(); err != nil {
			f.add("pattern", err.Error(), "config", limitsField, "per")
		}
		own[limitsField] = shared[limitsField]
	}
	if len(f.found) > 0 {
		return settings{}, f.found
	}
	own["auth"] = encode(out.auth)
	if out.baseURL != "" {
		own["base_url"] = encode(out.baseURL)
	}
	if len(out.hosts) > 0 {
		own["hosts"] = encode(out.hosts)
	}
	config, err := canonical(encode(own))
	if err != nil {
		f.add("invalid", "cannot be read", "config")
	}
	out.config = config
	return out, f.found
}

// own judges what only this connector knows.
func (f *faults) own(spec *connectors.ConnectionSpec, own map[string]json.RawMessage) {
	var known struct {
		Properties map[string]json.RawMessage `json:"properties"`
	}
	if len(spec.Config) > 0 {
		schema, err := connectors.CompileSchema(spec.Config)
		if err != nil {
			f.add("invalid", "the connector does not say what it takes", "config")
			return
		}
		f.violated(schema.Check(encode(own)), "config")
		if len(f.found) > 0 {
			return
		}
		_ = json.Unmarshal(spec.Config, &known) // it has compiled
	}
	for _, name := range slices.Sorted(maps.Keys(own)) {
		if _, ok := known.Properties[name]; !ok {
			f.add("unknown_field", "is not a known field", "config", name)
		}
	}
}

const (
	grantCode   = "authorization_code"
	grantClient = "client_credentials"
)

// partsOf says which fields of auth go with which type.
var partsOf = map[connectors.AuthType][]string{
	connectors.AuthBasic:  {"username"},
	connectors.AuthHeader: {"name", "prefix"},
	connectors.AuthQuery:  {"name"},
	connectors.AuthOAuth2: {"username", "grant", "authorization_url", "token_url", "client_id", "client_auth", "scopes", "params"},
}

func (f *faults) auth(spec *connectors.ConnectionSpec, written *connectors.Auth) connectors.Auth {
	a := connectors.Auth{Type: spec.Auth[0]}
	if written != nil {
		a = *written
	}
	if a.Name == "" {
		a.Name = spec.Names[a.Type]
	}
	if !slices.Contains(spec.Auth, a.Type) {
		f.add("enum", "must be one of "+words(spec.Auth), "config", "auth", "type")
		return a
	}
	parts := map[string]json.RawMessage{}
	if err := json.Unmarshal(encode(a), &parts); err != nil {
		f.add("invalid", "cannot be read", "config", "auth")
		return a
	}
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		if name != "type" && !slices.Contains(partsOf[a.Type], name) {
			f.add("invalid", fmt.Sprintf("does not go with auth of type %s", a.Type), "config", "auth", name)
		}
	}
	switch a.Type {
	case connectors.AuthBasic:
		f.need(a.Username, "username")
		if strings.ContainsFunc(a.Username, isControl) || strings.Contains(a.Username, ":") {
			f.add("pattern", "must hold neither a colon nor control characters", "config", "auth", "username")
		}
	case connectors.AuthHeader:
		f.need(a.Name, "name")
		if _, err := egress.Headers(map[string]string{a.Name: a.Prefix}); a.Name != "" && err != nil {
			f.add("pattern", "cannot be sent: "+err.Error(), "config", "auth", "name")
		}
		if egress.Travels(a.Name) {
			f.add("pattern", "follows redirects to other hosts, so it may hold no secret", "config", "auth", "name")
		}
	case connectors.AuthQuery:
		f.need(a.Name, "name")
	case connectors.AuthOAuth2:
		f.oauth(spec, &a)
	case connectors.AuthNone, connectors.AuthBearer, connectors.AuthTenex:
	}
	return a
}

func (f *faults) need(value, name string) {
	if value == "" {
		f.add("missing", "is required", "config", "auth", name)
	}
}

// oauth judges what OAuth 2.0 needs, with what the connector knows filled in.
func (f *faults) oauth(spec *connectors.ConnectionSpec, a *connectors.Auth) {
	if d := spec.OAuth; d != nil {
		for to, from := range map[*string]string{
			&a.Grant: d.Grant, &a.AuthorizationURL: d.AuthorizationURL, &a.TokenURL: d.TokenURL, &a.ClientAuth: d.ClientAuth,
		} {
			if *to == "" {
				*to = from
			}
		}
		if a.Scopes == nil {
			a.Scopes = d.Scopes
		}
		if a.Params == nil {
			a.Params = d.Params
		}
	}
	if a.Grant == "" {
		a.Grant = grantCode
	}
	f.need(a.ClientID, "client_id")
	f.endpoint(a.TokenURL, "token_url")
	switch a.Grant {
	case grantCode:
		f.endpoint(a.AuthorizationURL, "authorization_url")
	case grantClient:
		if a.AuthorizationURL != "" && (spec.OAuth == nil || a.AuthorizationURL != spec.OAuth.AuthorizationURL) {
			f.add("invalid", "does not go with client_credentials", "config", "auth", "authorization_url")
		}
		a.AuthorizationURL = ""
	}
	for _, name := range slices.Sorted(maps.Keys(a.Params)) {
		if slices.Contains(ownParams, name) {
			f.add("invalid", "is set by the flow of OAuth itself", "config", "auth", "params", name)
		}
	}
}

// ownParams are parameters that nobody else may set.
var ownParams = []string{
	"client_id", "client_secret", "code", "code_challenge", "code_challenge_method", "code_verifier", "grant_type",
	"redirect_uri", "refresh_token", "response_mode", "response_type", "scope", "state",
}

func (f *faults) endpoint(value, name string) {
	if value == "" {
		f.need(value, name)
		return
	}
	if u, err := egress.ParseURL(value); err != nil {
		f.add("pattern", err.Error(), "config", "auth", name)
	} else if u.Fragment != "" {
		f.add("pattern", "must have no #", "config", "auth", name)
	}
}

func (f *faults) baseURL(spec *connectors.ConnectionSpec, written string) string {
	if written == "" {
		return spec.BaseURL
	}
	u, err := egress.ParseURL(written)
	switch {
	case err != nil:
		f.add("pattern", err.Error(), "config", "base_url")
		return ""
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		f.add("pattern", "must have neither ? nor #", "config", "base_url")
	}
	return strings.TrimRight(u.String(), "/")
}

// hosts tells which hosts may hear the secrets.
func (f *faults) hosts(spec *connectors.ConnectionSpec, out settings, written []string) []string {
	hosts := make([]string, 0, len(written))
	for i, h := range written {
		h = strings.ToLower(h)
		if problem := connectors.HostFault(h); problem != "" {
			f.add("pattern", problem, "config", "hosts", i)
			continue
		}
		if len(spec.Hosts) > 0 && !slices.ContainsFunc(spec.Hosts, func(pin string) bool { return covers(pin, h) }) {
			f.add("invalid", "the connector is bound to "+strings.Join(spec.Hosts, ", "), "config", "hosts", i)
			continue
		}
		if !slices.Contains(hosts, h) {
			hosts = append(hosts, h)
		}
	}
	base, err := url.Parse(out.baseURL)
	if out.baseURL == "" || err != nil {
		base = nil
	}
	switch {
	case len(f.found) > 0:
		return nil
	case len(written) > 0:
	case len(spec.Hosts) > 0:
		hosts = slices.Clone(spec.Hosts)
	case base != nil:
		hosts = append(hosts, strings.ToLower(base.Host))
	case spec.NeedsHosts && out.auth.Type != connectors.AuthNone:
		f.add("missing", "is required, or a base_url: the secrets go to these hosts only", "config", "hosts")
	}
	if base != nil && !slices.ContainsFunc(hosts, func(h string) bool { return connectors.MatchesHost(h, base) }) {
		f.add("invalid", "is at a host that the connection is not bound to: "+strings.Join(hosts, ", "), "config", "base_url")
	}
	return hosts
}

// covers tells whether all that host means is also meant by pin.
func covers(pin, host string) bool {
	pin = strings.ToLower(pin)
	if pin == host {
		return true
	}
	name, port := splitHost(host)
	pinName, pinPort := splitHost(pin)
	if port != pinPort {
		return false
	}
	below, wild := strings.CutPrefix(pinName, "*")
	if !wild {
		return pinName == name
	}
	return strings.HasSuffix(strings.TrimPrefix(name, "*"), below) && name != pinName[2:]
}

// hostOf is the host of an address in a config, if it is one.
func hostOf(raw json.RawMessage) []string {
	var address string
	if json.Unmarshal(raw, &address) != nil {
		return nil
	}
	u, err := egress.ParseURL(address)
	if err != nil {
		return nil
	}
	return []string{strings.ToLower(u.Host)}
}

func splitHost(h string) (name, port string) {
	if n, p, err := net.SplitHostPort(h); err == nil {
		return n, p
	}
	return h, ""
}

// takes tells which secrets a connection of these settings has, and whether it must.
func (w settings) takes(spec *connectors.ConnectionSpec) map[string]bool {
	out := map[string]bool{}
	for name := range spec.Secrets {
		out[name] = false
	}
	switch w.auth.Type {
	case connectors.AuthBearer, connectors.AuthHeader, connectors.AuthQuery, connectors.AuthTenex:
		out[w.auth.Secret()] = true
	case connectors.AuthBasic:
		out[connectors.SecretPassword] = false // some use the name alone
	case connectors.AuthOAuth2:
		out[connectors.SecretClientSecret] = w.auth.Grant == grantClient // who cannot keep one has PKCE
	case connectors.AuthNone:
	}
	return out
}

// checkSecrets judges the secrets of a connection.
func (w settings) checkSecrets(spec *connectors.ConnectionSpec, secrets map[string]string) []models.FieldError {
	var f faults
	takes := w.takes(spec)
	for _, name := range slices.Sorted(maps.Keys(takes)) {
		if _, ok := secrets[name]; !ok && takes[name] {
			f.add("missing", "is required", "secrets", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(secrets)) {
		value := secrets[name]
		_, known := takes[name]
		_, further := spec.Secrets[name]
		switch {
		case !known:
			f.add("unknown_field", fmt.Sprintf("is not a secret of auth of type %s", w.auth.Type), "secrets", name)
		case len(value) < leastSecret:
			f.add("limit", fmt.Sprintf("must have at least %d characters", leastSecret), "secrets", name)
		case len(value) > maxSecret:
			f.add("limit", fmt.Sprintf("must have at most %d characters", maxSecret), "secrets", name)
		case !further && strings.ContainsFunc(value, isControl):
			f.add("pattern", "must hold no line breaks or other control characters", "secrets", name)
		case strings.TrimSpace(value) != value:
			f.add("pattern", "must not begin or end with white space", "secrets", name)
		}
	}
	return f.found
}

// secretsAgain names the secrets that have to be given again with another config.
func (w settings) secretsAgain(spec *connectors.ConnectionSpec, have []string) []models.FieldError {
	var f faults
	takes := w.takes(spec)
	for _, name := range slices.Sorted(maps.Keys(takes)) {
		if takes[name] || slices.Contains(have, name) {
			f.add("missing", "must be given again, because config says where it goes", "secrets", name)
		}
	}
	return f.found
}

func isControl(r rune) bool { return r < ' ' || r == 0x7f }

func words(types []connectors.AuthType) string {
	out := make([]string, len(types))
	for i, t := range types {
		out[i] = string(t)
	}
	return strings.Join(out, ", ")
}

// encode writes what always can be written: texts, and JSON that was read before.
func encode(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic("connections: " + err.Error())
	}
	return b
}
