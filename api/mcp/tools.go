package mcp

import "slices"

// instructions are what a model is told about the product as a whole.
const instructions = `flows runs workflows of agents and connectors (HTTP calls and others) for sales and marketing teams, and keeps running them through crashes and waits of weeks.

Words: A workflow (id wf_…) holds a graph of steps and edges, in immutable versions. A run (run_…) is one execution of a version with a payload; its steps have the names that the author of the graph gave them. Triggers (trg_…) start runs when events (evt_…) come in, at set times, or when a webhook is called. An agent (by slug) or an action of a connector does the work of a step; a connection (conn_…) is an account that it acts with. Ids cannot be guessed: take them from the lists or from earlier results.

To do something with a workflow: list_workflows, then get_workflow for its input_schema, then trigger_workflow with a payload that fits, with wait_seconds to get the result at once. To find out what happened: get_run, get_run_trace for every step, why_run for what a run is waiting for. To build one: list_workflow_templates and create_workflow_from_template where one fits; else list_connectors and list_agents, validate_workflow until it is valid, create_workflow, and create_trigger to have it started by events or at set times. What it lacks is made first: create_connection for an account, register_connector for an API or MCP server, create_agent.

A refused call is a result with isError and a problem: detail says in words what is wrong, code says what kind (not_found, forbidden_scope, invalid, invalid_state, rate_limited …), errors says which argument to mend. Lists give next_cursor; pass it as cursor for the next page. Times are RFC 3339 in UTC. Runs act in the real world: they may send messages to people, so start, resume and approve only what was asked for.`

// prefer is the header that says how long to wait for a run to end.
var prefer = place{"header", "Prefer"}

// longestWait is the longest wait for a run to end, in seconds.
const longestWait = 60

// graph is one of the form that create_workflow shows. To show it again in every tool
// that takes one would be most of what a client is told.
var graph = argument{
	name: "graph", to: place{"body", "graph"},
	does:    "The graph: {\"steps\":[…],\"edges\":[…]}. See create_workflow for the form.",
	instead: map[string]any{"type": "object"},
}

// Arguments that several tools take.
var (
	workflowID    = path("workflow_id", "id", "Id of the workflow, wf_ and 26 characters, from list_workflows or create_workflow.")
	runID         = path("run_id", "id", "Id of the run, run_ and 26 characters, from trigger_workflow or list_runs.")
	triggerID     = path("trigger_id", "id", "Id of the trigger, trg_ and 26 characters, from list_triggers or create_trigger.")
	templateSlug  = path("template_slug", "slug", "Slug of the template, from list_workflow_templates.")
	connectionID  = path("connection_id", "id", "Id of the connection, conn_ and 26 characters, from list_connections or create_connection.")
	connectorSlug = path("connector_slug", "slug", "Slug of the connector, from list_connectors.")
	actionName    = path("action", "action", "Name of the action, from get_connector or list_connector_actions.")
	agentSlug     = path("agent_slug", "slug", "Slug of the agent, from list_agents.")

	limit  = query("limit", "limit", "How many to give, newest first.")
	cursor = query("cursor", "cursor", "next_cursor of the page before; leave it out for the first page.")

	inputSchema = object(body("input_schema", "JSON Schema (2020-12) of the payload that a run takes; payloads that do not fit are refused."))
	output      = body("output", "Template of the run's output, such as {\"score\":\"{{ steps.score.output.score }}\"}. Without it the output holds the outputs of the last steps, by id.")
	settings    = object(body("settings", "How runs are started: timeout of a whole run, concurrency, debounce, priority. One active run a lead is {\"concurrency\":{\"key\":\"payload.lead_id\",\"limit\":1,\"policy\":\"queue\"}}."))

	once = argument{
		name: "idempotency_key", to: place{"header", "Idempotency-Key"},
		does: "A word of your own, new for each thing to be done: the call, repeated with it, gives the first answer again instead of doing it twice.",
	}
	wait = argument{
		name: "wait_seconds", to: prefer,
		does:    "Wait up to so many seconds for the run to end and give the finished run. Without it, or when the time is over, the run is given as it stands: ask get_run later.",
		instead: map[string]any{"type": "integer", "minimum": 1, "maximum": longestWait},
	}
	decision = []argument{
		runID, path("step_id", "step", "Id of the step that waits, from waiting_on of why_run."),
		body("comment", "Why, for the record."), object(body("data", "Becomes part of the step's output, for the steps that follow.")),
	}
)

