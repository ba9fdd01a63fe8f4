package mcp

// source are the arguments that say where the description of a connector comes from.
var source = []argument{
	body("document_url", "Of kind openapi: where the OpenAPI document is."),
	{
		name: "document", to: place{"body", "document"}, does: "Of kind openapi: the document itself instead, as an object or as the text of JSON or YAML.",
		instead: map[string]any{"type": []string{"object", "string"}},
	},
	body("server", "Of kind openapi: where requests go, instead of the servers that the document names."),
	body("url", "Of kind mcp: the address of the MCP server."),
	body("command", "Of kind mcp: the program of a server on standard streams, with its arguments. Only where the installation allows it."),
}

// connectorTools are about what steps of type connector can do.
var connectorTools = []tool{
	{
		name: "list_connectors", operation: "list-connectors", title: "List connectors and their actions", effect: reads,
		does:      "Lists what steps of type connector can do: connectors by slug, those that are built in each with its actions and the JSON Schemas of their input and output; for the actions of one that the workspace has registered ask get_connector. Use it before writing a graph.",
		arguments: []argument{limit, cursor},
	},
	{
		name: "get_connector", operation: "get-connector", title: "Get a connector", effect: reads,
		does:      "Gives one connector with its actions, their JSON Schemas unless there are too many (then list_connector_actions and get_connector_action have them), and what a connection of it takes: ways of auth and names of secrets.",
		arguments: []argument{connectorSlug},
	},
	{
		name: "list_connector_actions", operation: "list-actions", title: "Search the actions of a connector", effect: reads,
		does:      "Lists actions of a connector with the JSON Schemas of their input and output, a page at a time. Use q to find the few that matter among hundreds.",
		arguments: []argument{connectorSlug, query("q", "q", "Part of the name or description."), limit, cursor},
	},
	{
		name: "get_connector_action", operation: "get-action", title: "Get an action of a connector", effect: reads,
		does:      "Gives one action with the JSON Schemas of its input and output. Use it before writing a step that does it.",
		arguments: []argument{connectorSlug, actionName},
	},
	{
		name: "register_connector", operation: "register-connector", title: "Register an API or MCP server as a connector", effect: adds,
		does: "Makes a connector of the workspace of an OpenAPI document (kind openapi: each operation becomes an action) or of an MCP server (kind mcp: each tool does). The document or the server is asked for what there is; nothing is changed there. Then get_connector for the actions.",
		arguments: append([]argument{
			body("slug", "How steps name it: a lower-case word that no connector has yet."),
			body("kind", "What it is made of."),
			body("name", "What people call it; as the description has it if not given."),
			body("description", "What it is for; as the description has it if not given."),
			body("connection", "Id of a connection (conn_…) of connector openapi or mcp, as kind says: to ask for the description with, now and later, and for steps that name none."),
			once,
		}, source...),
	},
	{
		name: "update_connector", operation: "update-connector", title: "Change a registered connector", effect: sets,
		does: "Changes a connector that the workspace has registered; what is not given stays. With another document or address its actions are read again, and steps that name one which is gone fail from then on.",
		arguments: append([]argument{
			connectorSlug,
			body("name", "What people call it."), body("description", "What it is for."),
			{
				name: "connection", to: place{"body", "connection"}, does: "Id of the connection (conn_…) to use where a step names none; null takes it away.",
				instead: map[string]any{"type": []string{"string", "null"}},
			},
		}, source...),
	},
	{
		name: "refresh_connector", operation: "refresh-connector", title: "Read a registered connector's description again", effect: sets,
		does:      "Asks the document_url or the MCP server of a registered connector again for what there is, and takes over what is new.",
		arguments: []argument{connectorSlug, body("connection", "Id of a connection (conn_…) to ask with this once; the one it was registered with if not given."), once},
	},
	{
		name: "delete_connector", operation: "delete-connector", title: "Delete a registered connector", effect: ends,
		does:      "Deletes a connector that the workspace has registered. Steps that name it fail from then on. It cannot be taken back.",
		arguments: []argument{connectorSlug},
	},
	{
		name: "test_connector_action", operation: "test-action", title: "Do an action once", effect: starts,
		does: "Does an action of a connector once, outside of any run, and gives its output or why it failed. It is done for real: a message is sent, a record is made. Use it to see what an action gives before a step is built on it.",
		arguments: []argument{
			connectorSlug, actionName,
			object(body("input", "What the action takes: an object that fits its input schema.")),
			body("connection", "Id of the connection (conn_…) to act with, from list_connections; the one that the connector was registered with if not given."),
			once,
		},
	},
}
