package api

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAWorkflowIsCreatedTriggeredAndRead(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		got := b.call(t, "POST", "/workflows", `{"name":"Leads","graph":`+passing+`}`)
		require.Equal(t, 201, got.status, got.body)
		require.Equal(t, `"1"`, got.header.Get("ETag"))
		id := got.str(t, "id")
		require.Equal(t, base+"/workflows/"+id, got.header.Get("Location"))

		read := b.call(t, "GET", "/workflows/"+id, "")
		require.Equal(t, 200, read.status)
		require.Equal(t, got.body, read.body)

		run := b.call(t, "POST", "/workflows/"+id+"/trigger", `{"payload":{"lead":"l_1"}}`)
		require.Equal(t, 202, run.status, run.body)
		require.Equal(t, base+"/runs/"+run.str(t, "id"), run.header.Get("Location"))
		done := b.call(t, "GET", "/runs/"+run.str(t, "id"), "")
		require.Equal(t, "completed", done.str(t, "status"), done.body)
	})
}
