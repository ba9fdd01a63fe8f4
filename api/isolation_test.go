package api

import (
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
)

// things are ids of one workspace, by what stands in a route's path.
type things struct{ workflow, run, agent, key, trigger, event, outbound, delivery, template, connection, connector string }

// isolationCase says how a route is asked for a thing of another workspace. A
// route without one fails the test: new routes have to be thought about.
type isolationCase struct {
	path func(x things) string
	body func(x things) string
	// none: the route takes no id of a tenant's at all.
	none bool
	// inside: the id is in the body or query, and the answer is 200 without a
	// trace of it.
	inside bool
}

func at(path string) func(things) string {
	return func(x things) string {
		return strings.NewReplacer("{wf}", x.workflow, "{run}", x.run, "{agent}", x.agent, "{key}", x.key, "{trigger}", x.trigger, "{event}", x.event, "{outbound}", x.outbound, "{delivery}", x.delivery, "{template}", x.template, "{connection}", x.connection, "{connector}", x.connector).Replace(path)
	}
}

var isolation = map[string]isolationCase{
	"whoami":          {none: true},
	"create-workflow": {none: true},
	"list-workflows":  {none: true},
	"validate-workflow": {path: at("/workflows/validate"), body: at(`{"graph":{"steps":[{"id":"a","type":"agent","agent":"{agent}"},
		{"id":"b","type":"connector","connector":"http","action":"request","connection":"{connection}","input":{"method":"GET","url":"https://example.com"}}]}}`), inside: true},
	"import-workflow":      {none: true},
	"get-workflow":         {path: at("/workflows/{wf}")},
	"update-workflow":      {path: at("/workflows/{wf}"), body: at(`{"name":"taken"}`)},
	"delete-workflow":      {path: at("/workflows/{wf}")},
	"put-graph":            {path: at("/workflows/{wf}/graph"), body: at(`{"graph":` + passing + `}`)},
	"export-workflow":      {path: at("/workflows/{wf}/export")},
	"list-versions":        {path: at("/workflows/{wf}/versions")},
	"get-version":          {path: at("/workflows/{wf}/versions/1")},
	"activate-version":     {path: at("/workflows/{wf}/versions/1/activate")},
	"archive-version":      {path: at("/workflows/{wf}/versions/1/archive")},
	"trigger-workflow":     {path: at("/workflows/{wf}/trigger"), body: at(`{"payload":{}}`)},
	"trigger-batch":        {path: at("/workflows/{wf}/trigger/batch"), body: at(`{"items":[{}]}`)},
	"list-runs":            {path: at("/runs?workflow_id={wf}"), inside: true},
	"bulk-runs":            {path: at("/runs/bulk"), body: at(`{"action":"cancel","ids":["{run}"]}`), inside: true},
	"get-run":              {path: at("/runs/{run}")},
	"trace-run":            {path: at("/runs/{run}/steps")},
	"list-iterations":      {path: at("/runs/{run}/steps/ask/iterations")},
	"list-run-events":      {path: at("/runs/{run}/events")},
	"stream-run":           {path: at("/runs/{run}/stream")},
	"why-run":              {path: at("/runs/{run}/why")},
	"pause-run":            {path: at("/runs/{run}/pause")},
	"resume-run":           {path: at("/runs/{run}/resume")},
	"cancel-run":           {path: at("/runs/{run}/cancel")},
	"rerun-run":            {path: at("/runs/{run}/rerun")},
	"approve-step":         {path: at("/runs/{run}/steps/ask/approve")},
	"reject-step":          {path: at("/runs/{run}/steps/ask/reject")},
	"create-trigger":       {path: at("/triggers"), body: at(`{"type":"event","event_type":"a","workflow_id":"{wf}"}`), inside: true},
	"list-triggers":        {path: at("/triggers?workflow_id={wf}"), inside: true},
	"get-trigger":          {path: at("/triggers/{trigger}")},
	"update-trigger":       {path: at("/triggers/{trigger}"), body: at(`{"enabled":false}`)},
	"delete-trigger":       {path: at("/triggers/{trigger}")},
	"list-deliveries":      {path: at("/triggers/{outbound}/deliveries")},
	"rotate-secret":        {path: at("/triggers/{outbound}/rotate-secret")},
	"redeliver":            {path: at("/deliveries/{delivery}/redeliver")},
	"list-ticks":           {path: at("/triggers/{trigger}/ticks")},
	"test-trigger":         {path: at("/triggers/{trigger}/test"), body: at(`{"event":{"type":"lead.created","data":{}}}`)},
	"send-event":           {none: true},
	"send-events":          {none: true},
	"list-events":          {path: at("/events?type=lead.created"), inside: true},
	"get-event":            {path: at("/events/{event}")},
	"list-templates":       {path: at("/templates"), inside: true},
	"publish-template":     {path: at("/templates"), body: at(`{"slug":"stolen","workflow_id":"{wf}","name":"Stolen"}`)},
	"get-template":         {path: at("/templates/{template}")},
	"install-template":     {path: at("/templates/{template}/workflows"), body: at(`{"inputs":{}}`)},
	"test-action":          {path: at("/connectors/http/actions/request/test"), body: at(`{"input":{"method":"GET","url":"http://127.0.0.1:1/"},"connection":"{connection}"}`), inside: true},
	"create-connection":    {none: true},
	"list-connections":     {path: at("/connections?connector=http"), inside: true},
	"get-connection":       {path: at("/connections/{connection}")},
	"update-connection":    {path: at("/connections/{connection}"), body: at(`{"name":"taken"}`)},
	"delete-connection":    {path: at("/connections/{connection}")},
	"authorize-connection": {path: at("/connections/{connection}/authorize")},
	"test-connection":      {path: at("/connections/{connection}/test")},
	"create-agent":         {none: true},
	"list-agents":          {none: true},
	"get-agent":            {path: at("/agents/{agent}")},
	"update-agent":         {path: at("/agents/{agent}"), body: at(`{"name":"taken"}`)},
	"delete-agent":         {path: at("/agents/{agent}")},
	"get-budgets":          {none: true},
	"put-budgets":          {path: at("/budgets"), body: at(`{"workflows":{"{wf}":{"per_day":{"usd":1}}}}`), inside: true},
	"test-agent":           {path: at("/agents/{agent}/test")},
	"create-api-key":       {none: true},
	"list-api-keys":        {none: true},
	"revoke-api-key":       {path: at(adminBase + "/api-keys/{key}")},
	"list-connectors":      {path: at("/connectors"), inside: true},
	"register-connector":   {none: true},
	"get-connector":        {path: at("/connectors/{connector}")},
	"update-connector":     {path: at("/connectors/{connector}"), body: at(`{"name":"taken"}`)},
	"refresh-connector":    {path: at("/connectors/{connector}/refresh")},
	"delete-connector":     {path: at("/connectors/{connector}")},
	"list-actions":         {path: at("/connectors/{connector}/actions")},
	"get-action":           {path: at("/connectors/{connector}/actions/get_pet")},
}

