package googlesheets_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/connectorstest"
	"github.com/10ex/flows/connectors/googlesheets"
	"github.com/10ex/flows/connectors/rest"
	"github.com/10ex/flows/internal/egress"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func setup(t *testing.T) *rest.Connector {
	t.Helper()
	client, err := egress.New(egress.Config{AllowPrivate: true})
	require.NoError(t, err)
	t.Cleanup(client.CloseIdleConnections)
	return googlesheets.New(client)
}

var (
	auth   = connectors.Auth{Type: connectors.AuthOAuth2, Grant: "authorization_code"}
	google = connectorstest.Connect("google_sheets", auth, `{"spreadsheet_id":"s1"}`)
	other  = connectorstest.Connect("google_sheets", connectors.Auth{Type: connectors.AuthBearer}, "")
)

const leads = `[["Email","Name","","Score"],["Ada@example.com","Ada",null,7],["bo@example.com","Bo"],["CY@example.com"]]`

// spreadsheet is a peer that has values from C5 on, and tells of writes what Sheets does.
func spreadsheet(t *testing.T, values string) *connectorstest.Peer {
	t.Helper()
	return connectorstest.NewPeer(t, func(w http.ResponseWriter, r *http.Request) {
		updated := `{"spreadsheetId":"s1","updatedRange":"'My leads'!C9:F9","updatedRows":1,"updatedColumns":4,"updatedCells":4}`
		switch {
		case !strings.HasPrefix(r.URL.Path, "/v4/spreadsheets/s1"):
			connectorstest.WriteJSON(w, 404, `{"error":{"code":404,"message":"Requested entity was not found.","status":"NOT_FOUND"}}`)
		case r.Method == http.MethodGet && values == "":
			connectorstest.WriteJSON(w, 200, `{"range":"'My leads'!C5:F1000","majorDimension":"ROWS"}`)
		case r.Method == http.MethodGet:
			connectorstest.WriteJSON(w, 200, `{"range":"'My leads'!C5:F1000","majorDimension":"ROWS","values":`+values+`}`)
		case strings.HasSuffix(r.URL.Path, ":append"):
			connectorstest.WriteJSON(w, 200, `{"spreadsheetId":"s1","tableRange":"'My leads'!C5:F8","updates":`+updated+`}`)
		case strings.HasSuffix(r.URL.Path, ":clear"):
			connectorstest.WriteJSON(w, 200, `{"spreadsheetId":"s1","clearedRange":"'My leads'!C5:F8"}`)
		default:
			connectorstest.WriteJSON(w, 200, updated)
		}
	})
}

