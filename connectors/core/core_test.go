package core_test

import (
	"testing"

	"github.com/10ex/flows/connectors/connectorstest"
	"github.com/10ex/flows/connectors/core"
)

func TestCore(t *testing.T) {
	t.Parallel()
	connectorstest.Run(t, core.Connector{}, []connectorstest.Case{
		{Name: "set gives its input", Action: "set", Input: `{"a":[1,null,"x"],"big":10000000000000001}`, Want: `{"a":[1,null,"x"],"big":10000000000000001}`},
		{Name: "set gives null", Action: "set", Input: `null`, Want: `null`},
		{Name: "set gives text", Action: "set", Input: `"a\u0000b"`, Want: `"a\ufffdb"`},
		{Name: "fail fails", Action: "fail", Input: `{"message":"no"}`, WantCode: "failed"},
		{Name: "fail takes a code", Action: "fail", Input: `{"message":"no","code":"out_of_stock"}`, WantCode: "out_of_stock"},
		{Name: "fail may be retried", Action: "fail", Input: `{"message":"no","retryable":true}`, WantCode: "failed", WantRetryable: true},
		{Name: "fail wants a message", Action: "fail", Input: `{}`, WantCode: "input_invalid"},
		{Name: "fail refuses other fields", Action: "fail", Input: `{"message":"no","reason":"x"}`, WantCode: "input_invalid"},
		{Name: "fail refuses a bad code", Action: "fail", Input: `{"message":"no","code":"No!"}`, WantCode: "input_invalid"},
	})
}
