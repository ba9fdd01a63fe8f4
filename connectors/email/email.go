// Package email is the connector that sends mail through somebody's SMTP server. It
// decides what a message may say and when a password may be shown; which addresses may
// be reached is internal/egress's matter. It imports connectors and internal/egress.
package email

import (
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"net/mail"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/internal/egress"
)

// Config are the settings of a Connector.
type Config struct {
	// Roots are the authorities that a mail server's certificate may come from.
	// Default the system's.
	Roots *x509.CertPool
}

// Connector is the email connector.
type Connector struct {
	client *egress.Client
	cfg    Config
}

var _ connectors.Tester = (*Connector)(nil)

// New makes the connector; client opens its connections.
func New(client *egress.Client, cfg Config) *Connector { return &Connector{client: client, cfg: cfg} }

// Spec describes the connector.
func (*Connector) Spec() connectors.Spec {
	return connectors.Spec{
		Slug:        "email",
		Name:        "Email",
		Description: "Sends mail through an SMTP server.",
		Connection: &connectors.ConnectionSpec{
			Required: true,
			// none is for a relay that knows this host; oauth2 is said as XOAUTH2.
			Auth:   []connectors.AuthType{connectors.AuthBasic, connectors.AuthOAuth2, connectors.AuthNone},
			Config: json.RawMessage(configSchema),
		},
		Actions: []connectors.Action{{
			Name: "send",
			Description: "Sends one message to all its recipients or, where the server refuses one of them, to none. Mail servers cannot " +
				"tell a repeat; its Message-ID is the same over all attempts of the step.",
			Guarded: []string{"to", "cc", "bcc", "from", "reply_to"},
			Input:   json.RawMessage(inputSchema),
			Output:  json.RawMessage(outputSchema),
		}},
	}
}

const configSchema = `{
	"type": "object",
	"properties": {
		"host":     {"type": "string", "minLength": 1, "maxLength": 255, "description": "The SMTP server, such as smtp.example.com."},
		"port":     {"type": "integer", "minimum": 1, "maximum": 65535, "description": "587 unless given; 465 where security is tls."},
		"security": {"type": "string", "enum": ["starttls", "tls", "none"], "description": "starttls (the default) or tls from the beginning. none is for relays without credentials."},
		"from":     {"type": "string", "maxLength": 400, "description": "Who mail is from whose step does not say, such as Ada <ada@example.com>."},
		"reply_to": {"type": "string", "maxLength": 400, "description": "Where replies go unless the step says."}
	},
	"required": ["host"]
}`

const (
	schemaAddress   = `{"type": "string", "minLength": 3, "maxLength": 400}`
	schemaAddresses = `{"type": ["string", "array", "null"], "minLength": 3, "maxLength": 400, "maxItems": 100, "items": ` + schemaAddress + `, "description": "One address or a list of them. A text is one address, whatever is in it."}`
)

const inputSchema = `{
	"type": "object",
	"properties": {
		"to":          ` + schemaAddresses + `,
		"cc":          ` + schemaAddresses + `,
		"bcc":         ` + schemaAddresses + `,
		"from":        {"type": "string", "minLength": 3, "maxLength": 400, "description": "Such as Ada <ada@example.com>. Default: the connection's."},
		"reply_to":    {"type": "string", "minLength": 3, "maxLength": 400},
		"subject":     {"type": "string", "minLength": 1, "maxLength": 900, "pattern": "^[^\\r\\n]*$"},
		"text":        {"type": "string", "maxLength": 1000000, "description": "What readers without HTML see, and all that is sent where html is not given."},
		"html":        {"type": "string", "maxLength": 1000000},
		"in_reply_to": {"type": "string", "maxLength": 500, "pattern": "^<[!-;=?-~]+@[!-;=?-~]+>$", "description": "The message_id of the message that this one answers."}
	},
	"required": ["to", "subject"],
	"additionalProperties": false
}`

const outputSchema = `{
	"type": "object",
	"properties": {
		"message_id": {"type": "string", "description": "What names the message: the in_reply_to of the next one."},
		"accepted":   {"type": "array", "items": {"type": "string"}, "description": "The addresses it was sent to."},
		"response":   {"type": "string", "description": "What the server said last."}
	},
	"required": ["message_id", "accepted", "response"],
	"additionalProperties": false
}`

// server is where mail goes.
type server struct {
	Host     string `json:"host"`
	Port     int    `json:"port"`
	Security string `json:"security"`
	From     string `json:"from"`
	ReplyTo  string `json:"reply_to"`
}

// Words of server.Security.
const (
	startTLS = "starttls"
	fromTLS  = "tls"
	noTLS    = "none"
)

func serverOf(c *connectors.Connection) (server, error) {
	if c == nil {
		return server{}, connectors.Permanent(connectors.CodeNoConnection, "mail is sent through a connection: name one in the step")
	}
	var s server
	if json.Unmarshal(c.Config, &s) != nil || s.Host == "" {
		return server{}, invalid("the connection names no host")
	}
	s.Security = cmp.Or(s.Security, startTLS)
	switch s.Security {
	case startTLS, noTLS:
		s.Port = cmp.Or(s.Port, 587)
	case fromTLS:
		s.Port = cmp.Or(s.Port, 465)
	default:
		return server{}, invalid("the security of the connection is unknown")
	}
	switch {
	case c.Auth.Type == connectors.AuthNone:
	case s.Security == noTLS:
		return server{}, invalid("credentials are shown over TLS alone: the connection says security none")
	case c.Secrets[c.Auth.Secret()] == "":
		return server{}, connectors.Permanent(connectors.CodeNotConnected, "the connection has no %s yet", c.Auth.Secret())
	}
	return s, nil
}

// Do performs one action.
func (c *Connector) Do(ctx context.Context, r connectors.Request) (connectors.Response, error) {
	if r.Action != "send" {
		return connectors.Response{}, connectors.Permanent(connectors.CodeUnknownAction, "connector %q has no action %q", "email", r.Action)
	}
	to, err := serverOf(r.Connection)
	if err != nil {
		return connectors.Response{}, err
	}
	msg, err := compose(r, to)
	if err != nil {
		return connectors.Response{}, err
	}
	if err := ctx.Err(); err != nil {
		return connectors.Response{}, connectors.NetworkError(ctx, err)
	}
	talk, err := c.dial(ctx, r.Connection, to, msg.from)
	if err != nil {
		return connectors.Response{}, err
	}
	defer talk.close()
	// Only what follows is an effect: until here nothing but a greeting was exchanged.
	if err := r.Begin(ctx); err != nil {
		return connectors.Response{}, err
	}
	said, err := talk.send(msg)
	if err != nil {
		return connectors.Response{}, err
	}
	out, err := json.Marshal(map[string]any{"message_id": msg.id, "accepted": msg.recipients, "response": said})
	return connectors.Response{Output: out}, err
}

// TestConnection greets the server and signs in.
func (c *Connector) TestConnection(ctx context.Context, conn *connectors.Connection) error {
	to, err := serverOf(conn)
	if err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return connectors.NetworkError(ctx, err)
	}
	from := &mail.Address{Address: "flows@" + to.Host}
	if to.From != "" {
		if from, err = address("the from of the connection", to.From); err != nil {
			return err
		}
	}
	talk, err := c.dial(ctx, conn, to, from)
	if err != nil {
		return err
	}
	talk.close()
	return nil
}

func invalid(format string, args ...any) error {
	return connectors.Permanent(connectors.CodeInputInvalid, format, args...)
}
