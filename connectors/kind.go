package connectors

import (
	"context"
	"encoding/json"
	"fmt"
)

// Kind is a way to make connectors of what a workspace gives: a document, or the
// address of a server. It must be safe for concurrent use.
type Kind interface {
	// Compile reads what is given and makes what is kept of it. An error is a
	// *RegistrationError, or an *Error where something outside failed.
	Compile(ctx context.Context, r Registration) (Compiled, error)
	// Open makes a connector of what was kept.
	Open(stored Stored) (Registered, error)
}

// Registration is what a workspace gives to register a connector.
type Registration struct {
	Slug string
	// Config is what the kind wants to know, as the fields of an object, none of which
	// is a secret.
	Config json.RawMessage
	// Document is the description itself, where it is given; empty otherwise.
	Document []byte
	// Connection is used to ask for the description; nil for none.
	Connection *Connection
}

// Compiled is what is kept of a registration.
type Compiled struct {
	Name, Description string // as the other side has them; may be empty
	Actions           int
	Data              []byte // for Open
}

// Stored is a registered connector as it is kept.
type Stored struct {
	Slug, Name, Description string
	// Kind is the slug of the kind, and Account the id of the connection that is used
	// where a step names none; it may be empty.
	Kind, Account string
	Config        json.RawMessage
	Data          []byte
}

// RegistrationError says what is wrong with a registration.
type RegistrationError struct {
	Field   string // of the registration; of document, if it is empty
	Message string
}

func (e *RegistrationError) Error() string { return e.Message }

// Refuse makes a *RegistrationError.
func Refuse(field, format string, args ...any) error {
	return &RegistrationError{Field: field, Message: fmt.Sprintf(format, args...)}
}

// Bounds of what is registered.
const (
	// MaxDocument is the size of a description.
	MaxDocument = 16 << 20
	// MaxActions is how many actions a connector may have.
	MaxActions = 2000
	// MaxSchema is how large the schema of an action may be, with all it refers to.
	// What lies deeper allows everything.
	MaxSchema = 48 << 10
)
