package hubspot_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/connectorstest"
	"github.com/10ex/flows/connectors/hubspot"
	"github.com/10ex/flows/connectors/rest"
	"github.com/10ex/flows/internal/egress"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func setup(t *testing.T) *rest.Connector {
	t.Helper()
	client, err := egress.New(egress.Config{AllowPrivate: true})
	require.NoError(t, err)
	t.Cleanup(client.CloseIdleConnections)
	return hubspot.New(client)
}

var account = connectorstest.Connect("hubspot", connectors.Auth{Type: connectors.AuthBearer}, "")

const (
	record = `{"id":"51","properties":{"email":"ada@example.com"},"createdAt":"2026-01-01T00:00:00Z","updatedAt":"2026-01-02T00:00:00Z","archived":false}`
	given  = `"id":"51","properties":{"email":"ada@example.com"},"created_at":"2026-01-01T00:00:00Z","updated_at":"2026-01-02T00:00:00Z"`
)

// actions is each action with an input, what HubSpot is asked, what it answers and what
// is made of that.
var actions = []struct {
	name, input, asked string
	status             int
	answer, want       string
}{
	{"create_contact", `{"properties":{"email":"ada@example.com"},"company_id":"9"}`,
		`POST /crm/v3/objects/contacts? {"associations":[{"to":{"id":"9"},"types":[{"associationCategory":"HUBSPOT_DEFINED","associationTypeId":279}]}],"properties":{"email":"ada@example.com"}}`,
		201, record, `{` + given + `}`},
	{"update_contact", `{"id":"ada@example.com","id_property":"email","properties":{"phone":""}}`,
		`PATCH /crm/v3/objects/contacts/ada@example.com?idProperty=email {"properties":{"phone":""}}`, 200, record, `{` + given + `}`},
	{"upsert_contact", `{"id":"ada@example.com","properties":{"firstname":"Ada"}}`,
		`POST /crm/v3/objects/contacts/batch/upsert? {"inputs":[{"id":"ada@example.com","idProperty":"email","properties":{"firstname":"Ada"}}]}`,
		200, `{"status":"COMPLETE","results":[` + strings.Replace(record, "{", `{"new":true,`, 1) + `]}`, `{` + given + `,"created":true}`},
	{"get_contact", `{"id":"51","return_properties":["email","phone"]}`, `GET /crm/v3/objects/contacts/51?properties=email%2Cphone `, 200, record, `{"found":true,` + given + `}`},
	{"get_contact", `{"id":"52"}`, `GET /crm/v3/objects/contacts/52? `, 404, `{"status":"error","category":"OBJECT_NOT_FOUND"}`,
		`{"found":false,"id":null,"properties":{},"created_at":null,"updated_at":null}`},
	{"search_contacts", `{"filters":[{"property":"email","value":"ada@example.com"},{"property":"x","operator":"IN","values":["a"]}],"query":"ada","sort":"-createdate","return_properties":["email"],"limit":1,"after":"7"}`,
		`POST /crm/v3/objects/contacts/search? {"after":"7","filterGroups":[{"filters":[{"operator":"EQ","propertyName":"email","value":"ada@example.com"},{"operator":"IN","propertyName":"x","values":["a"]}]}],"limit":1,"properties":["email"],"query":"ada","sorts":[{"direction":"DESCENDING","propertyName":"createdate"}]}`,
		200, `{"total":3,"results":[` + record + `],"paging":{"next":{"after":"8"}}}`, `{"items":[{` + given + `}],"total":3,"after":"8"}`},
	{"create_company", `{"properties":{"name":"Acme"}}`, `POST /crm/v3/objects/companies? {"associations":[],"properties":{"name":"Acme"}}`, 201, record, `{` + given + `}`},
	{"update_company", `{"id":"51","properties":{"name":"Acme"}}`, `PATCH /crm/v3/objects/companies/51? {"properties":{"name":"Acme"}}`, 200, record, `{` + given + `}`},
	{"upsert_company", `{"id":"x","id_property":"crm_id","properties":{"name":"Acme"}}`,
		`POST /crm/v3/objects/companies/batch/upsert? {"inputs":[{"id":"x","idProperty":"crm_id","properties":{"name":"Acme"}}]}`, 200, `{"results":[` + record + `]}`, `{` + given + `,"created":false}`},
	{"get_company", `{"id":"51"}`, `GET /crm/v3/objects/companies/51? `, 200, record, `{"found":true,` + given + `}`},
	{"search_companies", `{}`, `POST /crm/v3/objects/companies/search? {}`, 200, `{"results":[]}`, `{"items":[],"total":null,"after":null}`},
	{"create_deal", `{"properties":{"dealname":"Acme","amount":100.5},"contact_id":"1","company_id":"2"}`,
		`POST /crm/v3/objects/deals? {"associations":[{"to":{"id":"1"},"types":[{"associationCategory":"HUBSPOT_DEFINED","associationTypeId":3}]},{"to":{"id":"2"},"types":[{"associationCategory":"HUBSPOT_DEFINED","associationTypeId":341}]}],"properties":{"amount":100.5,"dealname":"Acme"}}`,
		201, record, `{` + given + `}`},
	{"update_deal", `{"id":"51","properties":{"dealstage":"closedwon"}}`, `PATCH /crm/v3/objects/deals/51? {"properties":{"dealstage":"closedwon"}}`, 200, record, `{` + given + `}`},
	{"upsert_deal", `{"id":"x","id_property":"order_id","properties":{"amount":1}}`, `POST /crm/v3/objects/deals/batch/upsert? {"inputs":[{"id":"x","idProperty":"order_id","properties":{"amount":1}}]}`,
		201, `{"results":[` + record + `]}`, ``},
	{"get_deal", `{"id":"51"}`, `GET /crm/v3/objects/deals/51? `, 200, record, ``},
	{"search_deals", `{"sort":"amount"}`, `POST /crm/v3/objects/deals/search? {"sorts":[{"direction":"ASCENDING","propertyName":"amount"}]}`, 200, `{"total":0,"results":[]}`, `{"items":[],"total":0,"after":null}`},
	{"create_note", `{"body":"Hi","at":"2026-01-01T00:00:00Z","deal_id":"3"}`,
		`POST /crm/v3/objects/notes? {"associations":[{"to":{"id":"3"},"types":[{"associationCategory":"HUBSPOT_DEFINED","associationTypeId":214}]}],"properties":{"hs_note_body":"Hi","hs_timestamp":"2026-01-01T00:00:00Z"}}`,
		201, record, `{` + given + `}`},
	{"add_to_list", `{"list_id":"7","record_ids":["51","52"]}`, `PUT /crm/v3/lists/7/memberships/add? ["51","52"]`, 200,
		`{"recordsIdsAdded":["51"],"recordIdsRemoved":[],"recordIdsMissing":["52"]}`, `{"changed":["51"],"missing":["52"]}`},
	{"remove_from_list", `{"list_id":"7","record_ids":["51"]}`, `PUT /crm/v3/lists/7/memberships/remove? ["51"]`, 200, `{"recordIdsRemoved":["51"]}`, `{"changed":["51"],"missing":[]}`},
	{"associate", `{"from_type":"contacts","from_id":"1","to_type":"deals","to_id":"2"}`, `PUT /crm/v4/objects/contacts/1/associations/default/deals/2? `, 200, `{"status":"COMPLETE"}`, `{"associated":true}`},
}

