package acceptance_test

import (
	"os"
	"testing"

	"go.uber.org/goleak"
)

// folder holds what is built here, and goes with the last test.
var folder string

func TestMain(m *testing.M) {
	var err error
	if folder, err = os.MkdirTemp("", "flows-acceptance-"); err != nil {
		panic(err)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(folder)
		os.Exit(code)
	}))
}
