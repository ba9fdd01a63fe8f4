package api

import "github.com/10ex/flows/models"

const (
	base      = "/api/v1/flows"
	adminBase = "/api/v1/admin"
)

// routes is the table of operations: every one there is, and what it takes to
// reach it.
func (a *API) routes() []route {
	const (
		get, post, put, patch, del = "GET", "POST", "PUT", "PATCH", "DELETE"

		flowsRead        = models.ScopeFlowsRead
		flowsWrite       = models.ScopeFlowsWrite
		runsRead         = models.ScopeRunsRead
		runsWrite        = models.ScopeRunsWrite
		eventsWrite      = models.ScopeEventsWrite
		connectionsWrite = models.ScopeConnectionsWrite
		admin            = models.ScopeAdmin
	)
	return []route{
		{get, base + "/whoami", "", 0, "whoami", "Tell whose key this is", bind(a.whoami)},

		{post, base + "/workflows", flowsWrite, acts | created, "create-workflow", "Create a workflow", bind(a.createWorkflow)},
		{get, base + "/workflows", flowsRead, 0, "list-workflows", "List workflows", bind(a.listWorkflows)},
		{post, base + "/workflows/validate", flowsRead, 0, "validate-workflow", "Check a graph without saving it", bind(a.validateWorkflow)},
		{post, base + "/workflows/import", flowsWrite, acts | created, "import-workflow", "Create a workflow from an exported document", bind(a.importWorkflow)},
		{get, base + "/workflows/{id}", flowsRead, conditional, "get-workflow", "Get a workflow", bind(a.getWorkflow)},
		{patch, base + "/workflows/{id}", flowsWrite, conditional, "update-workflow", "Change a workflow's name, description, status or tags", bind(a.patchWorkflow)},
		{del, base + "/workflows/{id}", flowsWrite, conditional, "delete-workflow", "Archive a workflow", bind(a.deleteWorkflow)},
		{put, base + "/workflows/{id}/graph", flowsWrite, conditional, "put-graph", "Save the next version of a workflow and make it current", bind(a.putGraph)},
		{get, base + "/workflows/{id}/export", flowsRead, 0, "export-workflow", "Export a workflow as one document", bind(a.exportWorkflow)},
		{get, base + "/workflows/{id}/versions", flowsRead, 0, "list-versions", "List the versions of a workflow", bind(a.listVersions)},
		{get, base + "/workflows/{id}/versions/{n}", flowsRead, 0, "get-version", "Get a version of a workflow", bind(a.getVersion)},
		{post, base + "/workflows/{id}/versions/{n}/activate", flowsWrite, acts | conditional, "activate-version", "Make a version the current one again", bind(a.activateVersion)},
		{post, base + "/workflows/{id}/versions/{n}/archive", flowsWrite, acts, "archive-version", "Take a version out of use", bind(a.archiveVersion)},

		{post, base + "/workflows/{id}/trigger", runsWrite, acts | accepted | follows, "trigger-workflow", "Start a run", bind(a.triggerWorkflow)},
		{post, base + "/workflows/{id}/trigger/batch", runsWrite, acts | accepted, "trigger-batch", "Start up to 500 runs", bind(a.triggerBatch)},
		{get, base + "/runs", runsRead, 0, "list-runs", "List runs", bind(a.listRuns)},
		{post, base + "/runs/bulk", runsWrite, acts | mayAccept, "bulk-runs", "Cancel, pause, resume or rerun up to 500 runs", bind(a.bulkRuns)},
		{get, base + "/runs/{id}", runsRead, 0, "get-run", "Get a run", bind(a.getRun)},
		{get, base + "/runs/{id}/steps", runsRead, 0, "trace-run", "Tell what became of every step of a run", bind(a.traceRun)},
		{get, base + "/runs/{id}/steps/{step}/iterations", runsRead, 0, "list-iterations", "Tell what became of every item of a step over a list", bind(a.listIterations)},
		{get, base + "/runs/{id}/events", runsRead, 0, "list-run-events", "Read the log of a run", bind(a.listRunEvents)},
		{get, base + "/runs/{id}/stream", runsRead, streams, "stream-run", "Follow the log of a run as server-sent events", bind(a.openStream)},
		{get, base + "/runs/{id}/why", runsRead, 0, "why-run", "Tell what a run is waiting for", bind(a.whyRun)},
		{post, base + "/runs/{id}/pause", runsWrite, acts, "pause-run", "Pause a run", bind(a.pauseRun)},
		{post, base + "/runs/{id}/resume", runsWrite, acts, "resume-run", "Resume a paused run", bind(a.resumeRun)},
		{post, base + "/runs/{id}/cancel", runsWrite, acts, "cancel-run", "Cancel a run", bind(a.cancelRun)},
		{post, base + "/runs/{id}/rerun", runsWrite, acts | accepted | follows, "rerun-run", "Start a run like an earlier one", bind(a.rerunRun)},
		{post, base + "/runs/{id}/steps/{step}/approve", runsWrite, acts, "approve-step", "Approve a step that waits for it", bind(a.approveStep)},
		{post, base + "/runs/{id}/steps/{step}/reject", runsWrite, acts, "reject-step", "Reject a step that waits for approval", bind(a.rejectStep)},

		{post, base + "/triggers", flowsWrite, acts | created | secret, "create-trigger", "Create a trigger", bind(a.createTrigger)},
		{get, base + "/triggers", flowsRead, 0, "list-triggers", "List triggers", bind(a.listTriggers)},
		{get, base + "/triggers/{id}", flowsRead, 0, "get-trigger", "Get a trigger", bind(a.getTrigger)},
		{patch, base + "/triggers/{id}", flowsWrite, 0, "update-trigger", "Change a trigger", bind(a.patchTrigger)},
		{del, base + "/triggers/{id}", flowsWrite, 0, "delete-trigger", "Delete a trigger", bind(a.deleteTrigger)},
		{get, base + "/triggers/{id}/ticks", flowsRead, 0, "list-ticks", "Tell what became of every time a schedule was due", bind(a.listTicks)},
		{post, base + "/triggers/{id}/test", flowsRead, 0, "test-trigger", "Tell what an event would mean to a trigger, without firing it", bind(a.testTrigger)},

		{get, base + "/triggers/{id}/deliveries", flowsRead, 0, "list-deliveries", "List what was sent to the address of a trigger", bind(a.listDeliveries)},
		{post, base + "/triggers/{id}/rotate-secret", flowsWrite, acts | secret, "rotate-secret", "Give a trigger a new secret; it is shown this once", bind(a.rotateSecret)},
		{post, base + "/deliveries/{id}/redeliver", flowsWrite, acts | accepted, "redeliver", "Send a webhook again", bind(a.redeliver)},

		{post, base + "/events", eventsWrite, acts | accepted, "send-event", "Send an event", bind(a.sendEvent)},
		{post, base + "/events/batch", eventsWrite, acts | accepted, "send-events", "Send up to 500 events", bind(a.sendEvents)},
		{get, base + "/events", flowsRead, 0, "list-events", "List events", bind(a.listEvents)},
		{get, base + "/events/{id}", flowsRead, 0, "get-event", "Get an event and what became of it", bind(a.getEvent)},

		{get, base + "/templates", flowsRead, 0, "list-templates", "List templates", bind(a.listTemplates)},
		{post, base + "/templates", flowsWrite, acts | created, "publish-template", "Publish a workflow as a template of the workspace", bind(a.publishTemplate)},
		{get, base + "/templates/{slug}", flowsRead, 0, "get-template", "Get a template", bind(a.getTemplate)},
		{post, base + "/templates/{slug}/workflows", flowsWrite, acts | created | secret, "install-template", "Create a workflow and its triggers from a template", bind(a.installTemplate)},

		{get, base + "/connectors", flowsRead, 0, "list-connectors", "List connectors and their actions", bind(a.listConnectors)},
		{get, base + "/connectors/{slug}", flowsRead, 0, "get-connector", "Get a connector", bind(a.getConnector)},
		{post, base + "/connectors", connectionsWrite, acts | created, "register-connector", "Register an OpenAPI document or an MCP server as a connector", bind(a.createConnector)},
		{patch, base + "/connectors/{slug}", connectionsWrite, 0, "update-connector", "Change a registered connector, or replace what it was made of", bind(a.patchConnector)},
		{post, base + "/connectors/{slug}/refresh", connectionsWrite, acts, "refresh-connector", "Read the description of a registered connector again", bind(a.refreshConnector)},
		{del, base + "/connectors/{slug}", connectionsWrite, 0, "delete-connector", "Delete a registered connector", bind(a.deleteConnector)},
		{get, base + "/connectors/{slug}/actions", flowsRead, 0, "list-actions", "List the actions of a connector with their schemas", bind(a.listActions)},
		{get, base + "/connectors/{slug}/actions/{action}", flowsRead, 0, "get-action", "Get an action of a connector", bind(a.getAction)},
		{post, base + "/connectors/{slug}/actions/{action}/test", runsWrite, acts, "test-action", "Do an action once, outside a flow", bind(a.testAction)},

		{post, base + "/connections", connectionsWrite, acts | created, "create-connection", "Create a connection", bind(a.createConnection)},
		{get, base + "/connections", flowsRead, 0, "list-connections", "List connections", bind(a.listConnections)},
		{get, base + "/connections/{id}", flowsRead, 0, "get-connection", "Get a connection", bind(a.getConnection)},
		{patch, base + "/connections/{id}", connectionsWrite, 0, "update-connection", "Change a connection", bind(a.patchConnection)},
		{del, base + "/connections/{id}", connectionsWrite, 0, "delete-connection", "Delete a connection and its secrets", bind(a.deleteConnection)},
		{post, base + "/connections/{id}/test", connectionsWrite, acts, "test-connection", "Try a connection with a light read", bind(a.testConnection)},
		{post, base + "/connections/{id}/authorize", connectionsWrite, acts | secret, "authorize-connection", "Begin to authorise a connection of oauth2; a person goes on at the address in the answer", bind(a.authorizeConnection)},

		{post, base + "/agents", flowsWrite, acts | created, "create-agent", "Create an agent", bind(a.createAgent)},
		{get, base + "/agents", flowsRead, 0, "list-agents", "List agents", bind(a.listAgents)},
		{get, base + "/agents/{slug}", flowsRead, 0, "get-agent", "Get an agent", bind(a.getAgent)},
		{patch, base + "/agents/{slug}", flowsWrite, 0, "update-agent", "Change an agent", bind(a.patchAgent)},
		{del, base + "/agents/{slug}", flowsWrite, 0, "delete-agent", "Delete an agent", bind(a.deleteAgent)},
		{post, base + "/agents/{slug}/test", runsWrite, acts, "test-agent", "Run an agent once, outside a flow", bind(a.testAgent)},

		{get, base + "/budgets", flowsRead, 0, "get-budgets", "Tell what models may cost a day, and what they cost today", bind(a.getBudgets)},
		{put, base + "/budgets", admin, 0, "put-budgets", "Set what models may cost a day, for the workspace and its workflows", bind(a.putBudgets)},

		{post, adminBase + "/api-keys", admin, acts | created | secret, "create-api-key", "Make an API key; it is shown this once", bind(a.createKey)},
		{get, adminBase + "/api-keys", admin, 0, "list-api-keys", "List API keys", bind(a.listKeys)},
		{del, adminBase + "/api-keys/{id}", admin, 0, "revoke-api-key", "Revoke an API key", bind(a.revokeKey)},
	}
}
