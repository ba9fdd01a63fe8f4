package mcp

var (
	// connectionConfig is all of a connection that is no secret.
	connectionConfig = object(body("config", "What is no secret, such as {\"auth\":{\"type\":\"bearer\"},\"base_url\":\"https://api.example.com\"}: auth, base_url, hosts that may hear the secrets, limits, and what get_connector says its connections take."))
	secrets          = body("secrets", "By name, such as {\"token\":\"…\"}: token of auth bearer, password of basic, value of header and query, api_key of 10ex, client_secret of oauth2. They are sealed, go to the connection's hosts only, and are never shown again, not even to you.")
)

// connectionTools are about the accounts that steps act with, and what models may
// cost.
var connectionTools = []tool{
	{
		name: "list_connections", operation: "list-connections", title: "List connections", effect: reads,
		does: "Lists the accounts at other sides that steps and agents can act with, newest first, without their secrets. Use it for the connection of a step of type connector.",
		arguments: []argument{
			query("connector", "connector", "Only those of this connector, by slug."),
			query("status", "status", "Only those that were in this state when they were last tried."),
			limit, cursor,
		},
	},
	{
		name: "get_connection", operation: "get-connection", title: "Get a connection", effect: reads,
		does:      "Gives one connection: its config, the names of its secrets, and whether it worked when it was last tried. The values of secrets are never given.",
		arguments: []argument{connectionID},
	},
	{
		name: "create_connection", operation: "create-connection", title: "Create a connection", effect: adds,
		does: "Keeps an account at another side for steps to act with. get_connector tells what a connection of a connector takes. Secrets that somebody tells you pass through this conversation; with auth of type oauth2 no person's secret is needed, and authorize_connection comes next. Then test_connection.",
		arguments: []argument{
			body("connector", "Slug of the connector it is for, from list_connectors."),
			body("name", "What people call it; no other connection of the workspace has it."),
			connectionConfig, secrets, once,
		},
	},
	{
		name: "update_connection", operation: "update-connection", title: "Change a connection", effect: sets,
		does: "Changes a connection; what is not given stays. Another config needs the secrets again, for it says where they go, and secrets that are given replace all it had.",
		arguments: []argument{
			connectionID, body("name", "What people call it."), connectionConfig, secrets,
		},
	},
	{
		name: "delete_connection", operation: "delete-connection", title: "Delete a connection", effect: ends,
		does:      "Deletes a connection and its secrets. Steps that act with it fail from then on. It cannot be taken back.",
		arguments: []argument{connectionID},
	},
	{
		name: "test_connection", operation: "test-connection", title: "Try a connection", effect: sets,
		does:      "Asks the other side for something small to find out whether it takes the credentials, notes the outcome, and gives ok or why not. Nothing is changed there.",
		arguments: []argument{connectionID, once},
	},
	{
		name: "authorize_connection", operation: "authorize-connection", title: "Begin to authorise a connection", effect: sets,
		does:      "Begins to authorise a connection of oauth2. Gives an address that a person has to open in a browser and agree at; it is good once, for ten minutes. get_connection says connected when they have.",
		arguments: []argument{connectionID, once},
	},

	{
		name: "get_budgets", operation: "get-budgets", title: "Get what models may cost", effect: reads,
		does: "Tells what models may cost a day, in the workspace and by workflow, and what they cost today, by workflow and agent too.",
	},
	{
		name: "set_budgets", operation: "put-budgets", title: "Set what models may cost", effect: sets,
		does: "Sets what models may cost a day (in UTC). It replaces all limits there are, so begin from get_budgets: one that is left out is gone. A run whose model would go over fails with a code that says so.",
		arguments: []argument{
			object(body("workspace", "The limit of all that models cost in the workspace, such as {\"per_day\":{\"usd\":20,\"tokens\":5000000}}.")),
			object(body("workflows", "Limits by id of the workflow, such as {\"wf_…\":{\"per_day\":{\"usd\":5}}}.")),
		},
	},
}
