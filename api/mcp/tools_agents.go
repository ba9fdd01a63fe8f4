package mcp

var (
	agentKind = argument{
		name: "kind", to: place{"body", "kind"}, does: "http: an address that is called; llm: a model with tools; platform: an agent of 10ex.",
		instead: map[string]any{"type": "string", "enum": []string{"http", "llm", "platform"}},
	}
	agentConfig = object(body("config", "Of kind http {\"url\":\"https://…\"}. Of kind llm {\"model\":\"…\",\"instructions\":\"…\",\"tools\":[\"http.request\"],\"max_turns\":8,\"budget\":{\"per_day\":{\"usd\":5}}}: tools are actions of connectors, and there are no others for the model. Of kind platform {\"agent_id\":\"…\"}."))
	agentInput  = object(body("input_schema", "JSON Schema (2020-12) of its input; an empty one allows everything."))
	agentOutput = object(body("output_schema", "JSON Schema (2020-12) of its output, to which a model is held; an empty one allows everything."))
)

// agentTools are about what steps of type agent can call.
var agentTools = []tool{
	{
		name: "list_agents", operation: "list-agents", title: "List agents", effect: reads,
		does:      "Lists the agents that steps of type agent can call, by slug, with the JSON Schemas of their input and output. Use it before writing a graph.",
		arguments: []argument{limit, cursor},
	},
	{
		name: "get_agent", operation: "get-agent", title: "Get an agent", effect: reads,
		does:      "Gives one agent with its config and the JSON Schemas of its input and output.",
		arguments: []argument{agentSlug},
	},
	{
		name: "create_agent", operation: "create-agent", title: "Create an agent", effect: adds,
		does: "Makes an agent that steps of type agent can call by its slug. Nothing is called yet; try it with test_agent.",
		arguments: []argument{
			body("slug", "How steps name it: lower-case letters, digits and hyphens."),
			agentKind, agentConfig,
			body("connection", "Id of the connection (conn_…) it acts through: of kind llm, one of connector openai or anthropic; of kind platform, one of connector tenex."),
			body("name", "What people call it; the slug if not given."),
			agentInput, agentOutput, once,
		},
	},
	{
		name: "update_agent", operation: "update-agent", title: "Change an agent", effect: sets,
		does: "Changes an agent, from the next step that calls it on; what is not given stays, and config is replaced as a whole.",
		arguments: []argument{
			agentSlug,
			body("name", "What people call it."), agentKind, agentConfig,
			{
				name: "connection", to: place{"body", "connection"}, does: "Id of the connection (conn_…) it acts through; null takes it away.",
				instead: map[string]any{"type": []string{"string", "null"}},
			},
			agentInput, agentOutput,
		},
	},
	{
		name: "delete_agent", operation: "delete-agent", title: "Delete an agent", effect: ends,
		does:      "Deletes an agent. Steps that name it fail from then on. It cannot be taken back.",
		arguments: []argument{agentSlug},
	},
	{
		name: "test_agent", operation: "test-agent", title: "Run an agent once", effect: starts,
		does:      "Runs an agent once, outside of any run, and gives its output or why it failed, and what it used. It is done for real: a model is paid for, and its tools act in the world.",
		arguments: []argument{agentSlug, object(body("input", "What the agent works on: an object that fits its input_schema.")), once},
	},
}
