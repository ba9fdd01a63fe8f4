package api

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAWorkflowThatIsKnownIsNotSentAgain(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		p := "/workflows/" + b.workflow(t, passing)
		whole := b.call(t, "GET", p, "")
		require.Equal(t, `"1"`, whole.header.Get("ETag"))
		for header, status := range map[string]int{
			`"1"`: 304, `W/"1"`: 304, `"7" , W/"1"`: 304, "*": 304,
			`"7"`: 200, "1": 200, "": 200, `W/"11"`: 200,
		} {
			for _, method := range []string{"GET", "HEAD"} {
				got := b.call(t, method, p, "", "If-None-Match", header)
				require.Equal(t, status, got.status, "%s %s", method, header)
				require.Equal(t, `"1"`, got.header.Get("ETag"))
				if method == "GET" && status == 200 {
					require.Equal(t, whole.body, got.body)
				} else {
					require.Empty(t, got.body)
				}
			}
		}
		require.Equal(t, 200, b.call(t, "PATCH", p, `{"name":"b"}`, "If-None-Match", `"1"`).status)
		require.Equal(t, 200, b.call(t, "GET", p, "", "If-None-Match", `"1"`).status)
		require.Equal(t, 404, b.call(t, "GET", "/workflows/wf_01jx0000000000000000000000", "", "If-None-Match", "*").status)
	})
}
