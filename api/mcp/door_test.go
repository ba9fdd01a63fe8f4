package mcp

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/api"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store/storetest"
)

const listing = `{"jsonrpc":"2.0","id":1,"method":"tools/list"}`

func TestTheDoorIsForCallersWithAKey(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), api.Config{})
	want := ""
	for name, header := range map[string]string{
		"none": "", "empty": "Bearer ", "malformed": "Bearer tnx_short", "unknown": "Bearer tnx_AAAAAAAA_" + strings.Repeat("a", 32),
		"wrong secret": "Bearer " + b.key[:len(b.key)-4] + "0000",
	} {
		resp, body := b.post(t, listing, "Authorization", header, "X-Request-Id", "same")
		require.Equal(t, http.StatusUnauthorized, resp.StatusCode, name)
		require.Equal(t, "Bearer", resp.Header.Get("WWW-Authenticate"), name)
		require.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"), name)
		if want == "" {
			want = body
		}
		require.Equal(t, want, body, name)
	}
	resp, _ := b.post(t, listing)
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.Equal(t, "application/json", resp.Header.Get("Content-Type"))
	require.Equal(t, "no-store", resp.Header.Get("Cache-Control"))
	require.NotEmpty(t, resp.Header.Get("X-Request-Id"))
	require.Empty(t, resp.Header.Get("Mcp-Session-Id"), "there are no sessions")
}

func TestTheDoorIsClosedToPagesFromElsewhere(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), api.Config{})
	for origin, status := range map[string]int{
		"": 200, b.url: 200, "https://evil.example": 403, "http://127.0.0.1:1": 403, "null": 403, "http://127.0.0.1.evil.example": 403,
	} {
		resp, body := b.post(t, listing, "Origin", origin)
		require.Equal(t, status, resp.StatusCode, origin)
		if status == 403 {
			require.Contains(t, body, `"forbidden_origin"`)
		}
	}
}

func TestTheDoorTakesPostsOnly(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), api.Config{})
	for _, method := range []string{"GET", "DELETE", "PUT", "PATCH"} {
		req, err := http.NewRequestWithContext(t.Context(), method, b.url+Path, nil)
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+b.key)
		req.Header.Set("Accept", "text/event-stream")
		resp, err := b.http.Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Equal(t, http.StatusMethodNotAllowed, resp.StatusCode, method)
		require.Equal(t, "POST", resp.Header.Get("Allow"), method)
	}
}

func TestMessagesThatAreNoneAreRefusedAsSuch(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), api.Config{MaxBody: 4096})
	call := func(id int) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"whoami"}}`, id)
	}
	for name, tc := range map[string]struct {
		body    string
		headers []string
		status  int
		code    int // of JSON-RPC; 0: the answer is a problem
	}{
		"no JSON":                        {body: `hello`, status: 400, code: -32700},
		"nothing":                        {body: ``, status: 400, code: -32700},
		"not UTF-8":                      {body: "{\"a\":\"\xff\"", status: 400, code: -32700},
		"deep":                           {body: strings.Repeat("[", 2000), status: 400, code: -32600},
		"deeper":                         {body: strings.Repeat(`{"a":`, 800), status: 400, code: -32700},
		"a batch":                        {body: "[" + call(1) + "," + call(2) + "]", status: 400, code: -32600},
		"a batch in disguise":            {body: " \n[" + call(1) + "]", headers: []string{"Mcp-Protocol-Version", "2025-03-26"}, status: 400, code: -32600},
		"no JSON-RPC":                    {body: `{"hello":"world"}`, status: 400, code: -32600},
		"unknown method":                 {body: `{"jsonrpc":"2.0","id":1,"method":"tools/fly"}`, status: 200, code: -32601},
		"of a version without handshake": {body: `{"jsonrpc":"2.0","id":1,"method":"tools/fly"}`, headers: []string{"Mcp-Protocol-Version", "2026-07-28"}, status: 404, code: -32601},
		"unknown version":                {body: listing, headers: []string{"Mcp-Protocol-Version", "1999-01-01"}, status: 400, code: -32600},
		"standing":                       {body: `{"jsonrpc":"2.0","id":7,"method":"subscriptions/listen","params":{}}`, status: 404, code: -32601},
		"another type of body":           {body: listing, headers: []string{"Content-Type", "text/plain"}, status: 415},
		"packed":                         {body: listing, headers: []string{"Content-Encoding", "gzip"}, status: 415},
		"too large":                      {body: `{"a":"` + strings.Repeat("x", 5000) + `"}`, status: 413},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			resp, body := b.post(t, tc.body, tc.headers...)
			require.Equal(t, tc.status, resp.StatusCode, body)
			var got struct {
				Version string `json:"jsonrpc"`
				Code    string `json:"code"`
				Error   struct {
					Code    int    `json:"code"`
					Message string `json:"message"`
				} `json:"error"`
			}
			require.NoError(t, json.Unmarshal([]byte(body), &got), body)
			if tc.code == 0 {
				require.Equal(t, "application/problem+json", resp.Header.Get("Content-Type"))
				require.NotEmpty(t, got.Code)
				return
			}
			require.Equal(t, "application/json", resp.Header.Get("Content-Type"))
			require.Equal(t, "2.0", got.Version)
			require.Equal(t, tc.code, got.Error.Code, body)
			require.NotEmpty(t, got.Error.Message)
		})
	}
}

func TestWhoTakesJSONNeedNotAskForStreams(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), api.Config{})
	for _, accept := range []string{"", "application/json", "*/*", "application/json, text/event-stream"} {
		for _, version := range []string{"", "2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"} {
			resp, body := b.post(t, listing, "Accept", accept, "Mcp-Protocol-Version", version)
			require.Equal(t, http.StatusOK, resp.StatusCode, body)
			require.Contains(t, body, `"whoami"`)
		}
	}
}

func TestACallCountsAsOneRequest(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), api.Config{RateLimit: 5})
	key := b.newKey(t, b.ws, models.ScopeAll)
	call := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"whoami"}}`
	for left := 4; left >= 0; left-- {
		resp, body := b.post(t, call, "Authorization", "Bearer "+key)
		require.Equal(t, http.StatusOK, resp.StatusCode, body)
		require.Contains(t, resp.Header.Get("RateLimit"), fmt.Sprintf("r=%d;", left))
		require.Contains(t, resp.Header.Get("RateLimit-Policy"), "q=5;")
	}
	resp, body := b.post(t, call, "Authorization", "Bearer "+key)
	require.Equal(t, http.StatusTooManyRequests, resp.StatusCode)
	require.NotEmpty(t, resp.Header.Get("Retry-After"))
	require.Contains(t, body, `"rate_limited"`)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.url+"/api/v1/flows/whoami", nil)
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+key)
	got, err := b.http.Do(req)
	require.NoError(t, err)
	require.NoError(t, got.Body.Close())
	require.Equal(t, http.StatusTooManyRequests, got.StatusCode, "the quota is the same one")
}