// tools is the table: every tool there is.
var tools = slices.Concat(flowTools, connectorTools, connectionTools, agentTools)

// flowTools are about workflows, their runs, and what starts them.
var flowTools = []tool{
	{
		name: "whoami", operation: "whoami", title: "Who am I", effect: reads,
		does: "Tells which workspace and API key these tools work for, and what the key may do (scopes). Use it first when a call is refused with forbidden_scope.",
	},

	{
		name: "list_workflows", operation: "list-workflows", title: "List workflows", effect: reads,
		does: "Lists the workflows of the workspace, newest first, without their graphs. Use it to find the id of a workflow that somebody names. Then get_workflow for what it takes, or trigger_workflow to run it.",
		arguments: []argument{
			query("q", "q", "Part of the name or description."),
			query("status", "status", "Only those with one of these statuses. Archived ones are left out unless asked for."),
			query("tag", "tag", "Only those with this tag."),
			limit, cursor,
		},
	},
	{
		name: "get_workflow", operation: "get-workflow", title: "Get a workflow", effect: reads,
		does:      "Gives one workflow with its current graph, settings and input_schema, which is the JSON Schema that the payload of trigger_workflow must fit (null: anything).",
		arguments: []argument{workflowID},
	},
	{
		name: "validate_workflow", operation: "validate-workflow", title: "Check a workflow", effect: reads,
		does: "Checks a graph without saving anything. Gives valid, and for each error its place (loc) and what is wrong (msg): unknown agents and connectors, cycles, expressions that do not compile. Call it before create_workflow and update_workflow_graph, and mend until valid is true.",
		arguments: []argument{
			graph,
			inputSchema,
			output,
			settings,
		},
	},
	{
		name: "create_workflow", operation: "create-workflow", title: "Create a workflow", effect: adds,
		does: `Saves a new workflow, active at once; it does nothing until it is triggered. Steps are of four types: agent {agent, input}, connector {connector, action, input}, branch, and wait (one of for "24h", until, event {type, match}, approval {prompt}). Edges say what follows what; edges from a branch have when (an expression) or default true, edges from other steps may have on: "error". Steps without an incoming edge start at once. {{ … }} in input is an expression over payload and steps.<id>.output. Example: {"steps":[{"id":"score","type":"agent","agent":"scorer","input":{"lead_id":"{{ payload.lead_id }}"}},{"id":"route","type":"branch"},{"id":"ask","type":"wait","approval":{"prompt":"Call this lead?"}},{"id":"notify","type":"connector","connector":"http","action":"request","input":{"method":"POST","url":"https://example.com/hook","body":{"lead":"{{ payload.lead_id }}"}}}],"edges":[{"from":"score","to":"route"},{"from":"route","to":"ask","when":"steps.score.output.score > 80"},{"from":"route","to":"notify","default":true},{"from":"ask","to":"notify"}]}. Take agents from list_agents, connectors and their actions from list_connectors; check with validate_workflow first.`,
		arguments: []argument{
			body("name", "What people call it."),
			object(body("graph", "Steps and edges, of the form described above.")),
			body("description", "What it is for, in a sentence or two."),
			inputSchema,
			output,
			settings,
			body("status", "active if not given; paused takes no triggers."),
			body("tags", "To find it by."),
			once,
		},
	},
	{
		name: "update_workflow", operation: "update-workflow", title: "Change a workflow's name or status", effect: sets,
		does: "Changes name, description, tags or status of a workflow; what is not given stays. Status paused stops new runs and active allows them again; archived takes it out of use. Runs under way are not touched.",
		arguments: []argument{
			workflowID,
			body("name", "What people call it."), body("description", "What it is for."),
			body("status", "active, paused or archived."), body("tags", "All of its tags: those it had are replaced."),
		},
	},
	{
		name: "update_workflow_graph", operation: "put-graph", title: "Save a new version of a workflow", effect: sets,
		does: "Saves a graph as the next version of a workflow and makes it the current one. Runs under way go on with the version they started with, and older versions stay. Give everything: input_schema, output and settings that are left out are gone in the new version, so begin from get_workflow. Check with validate_workflow first.",
		arguments: []argument{
			workflowID,
			graph,
			inputSchema,
			output,
			{
				name: "settings", to: place{"body", "settings"}, does: "How runs are started. See create_workflow for the form.",
				instead: map[string]any{"type": "object"},
			},
		},
	},

	{
		name: "trigger_workflow", operation: "trigger-workflow", title: "Run a workflow", effect: starts,
		does: "Starts a run of a workflow. The run goes on by itself and may act in the real world: call agents, send messages, wait for days. Gives the run with its id; follow it with get_run, get_run_trace or why_run, or give wait_seconds to get the result at once if it is quick. Refused with 409 workflow_not_active if the workflow is paused or archived, and with 422 and the place if the payload does not fit its input_schema.",
		arguments: []argument{
			workflowID,
			object(body("payload", "What the run works on, such as {\"lead_id\":\"lead_42\"}. It must fit the input_schema that get_workflow gives.")),
			wait,
			body("version", "An older version to run; the current one if not given."),
			body("metadata", "Words to find the run by later, as text under names of your own."),
			once,
		},
	},
	{
		name: "list_runs", operation: "list-runs", title: "List runs", effect: reads,
		does: "Lists runs, newest first, without payload and output. Use it to find failed runs (status failed), runs that wait for somebody (waiting), or the latest run of a workflow. Then get_run or get_run_trace with the id.",
		arguments: []argument{
			query("workflow_id", "workflow_id", "Only runs of this workflow (wf_…)."),
			query("status", "status", "Only runs with one of these statuses."),
			query("trigger_type", "trigger_type", "Only runs that were started in one of these ways; mcp is by these tools."),
			query("created_after", "created_after", "Only runs made after this time."),
			query("created_before", "created_before", "Only runs made before this time."),
			limit, cursor,
		},
	},
	{
		name: "get_run", operation: "get-run", title: "Get a run", effect: reads,
		does:      "Gives one run: status (queued, running, waiting, paused, completed, failed, cancelled), payload, output once it has completed, and error with the step to blame if it failed. For what each step did ask get_run_trace; for what an open run is waiting for, why_run.",
		arguments: []argument{runID},
	},
	{
		name: "get_run_trace", operation: "trace-run", title: "Get what every step of a run did", effect: reads,
		does:      "Gives every step of a run in the order of their start: status, input, output, error, attempts, the way a branch took, and why a step was skipped. Use it to explain a result or to find out why a run failed.",
		arguments: []argument{runID},
	},
	{
		name: "why_run", operation: "why-run", title: "Tell what a run is waiting for", effect: reads,
		does:      "Says in words (summary) and data (waiting_on) what an open run is waiting for: a timer, an event, an approval, the retry of a step, a worker. A step of kind approval can be decided with approve_step or reject_step.",
		arguments: []argument{runID},
	},
	{
		name: "pause_run", operation: "pause-run", title: "Pause a run", effect: sets,
		does:      "Holds a run: no new step starts; steps under way finish and are kept. resume_run goes on exactly there. A run that has ended cannot be paused (409 invalid_state).",
		arguments: []argument{runID},
	},
	{
		name: "resume_run", operation: "resume-run", title: "Resume a paused run", effect: moves,
		does:      "Lets a paused run go on where it was held.",
		arguments: []argument{runID},
	},
	{
		name: "cancel_run", operation: "cancel-run", title: "Cancel a run", effect: ends,
		does:      "Ends a run for good: steps under way are told to stop and nothing more starts. It cannot be taken back; to hold a run only for a while use pause_run. A run that has ended otherwise is refused with 409 invalid_state.",
		arguments: []argument{runID},
	},
	{
		name: "rerun_run", operation: "rerun-run", title: "Run again", effect: starts,
		does: "Starts a new run like an earlier one, with its version and payload unless others are given. With from_step the outputs of everything before that step are kept, so that only it and what follows is done again: the way to go on after a failure was mended.",
		arguments: []argument{
			runID,
			body("from_step", "Id of the step to begin at, from get_run_trace."),
			body("version", "The version to run; that of the earlier run if not given."),
			object(body("payload", "The payload; that of the earlier run if not given.")),
			wait, once,
		},
	},
	{
		name: "approve_step", operation: "approve-step", title: "Approve a waiting step", effect: moves,
		does:      "Approves a step that waits for approval, and the run goes on. Only for people's decisions: do it when somebody with the say has said so. Find runs that wait with list_runs and status waiting, and the step with why_run.",
		arguments: decision,
	},
	{
		name: "reject_step", operation: "reject-step", title: "Reject a waiting step", effect: ends,
		does:      "Refuses a step that waits for approval: the run takes the rejected edge, or fails where there is none. It cannot be taken back. Only for people's decisions.",
		arguments: decision,
	},

	{
		name: "list_workflow_templates", operation: "list-templates", title: "List workflow templates", effect: reads,
		does: "Lists ready-made workflows for sales and marketing, such as adding leads of a segment to a sequence, alerting about hot leads or a daily digest; the workspace's own come first. Gives the slug, what it does, and inputs: the JSON Schema of what create_workflow_from_template needs. Use it before building a workflow from nothing.",
		arguments: []argument{
			query("q", "q", "Part of the slug, name or description."),
			query("category", "category", "Only those of this category, as other templates have it."),
			query("trigger_type", "trigger_type", "Only those that are started in one of these ways."),
			query("status", "status", "Only those with one of these statuses; deprecated ones cannot be used any more."),
			limit, cursor,
		},
	},
	{
		name: "get_workflow_template", operation: "get-template", title: "Get a workflow template", effect: reads,
		does:      "Gives one template with its graph and triggers, to explain what a workflow made of it would do. {{ inputs.x }} stands where an input goes.",
		arguments: []argument{templateSlug},
	},
	{
		name: "create_workflow_from_template", operation: "install-template", title: "Create a workflow from a template", effect: starts,
		does: "Makes a workflow and its triggers of a template. They are active at once: from then on events and schedules start runs that act in the real world. inputs must fit the template's inputs schema; those with a default may be left out. Agents that inputs name have to exist (list_agents). Refused with the argument to blame when something does not fit; nothing is made then.",
		arguments: []argument{
			templateSlug,
			object(body("inputs", "What the template asks for: an object that fits its inputs schema.")),
			body("name", "What people call the workflow; the template's name if not given."),
			once,
		},
	},

	{
		name: "list_triggers", operation: "list-triggers", title: "List triggers", effect: reads,
		does: "Lists what starts workflows by itself, newest first: events, schedules and inbound webhooks, with next_fire_at of schedules; and triggers with target_type webhook, which tell an address outside when something happens.",
		arguments: []argument{
			query("workflow_id", "workflow_id", "Only triggers of this workflow (wf_…)."),
			query("type", "type", "Only triggers of this type."),
			query("target_type", "target_type", "Only those that start a workflow, or only those that call an address."),
			query("event_type", "event_type", "Only those that listen for exactly this, such as lead.created."),
			query("enabled", "enabled", "Only those that are enabled, or only those that are not."),
			limit, cursor,
		},
	},
	{
		name: "create_trigger", operation: "create-trigger", title: "Create a trigger", effect: starts,
		does: `Makes something start a workflow by itself from now on. Of type event: event_type (lead.created, or lead.* for all of lead), and optionally source and filter. Of type schedule: cron and timezone, such as "0 9 * * 1" and Europe/Berlin for every Monday at 9. Of type webhook: gives an address (url) that others POST to, and verify says how they prove who they are. With target_type webhook and url instead of a workflow_id, matching events are POSTed to that address: this is how somebody is told when a run fails (event_type flow.run.failed, source flows). A secret in the result is shown this once. Try it with test_trigger before real events come.`,
		arguments: []argument{
			body("type", "What it waits for."),
			body("workflow_id", "Id of the workflow to start (wf_…); not with target_type webhook."),
			body("name", "What people call it."),
			body("event_type", "Of type event: which events, exact (lead.created) or a beginning with * after it (lead.*)."),
			body("source", "Of type event: only events from there, such as crm, or flows for what happens to runs."),
			body("filter", "An expression over event that must be true, such as event.data.score > 80."),
			object(body("payload", "Template of the run's payload, such as {\"lead_id\":\"{{ event.data.id }}\"}; the event's data if not given.")),
			body("dedupe", "The same key within the window starts nothing a second time, such as {\"key\":\"event.data.id\",\"window\":\"24h\"}."),
			body("cron", "Of type schedule: five fields (minute, hour, day, month, weekday) or @hourly, @daily …"),
			body("timezone", "Of type schedule: an IANA zone, such as Europe/Berlin."),
			body("missed", "Of type schedule: which missed times to make up for after an outage."),
			body("verify", "Of type webhook: how a sender proves who it is; none takes anything from anybody."),
			body("target_type", "workflow if not given; webhook calls url instead."),
			body("url", "With target_type webhook: the address to call."),
			body("enabled", "true if not given."),
			once,
		},
	},
	{
		name: "update_trigger", operation: "update-trigger", title: "Change a trigger", effect: sets,
		does: "Changes a trigger; what is not given stays. With enabled false it fires no more until it is enabled again.",
		arguments: []argument{
			triggerID,
			body("enabled", "Whether it fires."), body("name", "What people call it."),
			body("event_type", "Which events, exact or a beginning with * after it."),
			body("filter", "An expression over event; null for none."),
			body("cron", "When, of a schedule."), body("timezone", "An IANA zone, of a schedule."),
		},
	},
	{
		name: "test_trigger", operation: "test-trigger", title: "Try a trigger", effect: reads,
		does: "Tells whether an event would fire a trigger, why not, and which payload the run would get. Nothing is started or kept.",
		arguments: []argument{
			triggerID,
			body("event", "The event to try, such as {\"type\":\"lead.created\",\"data\":{\"id\":\"lead_42\"}}."),
		},
	},
	{
		name: "send_event", operation: "send-event", title: "Send an event", effect: starts,
		does: "Tells the workspace that something happened. Every trigger that listens for it starts its workflow, and runs that wait for it go on, so it may act in the real world. Gives the event's id; get_event tells what came of it. To run one workflow that is known, trigger_workflow is the plainer way.",
		arguments: []argument{
			body("type", "What happened, such as lead.created."),
			object(body("data", "All there is to know about it, such as {\"id\":\"lead_42\",\"score\":90}.")),
			body("source", "Where it happened: crm, connector or a word of your own."),
			body("id", "An id of your own for this happening; the same id from the same source again has no second effect."),
			body("occurred_at", "When; now if not given."),
		},
	},
	{
		name: "list_events", operation: "list-events", title: "List events", effect: reads,
		does: "Lists the events that came in and those that tell of runs, newest first, without their data. Then get_event for what came of one.",
		arguments: []argument{
			query("type", "type", "Only events of exactly this type."), query("source", "source", "Only events from there."),
			query("created_after", "created_after", "Only those that came in after this time."),
			query("created_before", "created_before", "Only those that came in before this time."),
			limit, cursor,
		},
	},
	{
		name: "get_event", operation: "get-event", title: "Get what became of an event", effect: reads,
		does:      "Gives one event with its data and matches: which triggers it fired, with the id of the run, and which ignored it and why. Use it when an event did not start what it should have.",
		arguments: []argument{path("event_id", "id", "Id of the event, evt_ and 26 characters, from send_event or list_events.")},
	},
}
