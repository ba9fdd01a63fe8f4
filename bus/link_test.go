package bus

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/internal/seal"
	"github.com/10ex/flows/models"
)

// linking is a bus that knows where people reach it, with keys of its own.
func linking(t *testing.T, keys ...byte) *Bus {
	t.Helper()
	secrets := make([][]byte, len(keys))
	for i, k := range keys {
		secrets[i] = bytes.Repeat([]byte{k}, seal.KeySize)
	}
	ring, err := seal.New(secrets...)
	require.NoError(t, err)
	return &Bus{deps: Deps{Seal: ring}, cfg: Config{LinkFunc: func(token string) string { return "https://flows.example/" + token }}}
}

func approvalRequested(data string) *models.Event {
	run := models.RunID(ids.New(models.RunPrefix))
	return &models.Event{
		WorkspaceID: models.WorkspaceID(ids.New(models.WorkspacePrefix)), RunID: &run, Source: models.SourceFlows, Type: models.FlowApprovalRequested,
		Data: json.RawMessage(data), OccurredAt: time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC),
	}
}

func TestLinksOutliveARotationAsLongAsTheOlderKey(t *testing.T) {
	t.Parallel()
	e := approvalRequested(`{"step_id":"ask","attempt":3,"timeout":"2026-05-04T10:00:00.5Z"}`)
	token, address := linking(t, 1).link(e)
	require.Equal(t, "https://flows.example/"+token, address)
	again, _ := linking(t, 1).link(e)
	require.Equal(t, token, again, "it need not be kept")
	want := &Question{
		Workspace: e.WorkspaceID, Run: *e.RunID, Step: "ask", Attempt: 3, Until: time.Date(2026, 5, 4, 10, 0, 1, 0, time.UTC),
	}
	for _, keys := range [][]byte{{1}, {2, 1}, {3, 2, 1}} {
		got, err := linking(t, keys...).ReadLink(token)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	_, err := linking(t, 2).ReadLink(token)
	require.ErrorIs(t, err, models.ErrNotFound)
}

func TestOnlyQuestionsOfRunsHaveLinks(t *testing.T) {
	t.Parallel()
	b := linking(t, 1)
	for name, change := range map[string]func(*models.Event){
		"another type":   func(e *models.Event) { e.Type = models.FlowApprovalResolved },
		"another source": func(e *models.Event) { e.Source = "crm" },
		"no run":         func(e *models.Event) { e.RunID = nil },
		"no step":        func(e *models.Event) { e.Data = json.RawMessage(`{}`) },
		"no data":        func(e *models.Event) { e.Data = json.RawMessage(`[]`) },
	} {
		e := approvalRequested(`{"step_id":"ask"}`)
		change(e)
		token, address := b.link(e)
		require.Empty(t, token+address, name)
	}
	b.cfg.LinkFunc = func(string) string { return "" }
	token, _ := b.link(approvalRequested(`{"step_id":"ask"}`))
	require.Empty(t, token, "nobody knows where people reach it")
}

func TestLinksAreAddedToWhatGoesOutAndTakenFromWhatIsKept(t *testing.T) {
	t.Parallel()
	require.JSONEq(t, `{"a":1,"link":"https://x/\u003c"}`, string(linked(json.RawMessage(` {"a":1} `), "https://x/<")))
	require.Equal(t, `{"a":1}`, string(linked(json.RawMessage(`{"a":1}`), "")))
	require.Equal(t, `[1]`, string(linked(json.RawMessage(`[1]`), "https://x")))

	event := map[string]any{"data": map[string]any{"a": 1}}
	vars := map[string]any{"event": event, "trigger": map[string]any{"event": event}}
	with := withLink(vars, "https://x")
	require.Equal(t, "https://x", with["event"].(map[string]any)["data"].(map[string]any)["link"])
	require.Equal(t, with["event"], with["trigger"].(map[string]any)["event"])
	require.Equal(t, map[string]any{"data": map[string]any{"a": 1}}, event, "filters and keys of others see none")

	token := strings.Repeat("abcd", 20)
	require.Equal(t, "you sent [redacted]\" and [redacted]", unlinked("you sent "+token+"\" and "+token[:40], token))
	require.Equal(t, "nothing", unlinked("nothing", ""))
}
