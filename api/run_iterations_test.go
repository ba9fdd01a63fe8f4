package api

import (
	"fmt"
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
)

func TestItemsOfAListAreRead(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		run := b.run(t, `{"steps":[
			{"id":"all","type":"connector","connector":"core","action":"set","foreach":"1..120","max_parallel":3,"retry":{"max_attempts":2,"initial":"1h","max":"1h"},"input":{"n":"{{ item }}"}},
			{"id":"one","type":"connector","connector":"core","action":"set","input":{}}]}`)
		path := "/runs/" + run + "/steps/all/iterations"
		read := func(query string) (items []map[string]any, sizes []int) {
			for cursor := ""; ; {
				got := b.call(t, "GET", path+"?"+query+"&cursor="+url.QueryEscape(cursor), "")
				require.Equal(t, 200, got.status, got.body)
				page := got.get(t, "items").([]any)
				for _, item := range page {
					items = append(items, item.(map[string]any))
				}
				sizes = append(sizes, len(page))
				if got.get(t, "next_cursor") == nil {
					return items, sizes
				}
				cursor = got.str(t, "next_cursor")
			}
		}
		b.finish(t, run, "all", 0, `{"input_tokens":7}`, nil)
		b.finish(t, run, "all", 1, "", &models.StepError{Code: "http_503", Message: "not now", Status: 503, Retryable: true})

		all, sizes := read("")
		require.Equal(t, []int{50, 50, 20}, sizes)
		for i, item := range all {
			require.EqualValues(t, i, item["iteration"])
			require.Equal(t, map[string]any{"n": float64(i + 1)}, item["input"])
			for _, field := range []string{
				"status", "attempt", "attempts", "output", "error", "reason", "usage", "queued_at", "started_at", "finished_at", "due_at",
			} {
				require.Contains(t, item, field)
			}
		}
		_, sizes = read("limit=200")
		require.Equal(t, []int{120}, sizes)

		done, again, next, later := all[0], all[1], all[2], all[4]
		require.Equal(t, "completed", done["status"])
		require.EqualValues(t, 1, done["output"])
		require.Equal(t, map[string]any{"input_tokens": 7.0}, done["usage"])
		require.Nil(t, done["due_at"])
		require.Equal(t, "queued", again["status"])
		require.EqualValues(t, 2, again["attempt"])
		require.Greater(t, again["due_at"], again["queued_at"])
		attempts := again["attempts"].([]any)
		require.Len(t, attempts, 2)
		first := attempts[0].(map[string]any)
		require.Equal(t, "failed", first["status"])
		require.Equal(t, map[string]any{"code": "http_503", "message": "not now", "status": 503.0, "retryable": true}, first["error"])
		require.Equal(t, "queued", next["status"])
		require.Equal(t, "pending", later["status"])
		require.Equal(t, []any{}, later["attempts"])

		b.finish(t, run, "all", 2, "", &models.StepError{Code: "http_400", Message: "never"})
		failed, _ := read("status=failed")
		require.Len(t, failed, 1)
		require.EqualValues(t, 2, failed[0]["iteration"])
		require.Equal(t, "never", failed[0]["error"].(map[string]any)["message"])
		several, sizes := read("status=failed,cancelled&limit=100")
		require.Equal(t, []int{100, 19}, sizes)
		require.Equal(t, "iteration 2 failed", several[0]["reason"])

		got := b.call(t, "GET", "/runs/"+run+"/steps/one/iterations", "")
		require.Equal(t, 200, got.status, "a step without a list has no items")
		require.Equal(t, []any{}, got.get(t, "items"))
		unknown := b.call(t, "GET", "/runs/"+ids.New(models.RunPrefix)+"/steps", "")
		for _, none := range []string{
			"/runs/" + ids.New(models.RunPrefix) + "/steps/all/iterations", "/runs/1/steps/all/iterations",
			"/runs/" + run + "/steps/nothing/iterations", "/runs/" + run + "/steps/%20/iterations",
		} {
			got := b.call(t, "GET", none, "")
			require.Equal(t, 404, got.status, none)
			require.Equal(t, requestIDPart.ReplaceAllString(unknown.body, ""), requestIDPart.ReplaceAllString(got.body, ""), none)
		}
		for query, at := range map[string]string{"status=lost": "status", "limit=201": "limit", "limit=0": "limit"} {
			got := b.call(t, "GET", path+"?"+query, "")
			require.Equal(t, 422, got.status, got.body)
			require.Contains(t, fmt.Sprint(got.get(t, "errors.0.loc")), at)
		}
	})
}