func TestContract(t *testing.T) {
	t.Parallel()
	c := setup(t)
	var cases []connectorstest.Case
	for _, a := range actions {
		cases = append(cases, connectorstest.Case{
			Name: fmt.Sprintf("%s answered %d", a.name, a.status), Action: a.name, Input: a.input, Want: a.want,
			Peer: connectorstest.NewJSON(t, a.status, a.answer), Connect: account,
		})
	}
	bad := func(name, action, input, code string, status int, body string) {
		cases = append(cases, connectorstest.Case{Name: name, Action: action, Input: input, WantCode: code, Peer: connectorstest.NewJSON(t, status, body), Connect: account})
	}
	upsert := `{"id":"ada@example.com","properties":{"firstname":"Ada"}}`
	bad("a duplicate", "create_contact", `{"properties":{"email":"x"}}`, "http_409", 409, `{"message":"Contact already exists. Existing ID: 51","category":"CONFLICT"}`)
	bad("one that failed among many", "upsert_contact", upsert, "hubspot_refused", 207, `{"status":"COMPLETE","results":[],"errors":[{"message":"Property values were not valid"}]}`)
	bad("no result", "upsert_contact", upsert, "bad_response", 200, `{"results":[]}`)
	bad("no id", "update_deal", `{"id":"51","properties":{"x":1}}`, "bad_response", 200, `{}`)
	bad("no results", "search_deals", `{}`, "bad_response", 200, `{}`)
	bad("a note on nothing", "create_note", `{"body":"Hi","at":"2026-01-01T00:00:00Z"}`, "input_invalid", 200, record)
	bad("a path as id", "get_deal", `{"id":".."}`, "input_invalid", 200, record)
	bad("no properties", "create_deal", `{"properties":{}}`, "input_invalid", 200, record)
	arrived := make(chan struct{})
	hanging := connectorstest.NewPeer(t, connectorstest.Hang(arrived))
	connectorstest.Run(t, c, cases, connectorstest.Hanging{Action: "upsert_contact", Input: upsert, Arrived: arrived, Connection: account(hanging.URL)})

	connectorstest.RunTester(t, c, []connectorstest.TestCase{
		{Name: "works", Peer: connectorstest.NewJSON(t, 200, `{"results":[]}`), Connect: account},
		{Name: "revoked", Peer: connectorstest.NewJSON(t, 401, `{"message":"expired","category":"EXPIRED_AUTHENTICATION"}`), Connect: account, WantCode: "http_401"},
	})
}

func TestWhatIsSent(t *testing.T) {
	t.Parallel()
	c := setup(t)
	for _, a := range actions {
		p := connectorstest.NewJSON(t, a.status, a.answer)
		_, err := c.Do(t.Context(), connectors.Request{Action: a.name, Input: []byte(a.input), Connection: account(p.URL), IdempotencyKey: "run_1:add"})
		require.NoError(t, err)
		require.Len(t, p.Received(), 1)
		got := p.Received()[0]
		require.Equal(t, a.asked, fmt.Sprintf("%s %s?%s %s", got.Method, got.Path, got.Query, got.Body))
		require.Equal(t, http.Header{"Authorization": {"Bearer " + connectorstest.Canary}}, http.Header{"Authorization": got.Header["Authorization"]})
	}
}