var requestIDPart = regexp.MustCompile(`"request_id":"[^"]*"`)

func TestAnotherWorkspacesThingsAreAsIfTheyHadNeverBeen(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		theirs := b.things(t)
		never := things{
			ids.New("wf"), ids.New("run"), "agent-of-nobody", ids.New("key"), ids.New("trg"), ids.New("evt"), ids.New("trg"), ids.New("dlv"), "template-of-nobody", ids.New("conn"), "connector-of-nobody",
		}
		stranger := b.newKey(t, b.workspace(t), models.ScopeAll)
		for _, r := range b.api.routes() {
			c, ok := isolation[r.name]
			require.Truef(t, ok, "%s has no case: what does it answer about another workspace's things?", r.name)
			require.Truef(t, !c.none || !strings.Contains(r.path, "{") || strings.Contains(r.path, "/connectors/"), "%s takes an id", r.name)
			if c.none {
				continue
			}
			ask := func(x things) answer {
				body := ""
				if c.body != nil {
					body = c.body(x)
				}
				return b.as(t, stranger, r.method, c.path(x), body)
			}
			got, want := ask(theirs), ask(never)
			blank := func(a answer, x things) string {
				s := requestIDPart.ReplaceAllString(a.body, "")
				return strings.NewReplacer(x.workflow, "ID", x.run, "ID", x.agent, "ID", x.key, "ID", x.trigger, "ID", x.event, "ID", x.outbound, "ID", x.delivery, "ID", x.template, "ID", x.connection, "ID", x.connector, "ID").Replace(s)
			}
			if !c.inside {
				require.Equal(t, 404, got.status, r.name)
				require.Equal(t, requestIDPart.ReplaceAllString(want.body, ""), requestIDPart.ReplaceAllString(got.body, ""), r.name)
			}
			require.Equal(t, want.status, got.status, r.name)
			require.Empty(t, cmp.Diff(blank(want, never), blank(got, theirs)), r.name)
			for _, name := range []string{"Content-Type", "Etag", "Location"} {
				require.Equal(t, want.header.Get(name), got.header.Get(name), r.name)
			}
		}
		require.Equal(t, "active waiting true Pets", theirs.state(t, b), "nothing of theirs was touched")
		for name := range isolation {
			require.Truef(t, slices.ContainsFunc(b.api.routes(), func(r route) bool { return r.name == name }), "%s is no route any more", name)
		}
	})
}

