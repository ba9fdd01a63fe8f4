package store_test

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

// The tests run in a zone that is nobody's default, so that a time which is not
// given back in UTC is noticed.
func TestMain(m *testing.M) {
	time.Local = time.FixedZone("elsewhere", 5*3600+1800)
	goleak.VerifyTestMain(m)
}
