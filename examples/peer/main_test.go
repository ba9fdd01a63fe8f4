package main

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPeerPrintsAndAnswers(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ body, want string }{
		"json":    {`{"lead_id":"lead_42"}`, `{"score": 90, "received": {"lead_id": "lead_42"}}`},
		"text":    {`hello`, `{"score": 90, "received": "hello"}`},
		"nothing": {``, `{"score": 90, "received": ""}`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			r := httptest.NewRequest(http.MethodPost, "/score", strings.NewReader(tc.body))
			r.Header.Set("Idempotency-Key", "run_1:score")
			w := httptest.NewRecorder()
			answer(&out, 90).ServeHTTP(w, r)
			require.Equal(t, 200, w.Code)
			require.JSONEq(t, tc.want, w.Body.String())
			require.Equal(t, "POST /score key=run_1:score "+tc.body+"\n", out.String())
		})
	}
}
