package tenex_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/connectorstest"
	"github.com/10ex/flows/connectors/rest"
	"github.com/10ex/flows/connectors/tenex"
	"github.com/10ex/flows/internal/egress"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func setup(t *testing.T) *rest.Connector {
	t.Helper()
	client, err := egress.New(egress.Config{AllowPrivate: true})
	require.NoError(t, err)
	t.Cleanup(client.CloseIdleConnections)
	return tenex.New(client)
}

var platform = connectorstest.Connect("tenex", connectors.Auth{Type: connectors.AuthTenex}, "")

const lead = `{"id":"l1","email":"ada@example.com","score":81}`

// actions is each action with an input, what the platform is asked, what it answers and
// what is made of that.
var actions = []struct {
	name, input, asked, answer, want string
	status                           int
}{
	{"crm.create_lead", `{"email":"ada@example.com","score":81}`, `POST /api/v1/crm/leads? {"email":"ada@example.com","score":81}`, lead, `{"lead_id":"l1","lead":` + lead + `}`, 201},
	{"crm.upsert_lead", `{"email":"ada@example.com"}`, `POST /api/v1/crm/leads/upsert? {"email":"ada@example.com"}`, `{"data":` + lead + `}`, `{"lead_id":"l1","lead":` + lead + `}`, 200},
	{"crm.update_lead", `{"lead_id":"a/b","status":null}`, `PATCH /api/v1/crm/leads/a/b? {"status":null}`, `{"status":null}`, `{"lead_id":"a/b","lead":{"status":null}}`, 200},
	{"crm.get_lead", `{"lead_id":10000000000000001}`, `GET /api/v1/crm/leads/10000000000000001? `, lead, `{"lead_id":"l1","lead":` + lead + `}`, 200},
	{"crm.find_leads", `{"status":"MQL","min_score":50}`, `GET /api/v1/crm/leads?min_score=50&status=MQL `, `{"items":[` + lead + `],"next_cursor":"a=+","total":9}`, `{"items":[` + lead + `],"next_cursor":"a=+"}`, 200},
	{"crm.enrich_lead", `{"lead_id":"l1"}`, `POST /api/v1/crm/leads/l1/enrich? {}`, lead, `{"lead_id":"l1","lead":` + lead + `}`, 200},
	{"crm.add_note", `{"lead_id":"l1","text":"Hi"}`, `POST /api/v1/crm/leads/l1/notes? {"text":"Hi"}`, `{"id":7}`, `{"note_id":"7","note":{"id":7}}`, 201},
	{"crm.create_task", `{"lead_id":"l1","title":"Call"}`, `POST /api/v1/crm/leads/l1/tasks? {"title":"Call"}`, `{"id":"t1"}`, `{"task_id":"t1","task":{"id":"t1"}}`, 201},
	{"crm.list_segments", `{}`, `GET /api/v1/crm/lists? `, `{"items":[],"next_cursor":null}`, `{"items":[],"next_cursor":null}`, 200},
	{"crm.add_to_segment", `{"lead_id":"l1","segment_id":"s1"}`, `POST /api/v1/crm/lists/s1/leads? {"lead_id":"l1"}`, ``, `{"lead_id":"l1","segment_id":"s1","changed":true}`, 204},
	{"crm.add_to_segment", `{"lead_id":"l1","segment_id":"s1"}`, `POST /api/v1/crm/lists/s1/leads? {"lead_id":"l1"}`, `{"detail":"is in it","code":"already_member"}`, `{"lead_id":"l1","segment_id":"s1","changed":false}`, 409},
	{"crm.remove_from_segment", `{"lead_id":"l1","segment_id":"s1"}`, `DELETE /api/v1/crm/lists/s1/leads/l1? `, ``, `{"lead_id":"l1","segment_id":"s1","changed":true}`, 204},
	{"crm.remove_from_segment", `{"lead_id":"l1","segment_id":"s1"}`, `DELETE /api/v1/crm/lists/s1/leads/l1? `, `{"detail":"no"}`, `{"lead_id":"l1","segment_id":"s1","changed":false}`, 404},
	{"sequences.list", `{"limit":5}`, `GET /api/v1/marketing/sequences?limit=5 `, `{"items":[{"id":"q"}]}`, `{"items":[{"id":"q"}],"next_cursor":null}`, 200},
	{"sequences.add_lead", `{"lead_id":1,"sequence_id":"q","variables":{"x":1}}`, `POST /api/v1/marketing/sequences/q/leads? {"lead_id":1,"variables":{"x":1}}`, `{}`, `{"lead_id":"1","sequence_id":"q","changed":true}`, 200},
	{"sequences.add_lead", `{"lead_id":1,"sequence_id":"q"}`, `POST /api/v1/marketing/sequences/q/leads? {"lead_id":1}`, `{"code":"already_enrolled"}`, `{"lead_id":"1","sequence_id":"q","changed":false}`, 409},
	{"sequences.remove_lead", `{"lead_id":"l1","sequence_id":"q"}`, `DELETE /api/v1/marketing/sequences/q/leads/l1? `, ``, `{"lead_id":"l1","sequence_id":"q","changed":true}`, 204},
	{"voice.start_call", `{"lead_id":"l1","objective":"book a demo"}`, `POST /api/v1/voice/calls? {"lead_id":"l1","objective":"book a demo"}`, `{"id":"c1"}`, `{"call_id":"c1","call":{"id":"c1"}}`, 202},
}

