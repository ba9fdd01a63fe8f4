package models

// Ids are typed, so one kind cannot be passed for another. They are written as a
// prefix, an underscore and 26 characters that sort by the time of their making.
type (
	// WorkspaceID names a workspace.
	WorkspaceID string
	// KeyID names an API key.
	KeyID string
	// WorkflowID names a workflow.
	WorkflowID string
	// RunID names a run.
	RunID string
	// TriggerID names a trigger.
	TriggerID string
	// EventID names an event.
	EventID string
	// AgentID names an agent; people use its slug.
	AgentID string
	// ConnectorID names a registered connector; people use its slug.
	ConnectorID string
	// DeliveryID names a delivery of a webhook.
	DeliveryID string
	// ConnectionID names a connection.
	ConnectionID string
)

// Prefixes of ids, as they stand in front of the underscore.
const (
	WorkspacePrefix  = "ws"
	KeyPrefix        = "key"
	WorkflowPrefix   = "wf"
	RunPrefix        = "run"
	TriggerPrefix    = "trg"
	EventPrefix      = "evt"
	AgentPrefix      = "agt"
	DeliveryPrefix   = "dlv"
	ConnectionPrefix = "conn"
	ConnectorPrefix  = "ctr"
)

// idChars is the length of an id after its prefix and underscore.
const idChars = 26

// ValidID tells whether id is well formed and carries prefix. An id that is not
// cannot name anything, so callers answer "not found" without a query.
func ValidID(prefix, id string) bool {
	if len(id) != len(prefix)+1+idChars || id[:len(prefix)] != prefix || id[len(prefix)] != '_' {
		return false
	}
	for _, c := range []byte(id[len(prefix)+1:]) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return true
}
