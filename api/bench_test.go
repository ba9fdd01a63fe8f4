package api

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/store/storetest"
)

func BenchmarkTrigger(b *testing.B) {
	x := setup(b, storetest.SQLite(b), options{cfg: Config{RateLimit: 10_000_000}})
	wf := x.workflow(b, passing)
	for b.Loop() {
		require.Equal(b, 202, x.call(b, "POST", "/workflows/"+wf+"/trigger", `{"payload":{"a":1}}`).status)
	}
}

func BenchmarkWhoami(b *testing.B) {
	x := setup(b, storetest.SQLite(b), options{cfg: Config{RateLimit: 10_000_000}})
	for b.Loop() {
		require.Equal(b, 200, x.call(b, "GET", "/whoami", "").status)
	}
}

func BenchmarkNew(b *testing.B) {
	x := setup(b, storetest.SQLite(b), options{})
	for b.Loop() {
		deps := x.api.deps
		deps.Metrics = nil
		a, err := New(deps, Config{})
		require.NoError(b, err)
		require.NoError(b, a.Shutdown(b.Context()))
	}
}