func answers(t *testing.T, status int, body string) *connectorstest.Peer {
	t.Helper()
	if body == "" {
		return connectorstest.NewPeer(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) })
	}
	return connectorstest.NewJSON(t, status, body)
}

func TestContract(t *testing.T) {
	t.Parallel()
	c := setup(t)
	var cases []connectorstest.Case
	for _, a := range actions {
		cases = append(cases, connectorstest.Case{
			Name: fmt.Sprintf("%s answered %d", a.name, a.status), Action: a.name, Input: a.input, Want: a.want, Peer: answers(t, a.status, a.answer), Connect: platform,
		})
	}
	bad := func(name, action, input, code string, status int, body string) {
		cases = append(cases, connectorstest.Case{Name: name, Action: action, Input: input, WantCode: code, Peer: answers(t, status, body), Connect: platform})
	}
	ids := `{"lead_id":"l1","sequence_id":"q"}`
	bad("a duplicate", "crm.create_lead", `{"email":"ada@example.com"}`, "http_409", 409, `{"detail":"exists","code":"duplicate_email"}`)
	bad("a sequence that is paused", "sequences.add_lead", ids, "http_409", 409, `{"detail":"is paused","code":"invalid_state"}`)
	bad("a sequence that is not there", "sequences.add_lead", ids, "http_404", 404, `{"detail":"not found"}`)
	bad("a field that is wrong", "crm.create_lead", `{"phone":"x"}`, "http_422", 422, `{"detail":[{"loc":["body","phone"],"msg":"is no number","type":"value"}]}`)
	bad("no lead in the answer", "crm.get_lead", `{"lead_id":"l1"}`, "bad_response", 200, `[]`)
	bad("no id in the answer", "crm.create_lead", `{"phone":"x"}`, "bad_response", 200, `{}`)
	bad("no list in the answer", "crm.find_leads", `{}`, "bad_response", 200, `{}`)
	bad("nothing made", "crm.add_note", `{"lead_id":"l1","text":"x"}`, "bad_response", 200, `{}`)
	bad("an empty lead", "crm.create_lead", `{}`, "input_invalid", 200, lead)
	bad("a path as id", "crm.get_lead", `{"lead_id":".."}`, "input_invalid", 200, lead)
	bad("an unknown field", "crm.update_lead", `{"lead_id":"l1","colour":"red"}`, "input_invalid", 200, lead)
	arrived := make(chan struct{})
	hanging := connectorstest.NewPeer(t, connectorstest.Hang(arrived))
	connectorstest.Run(t, c, cases, connectorstest.Hanging{Action: "sequences.add_lead", Input: ids, Arrived: arrived, Connection: platform(hanging.URL)})

	connectorstest.RunTester(t, c, []connectorstest.TestCase{
		{Name: "works", Peer: connectorstest.NewJSON(t, 200, `{"items":[],"next_cursor":null}`), Connect: platform},
		{Name: "revoked", Peer: connectorstest.NewJSON(t, 401, `{"detail":"no"}`), Connect: platform, WantCode: "http_401"},
		{Name: "no scope", Peer: connectorstest.NewJSON(t, 403, `{"detail":"no","code":"forbidden_scope"}`), Connect: platform, WantCode: "http_403"},
	})
}

func TestWhatIsSent(t *testing.T) {
	t.Parallel()
	c := setup(t)
	for _, a := range actions {
		p := answers(t, a.status, a.answer)
		_, err := c.Do(t.Context(), connectors.Request{Action: a.name, Input: []byte(a.input), Connection: platform(p.URL), IdempotencyKey: "run_1:add"})
		require.NoError(t, err)
		require.Len(t, p.Received(), 1)
		got := p.Received()[0]
		require.Equal(t, a.asked, fmt.Sprintf("%s %s?%s %s", got.Method, got.Path, got.Query, got.Body))
		require.Equal(t, "Bearer "+connectorstest.Canary, got.Header.Get("Authorization"))
		require.Equal(t, "run_1:add", got.Header.Get("Idempotency-Key"))
	}
}
