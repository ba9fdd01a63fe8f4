package http_test

import (
	"encoding/json"
	"fmt"
	nethttp "net/http"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/connectorstest"
	"github.com/10ex/flows/internal/egress"
)

// shelf serves seven items, three to a page, in every way there is.
func shelf(t *testing.T) *connectorstest.Peer {
	t.Helper()
	return connectorstest.NewPeer(t, func(w nethttp.ResponseWriter, r *nethttp.Request) {
		w.Header().Set("Content-Type", "application/json")
		page := func(n int) []int {
			items := []int{}
			for i := (n-1)*3 + 1; i <= min(n*3, 7); i++ {
				items = append(items, i)
			}
			return items
		}
		q := r.URL.Query()
		var body any
		switch r.URL.Path {
		case "/v1/link":
			n := max(1, number(q.Get("p")))
			if n < 3 {
				w.Header().Add("Link", fmt.Sprintf(`<https://elsewhere.example/>; rel="prev", <link?p=%d&q=a>; title="x"; rel="last next"`, n+1))
			}
			body = page(n)
		case "/v1/address":
			n := max(1, number(q.Get("p")))
			next := any(nil)
			if n < 3 {
				next = "http://" + r.Host + "/v1/address?p=" + strconv.Itoa(n+1)
			}
			body = map[string]any{"data": map[string]any{"list": page(n)}, "next": next}
		case "/v1/cursor":
			n := max(1, number(q.Get("after")))
			paging := map[string]any{}
			if n < 3 {
				paging["after"] = n + 1
			}
			body = map[string]any{"results": page(n), "paging": paging}
		case "/v1/number":
			body = page(number(q.Get("page")) + 1)
		case "/v1/loop":
			body = map[string]any{"list": []int{1}, "next": "same"}
		case "/v1/away":
			w.Header().Set("Link", `<https://elsewhere.example/>; rel=next`)
			body = page(1)
		case "/v1/object":
			body = map[string]any{"list": "no"}
		}
		_ = json.NewEncoder(w).Encode(body)
	})
}

func number(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

func TestListsThatComeInPagesAreReadAsOne(t *testing.T) {
	t.Parallel()
	p := shelf(t)
	c := setup(t, egress.Config{AllowPrivate: true})
	for input, want := range map[string]string{
		`"url":"/link?p=1","paginate":{"by":"link"}`:                                                         `[1,2,3,4,5,6,7] 3 false`,
		`"url":"/address","paginate":{"by":"link","items":"data.list","next":"next"}`:                        `[1,2,3,4,5,6,7] 3 false`,
		`"url":"/cursor","paginate":{"by":"cursor","items":"results","next":"paging.after","param":"after"}`: `[1,2,3,4,5,6,7] 3 false`,
		`"url":"/number","query":{"page":9,"size":3},"paginate":{"by":"page","start":0}`:                     `[1,2,3,4,5,6,7] 4 false`,
		`"url":"/number","paginate":{"by":"page","start":0,"max_pages":2}`:                                   `[1,2,3,4,5,6] 2 true`,
		`"url":"/link","paginate":{"by":"link","max_items":4}`:                                               `[1,2,3,4] 2 true`,
		`"url":"/link","paginate":{"by":"link","max_items":3}`:                                               `[1,2,3] 1 true`,
		`"url":"/number","paginate":{"by":"page","start":7}`:                                                 `[] 1 false`,
		`"url":"/cursor","paginate":{"by":"cursor","items":"none","next":"none"}`:                            `[] 1 false`,
	} {
		p.Reset()
		resp, err := c.Do(t.Context(), with(account(t, p, connectors.Auth{Type: connectors.AuthQuery, Name: "key"}), `{"method":"GET",`+input+`}`))
		require.NoError(t, err, input)
		var out struct {
			Status int
			Body   json.RawMessage
			Pages  int
			More   bool
		}
		require.NoError(t, json.Unmarshal(resp.Output, &out))
		require.Equal(t, want, fmt.Sprintf("%s %d %t", out.Body, out.Pages, out.More), input)
		for _, got := range p.Received() {
			require.Contains(t, got.Query, "key=s3cret", "every page is asked for with the credentials")
		}
	}
}

func TestPagesThatDoNotFitAreRefused(t *testing.T) {
	t.Parallel()
	p := shelf(t)
	c := setup(t, egress.Config{AllowPrivate: true})
	for input, code := range map[string]string{
		`"method":"GET","url":"/loop","paginate":{"by":"cursor","items":"list","next":"next"}`: connectors.CodeBadResponse,
		`"method":"GET","url":"/away","paginate":{"by":"link"}`:                                connectors.CodeHostNotAllowed,
		`"method":"GET","url":"/object","paginate":{"by":"link","items":"list"}`:               connectors.CodeBadResponse,
		`"method":"GET","url":"/object","paginate":{"by":"link"}`:                              connectors.CodeBadResponse,
		`"method":"POST","url":"/link","paginate":{"by":"link"}`:                               connectors.CodeInputInvalid,
		`"method":"GET","url":"/link","paginate":{"by":"cursor"}`:                              connectors.CodeInputInvalid,
		`"method":"GET","url":"/link","paginate":{"by":"page","next":"a"}`:                     connectors.CodeInputInvalid,
		`"method":"GET","url":"/link","paginate":{"by":"link","param":"a"}`:                    connectors.CodeInputInvalid,
		`"method":"GET","url":"/link","paginate":{"by":"link","start":3}`:                      connectors.CodeInputInvalid,
	} {
		_, err := c.Do(t.Context(), with(account(t, p, connectors.Auth{Type: connectors.AuthNone}), `{`+input+`}`))
		require.Error(t, err, input)
		require.Equal(t, code, connectors.AsError(err).Code, input)
	}
}
