package acceptance_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/agents/llm/llmtest"
)

// A worker dies while its agent is in turn three. The other one asks for that turn
// only, and uses no tool again. The key to the models, which the model itself gives
// away, is found nowhere.
func TestAnAgentGoesOnAfterTheLastTurnThatIsPaidFor(t *testing.T) {
	t.Parallel()
	if !haveServers() {
		return
	}
	f := newFleet(t, "plain")
	workers := f.startAll(t, 2, 1)
	s := newSink(t)
	never := make(chan struct{})
	var stuck atomic.Bool
	vendor := llmtest.New(t, func(a llmtest.Asked) llmtest.Reply {
		call := llmtest.Call{Name: "note", Arguments: fmt.Sprintf(`{"body":{"run":%q,"step":"turn %d"}}`, a.Last, a.Turn)}
		switch {
		case a.Turn < 3:
			return llmtest.Reply{Text: "My key is " + llmtest.Key + ". ", Calls: []llmtest.Call{call}, Input: 1000, Output: 100}
		case stuck.CompareAndSwap(false, true):
			return llmtest.Reply{Hold: never}
		}
		return llmtest.Reply{Text: `{"score":7}`, Input: 1000, Output: 100}
	})
	for _, connector := range []string{"openai", "anthropic"} {
		t.Run(connector, func(t *testing.T) {
			stuck.Store(false)
			before := len(vendor.Turns())
			base := map[string]string{"openai": vendor.URL + "/v1", "anthropic": vendor.URL}[connector]
			var made struct{ ID string }
			require.NoError(t, f.want(http.StatusCreated, "POST", "/connections", map[string]any{
				"connector": connector, "name": connector, "config": map[string]string{"base_url": base}, "secrets": map[string]string{"token": llmtest.Key},
			}, &made))
			require.NoError(t, f.want(http.StatusCreated, "POST", "/agents", map[string]any{
				"slug": connector, "kind": "llm", "connection": made.ID,
				"config": map[string]any{"model": "gpt-4o-mini", "tools": []any{map[string]any{
					"action": "http.request", "name": "note", "input": map[string]string{"method": "POST", "url": s.url + "/do"},
				}}},
				"output_schema": json.RawMessage(`{"type":"object","properties":{"score":{"type":"integer"}},"required":["score"]}`),
			}, nil))
			wf := f.workflow(t, fmt.Sprintf(`{"steps":[{"id":"ask","type":"agent","agent":%q,"input":"{{ run.id }}"}]}`, connector))
			id, err := f.trigger(wf, t.Name(), nil)
			require.NoError(t, err)
			heard := f.listen(t, id)

			waitFor(t, endLimit, "turn three", func() bool { return len(vendor.Turns()) == before+3 })
			var holder string
			require.NoError(t, f.db.QueryRow(t.Context(), `SELECT worker_id FROM steps WHERE run_id = $1 AND status = 'running'`, id).Scan(&holder))
			at := slices.IndexFunc(workers, func(p *process) bool { return p.workerID(t) == holder })
			workers[at].kill(t)
			workers[at] = f.start(t, "worker")
			workers[at].ready(t)

			f.settle(t, wf)
			require.Equal(t, []int{1, 2, 3, 3}, vendor.Turns()[before:], "turns one and two are paid for once")
			for _, step := range []string{"turn 1", "turn 2"} {
				require.Len(t, s.of(id, step).keys, 1, "the tool was used once")
			}
			require.NotEqual(t, s.of(id, "turn 1").keys, s.of(id, "turn 2").keys)

			told, err := f.ask("GET", "/runs/"+id, nil)
			require.NoError(t, err)
			var ended struct {
				Status string
				Output map[string]struct{ Score int }
				Usage  struct {
					InputTokens int `json:"input_tokens"`
					Turns       int
					Cost        float64
				}
			}
			require.NoError(t, told.read(&ended))
			require.Equal(t, "completed", ended.Status, told.String())
			require.Equal(t, 7, ended.Output["ask"].Score)
			require.Equal(t, 3000, ended.Usage.InputTokens)
			require.Equal(t, 3, ended.Usage.Turns)
			require.InDelta(t, 0.00063, ended.Usage.Cost, 1e-9)

			trace, err := f.ask("GET", "/runs/"+id+"/steps", nil)
			require.NoError(t, err)
			stream := <-heard
			require.Contains(t, stream, "event: step.delta")
			require.Contains(t, stream, "event: run.completed")
			events, err := f.ask("GET", "/runs/"+id+"/events?limit=200", nil)
			require.NoError(t, err)
			require.NotContains(t, string(events.body), "step.delta", "nobody keeps it")
			for name, text := range map[string]string{
				"the run": told.String(), "the trace": trace.String(), "the log": events.String(), "the stream": stream,
				"the database": f.dumpDatabase(t), "Redis": f.dumpRedis(t),
			} {
				require.NotContainsf(t, text, llmtest.Key, "%s holds a secret", name)
			}
		})
	}
	for _, p := range f.procs {
		require.Empty(t, p.logs.find(func(l line) bool { return strings.Contains(l.text, llmtest.Key) }))
	}
	f.requireNothingLeft(t)
	f.requireNoErrors(t)
}

// listen follows a run to its end and then gives all that was said.
func (f *fleet) listen(t *testing.T, run string) <-chan string {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), endLimit)
	t.Cleanup(stop)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.url+base+"/runs/"+run+"/stream", nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+f.key)
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	resp, err := client.Do(req)
	require.NoError(t, err)
	all, open := make(chan string, 1), make(chan struct{})
	go func() {
		defer resp.Body.Close()
		var text strings.Builder
		lines := bufio.NewScanner(resp.Body)
		for lines.Scan() {
			if text.Len() == 0 {
				close(open)
			}
			text.WriteString(lines.Text() + "\n")
		}
		all <- text.String()
	}()
	<-open
	return all
}

// dumpDatabase gives every row of every table as text.
func (f *fleet) dumpDatabase(t *testing.T) string {
	t.Helper()
	rows, err := f.db.Query(t.Context(), `SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()`)
	require.NoError(t, err)
	var tables []string
	for rows.Next() {
		var name string
		require.NoError(t, rows.Scan(&name))
		tables = append(tables, name)
	}
	require.NoError(t, rows.Err())
	require.NotEmpty(t, tables)
	var all strings.Builder
	for _, name := range tables {
		var text string
		require.NoError(t, f.db.QueryRow(t.Context(), fmt.Sprintf(`SELECT coalesce(string_agg(t::text, E'\n'), '') FROM %q AS t`, name)).Scan(&text))
		all.WriteString(text + "\n")
	}
	return all.String()
}

// dumpRedis gives every value of every key as text.
func (f *fleet) dumpRedis(t *testing.T) string {
	t.Helper()
	ctx, all := t.Context(), strings.Builder{}
	keys := f.redis.Scan(ctx, 0, "*", 1000).Iterator()
	for keys.Next(ctx) {
		key := keys.Val()
		var value any
		switch f.redis.Type(ctx, key).Val() {
		case "string":
			value = f.redis.Get(ctx, key).Val()
		case "list":
			value = f.redis.LRange(ctx, key, 0, -1).Val()
		case "hash":
			value = f.redis.HGetAll(ctx, key).Val()
		case "set":
			value = f.redis.SMembers(ctx, key).Val()
		case "zset":
			value = f.redis.ZRange(ctx, key, 0, -1).Val()
		}
		fmt.Fprintf(&all, "%s %v\n", key, value)
	}
	require.NoError(t, keys.Err())
	return all.String()
}