func TestContract(t *testing.T) {
	t.Parallel()
	c := setup(t)
	full, empty := spreadsheet(t, leads), spreadsheet(t, "")
	good := func(name, action, input, want string) connectorstest.Case {
		return connectorstest.Case{Name: name, Action: action, Input: input, Want: want, Peer: full, Connect: google, ReadsFirst: true}
	}
	bad := func(name, action, input, code string, p *connectorstest.Peer) connectorstest.Case {
		return connectorstest.Case{Name: name, Action: action, Input: input, WantCode: code, Peer: p, Connect: google, ReadsFirst: true}
	}
	wrote := `{"range":"'My leads'!C9:F9","rows":1,"cells":4}`
	nobody := `{"found":false,"number":null,"row":null}`
	arrived := make(chan struct{})
	hanging := connectorstest.NewPeer(t, connectorstest.Hang(arrived))

	connectorstest.Run(t, c, []connectorstest.Case{
		good("append", "append_row", `{"range":"Leads!A:D","values":["x",1,true,null]}`, wrote),
		good("append by name", "append_row", `{"range":"Leads","row":{"Name":"Di"}}`, wrote),
		good("append many", "append_rows", `{"range":"Leads","values":[["x"],["y"]],"raw":true}`, wrote),
		good("update", "update_range", `{"range":"Leads!A2","values":[["x"]]}`, wrote),
		good("clear", "clear_range", `{"range":"Leads!A2"}`, `{"range":"'My leads'!C5:F8"}`),
		good("read", "read_range", `{"range":"Leads"}`, `{"range":"'My leads'!C5:F1000","values":`+leads+`,"rows":[
			{"Email":"Ada@example.com","Name":"Ada","Score":7},{"Email":"bo@example.com","Name":"Bo","Score":null},{"Email":"CY@example.com","Name":null,"Score":null}]}`),
		good("read without names", "read_range", `{"range":"Leads","header":false}`, `{"range":"'My leads'!C5:F1000","values":`+leads+`,"rows":[]}`),
		{Name: "read nothing", Action: "read_range", Input: `{"range":"Leads"}`, Peer: empty, Connect: google, Want: `{"range":"'My leads'!C5:F1000","values":[],"rows":[]}`},
		good("look up", "lookup_row", `{"range":"Leads","column":"Email","value":" ada@EXAMPLE.com"}`, `{"found":true,"number":6,"row":{"Email":"Ada@example.com","Name":"Ada","Score":7}}`),
		good("look up a number", "lookup_row", `{"range":"Leads","column":"Score","value":7}`, `{"found":true,"number":6,"row":{"Email":"Ada@example.com","Name":"Ada","Score":7}}`),
		good("look up nobody", "lookup_row", `{"range":"Leads","column":"Score","value":"8"}`, nobody),
		good("change a row", "upsert_row", `{"range":"Leads","column":"Email","row":{"Email":"cy@example.com","Score":9}}`, `{"range":"'My leads'!C9:F9","created":false}`),
		good("make a row", "upsert_row", `{"range":"Leads","column":"Email","row":{"Email":"di@example.com"}}`, `{"range":"'My leads'!C9:F9","created":true}`),
		{Name: "another spreadsheet", Action: "clear_range", Input: `{"spreadsheet_id":"s1","range":"Leads"}`, Peer: full, Connect: other},

		bad("no such spreadsheet", "clear_range", `{"spreadsheet_id":"s2","range":"Leads"}`, "http_404", full),
		bad("values and row", "append_row", `{"range":"Leads","values":[1],"row":{}}`, "input_invalid", full),
		bad("neither", "append_row", `{"range":"Leads"}`, "input_invalid", full),
		bad("no such column", "append_row", `{"range":"Leads","row":{"Phone":1}}`, "unknown_column", full),
		bad("no such column to look in", "lookup_row", `{"range":"Leads","column":"","value":1}`, "input_invalid", full),
		bad("no such column to compare", "upsert_row", `{"range":"Leads","column":"Phone","row":{"Phone":1}}`, "unknown_column", full),
		bad("no value to compare", "upsert_row", `{"range":"Leads","column":"Email","row":{"Name":"x"}}`, "input_invalid", full),
		bad("no first row", "lookup_row", `{"range":"Leads","column":"Email","value":1}`, "no_header", empty),
		bad("a path as range", "clear_range", `{"range":".."}`, "input_invalid", full),
		bad("not what Sheets says", "update_range", `{"range":"A1","values":[[1]]}`, "bad_response", connectorstest.NewJSON(t, 200, `{}`)),
		{Name: "no spreadsheet", Action: "clear_range", Input: `{"range":"Leads"}`, Peer: full, Connect: other, WantCode: "input_invalid"},
	}, connectorstest.Hanging{Action: "update_range", Input: `{"range":"A1","values":[[1]]}`, Arrived: arrived, Connection: google(hanging.URL)})

	connectorstest.RunTester(t, c, []connectorstest.TestCase{
		{Name: "a spreadsheet", Peer: full, Connect: google},
		{Name: "a spreadsheet that is not there", Peer: connectorstest.NewJSON(t, 404, `{}`), Connect: google, WantCode: "http_404"},
		{Name: "no spreadsheet", Peer: connectorstest.NewJSON(t, 404, `{}`), Connect: other},
		{Name: "no token", Peer: connectorstest.NewJSON(t, 401, `{}`), Connect: other, WantCode: "http_401"},
	})
}

func TestWhatIsSent(t *testing.T) {
	t.Parallel()
	c, p := setup(t), spreadsheet(t, leads)
	last := func(action, input string) string {
		p.Reset()
		_, err := c.Do(t.Context(), connectors.Request{Action: action, Input: []byte(input), Connection: google(p.URL)})
		require.NoError(t, err)
		got := p.Received()[len(p.Received())-1]
		return fmt.Sprintf("%s %s?%s %s", got.Method, got.Path, got.Query, got.Body)
	}
	for input, want := range map[[2]string]string{
		{"append_row", `{"range":"A/B!A:D","values":["=1+1",10000000000000001]}`}:                     `POST /v4/spreadsheets/s1/values/A/B!A:D:append?insertDataOption=INSERT_ROWS&valueInputOption=USER_ENTERED {"values":[["=1+1",10000000000000001]]}`,
		{"append_row", `{"range":"L","row":{"Score":1,"Email":"x"},"raw":true}`}:                      `POST /v4/spreadsheets/s1/values/L:append?insertDataOption=INSERT_ROWS&valueInputOption=RAW {"values":[["x",null,null,1]]}`,
		{"upsert_row", `{"range":"L","column":"Email","row":{"Email":"cy@example.com","Name":"Cy"}}`}: `PUT /v4/spreadsheets/s1/values/'My leads'!C8?valueInputOption=USER_ENTERED {"values":[["cy@example.com","Cy",null,null]]}`,
		{"read_range", `{"range":"L","formatted":true}`}:                                              `GET /v4/spreadsheets/s1/values/L?dateTimeRenderOption=FORMATTED_STRING&majorDimension=ROWS&valueRenderOption=FORMATTED_VALUE `,
	} {
		require.Equal(t, want, last(input[0], input[1]))
	}
}