// things makes one of everything in the bundle's workspace.
func (b *bundle) things(t *testing.T) things {
	t.Helper()
	x := things{workflow: b.workflow(t, waiting), agent: "robot"}
	got := b.call(t, "POST", "/workflows/"+x.workflow+"/trigger", "")
	require.Equal(t, 202, got.status, got.body)
	x.run = got.str(t, "id")
	got = b.call(t, "POST", "/agents", `{"slug":"robot","kind":"http","config":{"url":"https://example.com"}}`)
	require.Equal(t, 201, got.status, got.body)
	got = b.call(t, "POST", adminBase+"/api-keys", `{"name":"second"}`)
	require.Equal(t, 201, got.status, got.body)
	x.key = got.str(t, "id")
	got = b.call(t, "POST", "/triggers", `{"type":"event","event_type":"lead.created","filter":"false","workflow_id":"`+x.workflow+`"}`)
	require.Equal(t, 201, got.status, got.body)
	x.trigger = got.str(t, "id")
	got = b.call(t, "POST", "/events", `{"type":"lead.created","data":{}}`)
	require.Equal(t, 202, got.status, got.body)
	x.event = got.str(t, "id")
	got = b.call(t, "POST", "/triggers", `{"type":"event","event_type":"nobody.sends","target_type":"webhook","url":"https://example.com/hook"}`)
	require.Equal(t, 201, got.status, got.body)
	x.outbound, x.delivery = got.str(t, "id"), ids.New(models.DeliveryPrefix)
	now := time.Now().UTC()
	require.NoError(t, b.store.For(b.ws).AddDelivery(t.Context(), &models.Delivery{
		ID: models.DeliveryID(x.delivery), TriggerID: models.TriggerID(x.outbound), EventID: models.EventID(x.event),
		Status: models.DeliveryPending, AttendAt: &now, CreatedAt: now,
	}))
	got = b.call(t, "POST", "/connections", `{"connector":"http","name":"`+ids.New("robot")+`","config":{"auth":{"type":"oauth2","client_id":"robot","authorization_url":"http://127.0.0.1:1/authorize","token_url":"http://127.0.0.1:1/token"},"base_url":"http://127.0.0.1:1"},"secrets":{"client_secret":"s3cret-of-robots"}}`)
	require.Equal(t, 201, got.status, got.body)
	x.connection = got.str(t, "id")
	x.template = "robot"
	got = b.call(t, "POST", "/templates", `{"slug":"robot","workflow_id":"`+x.workflow+`","name":"Pattern"}`)
	require.Equal(t, 201, got.status, got.body)
	x.connector = ids.New("pets")
	got = b.call(t, "POST", "/connectors", `{"slug":"`+x.connector+`","kind":"openapi","server":"https://example.com","document":`+petDocument+`}`)
	require.Equal(t, 201, got.status, got.body)
	return x
}

func (x things) state(t *testing.T, b *bundle) string {
	t.Helper()
	return b.call(t, "GET", "/workflows/"+x.workflow, "").str(t, "status") + " " + b.call(t, "GET", "/runs/"+x.run, "").str(t, "status") + " " +
		sprint(b.call(t, "GET", "/triggers/"+x.trigger, "").get(t, "enabled")) + " " + b.call(t, "GET", "/connectors/"+x.connector, "").str(t, "name")
}
