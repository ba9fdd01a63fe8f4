package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/store/storetest"
)

// A process compiles a schema when it is first needed, so that whether all of them can
// be is known here.
func TestTheSchemasOfAllConnectorsCompile(t *testing.T) {
	t.Parallel()
	a := &app{store: storetest.SQLite(t)}
	catalogue, err := a.connectors()
	require.NoError(t, err)
	require.NoError(t, catalogue.BuiltIn().Check())
	require.Greater(t, len(catalogue.BuiltIn().Specs()), 10)
}
