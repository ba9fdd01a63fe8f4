package api

import (
	"context"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/internal/seal"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store/storetest"
)

// question is a run that waits for a person, and the address that leads to it.
type question struct {
	run, link string
}

// asks starts a run of a graph that asks, and gives the link that a trigger has read.
func (b *bundle) asks(t *testing.T, graph string) question {
	t.Helper()
	got := b.call(t, "POST", "/triggers", `{"type":"event","event_type":"flow.approval.requested","workflow_id":"`+b.workflow(t, passing)+`",
		"filter":"event.data?.link == nil","payload":{"link":"{{ event.data.link }}"}}`)
	require.Equal(t, 201, got.status, got.body)
	trigger := got.str(t, "id")
	run := b.run(t, graph)
	got = b.call(t, "GET", "/events?type=flow.approval.requested&limit=1", "")
	event := got.str(t, "items.0.id")
	require.NotContains(t, got.body, ApprovalsPath)
	require.NoError(t, b.bus.Match(t.Context(), b.ws, models.EventID(event)))
	got = b.call(t, "GET", "/events/"+event, "")
	require.NotContains(t, got.body, ApprovalsPath, "who may read events may not decide")
	got = b.call(t, "GET", "/runs?trigger_id="+trigger, "")
	link := b.call(t, "GET", "/runs/"+got.str(t, "items.0.id"), "").str(t, "payload.link")
	path, ok := strings.CutPrefix(link, "https://flows.example")
	require.True(t, ok, link)
	return question{run, path}
}

func (b *bundle) status(t *testing.T, run string) string {
	t.Helper()
	return b.call(t, "GET", "/runs/"+run, "").str(t, "status")
}

// serve lets the API answer on a socket.
func (b *bundle) serve(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = b.api.Listen(l) }()
	return "http://" + l.Addr().String()
}

// submit sends the form of a page.
func (b *bundle) submit(ctx context.Context, address, decision, comment string) (status int, body string, header http.Header, err error) {
	form := url.Values{"decision": {decision}, "comment": {comment}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, "", nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	resp, err := b.client.Do(req)
	if err != nil {
		return 0, "", nil, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(raw), resp.Header, err
}

const askingStep = `{"steps":[{"id":"ask","type":"wait","name":"Ask <sales>","approval":{"prompt":"Send <b>it</b>?"}}],"edges":[]}`

func TestAPersonDecidesByALink(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		address := b.serve(t)
		q := b.asks(t, askingStep)
		for range 100 {
			got := b.as(t, "", "GET", q.link, "")
			require.Equal(t, 200, got.status, got.body)
		}
		require.Equal(t, 200, b.as(t, "", "HEAD", q.link, "").status)
		for _, method := range []string{"PUT", "PATCH", "DELETE", "OPTIONS"} {
			b.as(t, "", method, q.link, "")
		}
		require.Equal(t, "waiting", b.status(t, q.run), "to look is not to decide")

		page := b.as(t, "", "GET", q.link, "")
		require.Contains(t, page.body, "Send &lt;b&gt;it&lt;/b&gt;?")
		require.Contains(t, page.body, "Ask &lt;sales&gt;")
		require.Contains(t, page.body, "Leads")
		for _, inner := range []string{string(b.ws), q.run, "<script", strings.TrimPrefix(q.link, ApprovalsPath)} {
			require.NotContains(t, page.body, inner)
		}
		status, body, header, err := b.submit(t.Context(), address+q.link, "maybe", "")
		require.NoError(t, err)
		require.Equal(t, 422, status)
		require.Contains(t, body, "<form")
		status, body, _, err = b.submit(t.Context(), address+q.link, "approve", strings.Repeat("x", maxComment+1))
		require.NoError(t, err)
		require.Equal(t, 422, status)
		require.Contains(t, body, "too long")
		require.Equal(t, "waiting", b.status(t, q.run))
		for name, value := range map[string]string{"Cache-Control": "no-store", "Referrer-Policy": "no-referrer", "X-Frame-Options": "DENY"} {
			require.Equal(t, value, page.header.Get(name))
			require.Equal(t, value, header.Get(name))
		}
		csp := page.header.Get("Content-Security-Policy")
		require.Contains(t, csp, "default-src 'none'")
		require.NotContains(t, csp, "unsafe-inline")
		require.NotContains(t, csp, "script-src")

		status, body, _, err = b.submit(t.Context(), address+q.link, "approve", "good\r\nidea")
		require.NoError(t, err)
		require.Equal(t, 200, status, body)
		require.Contains(t, body, "Approved")
		got := b.call(t, "GET", "/runs/"+q.run, "")
		require.Equal(t, "completed", got.str(t, "status"))
		require.Equal(t, "good\nidea", got.str(t, "output.ask.comment"))
		require.Equal(t, "link", got.str(t, "output.ask.by"))

		used := b.as(t, "", "GET", q.link, "")
		require.Equal(t, 410, used.status)
		require.NotContains(t, used.body, "<form")
		require.NotContains(t, used.body, "Leads")
		status, body, _, err = b.submit(t.Context(), address+q.link, "reject", "")
		require.NoError(t, err)
		require.Equal(t, 409, status)
		require.NotContains(t, body, "Leads")
		require.Equal(t, 1, strings.Count(b.call(t, "GET", "/events?type=flow.approval.resolved", "").body, `"type":"flow.approval.resolved"`))

		q = b.asks(t, askingStep)
		status, _, _, err = b.submit(t.Context(), address+q.link, "reject", "no")
		require.NoError(t, err)
		require.Equal(t, 200, status)
		require.Equal(t, "failed", b.status(t, q.run))
		q = b.asks(t, askingStep)
		require.Equal(t, 200, b.call(t, "POST", "/runs/"+q.run+"/cancel", "").status)
		require.Equal(t, 410, b.as(t, "", "GET", q.link, "").status)
	})
}

func TestManyAnswersAtOnceAreOneDecision(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		address := b.serve(t)
		q := b.asks(t, `{"steps":[{"id":"ask","type":"wait","approval":{}},{"id":"no","type":"branch"}],"edges":[{"from":"ask","to":"no","on":"rejected"}]}`)
		var (
			wg  sync.WaitGroup
			mu  sync.Mutex
			got = map[int]int{}
		)
		for i := range 16 {
			wg.Go(func() {
				status, _, _, err := b.submit(t.Context(), address+q.link, []string{"approve", "reject"}[i%2], "")
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					status = -1
				}
				got[status]++
			})
		}
		wg.Wait()
		require.Equal(t, map[int]int{200: 1, 409: 15}, got)
		require.Equal(t, 1, strings.Count(b.call(t, "GET", "/events?type=flow.approval.resolved", "").body, `"type":"flow.approval.resolved"`))
	})
}

// token writes one as the bus does, under any key.
func token(t *testing.T, key byte, said string) string {
	t.Helper()
	secret := make([]byte, seal.KeySize)
	secret[0] = key
	ring, err := seal.New(secret)
	require.NoError(t, err)
	return base64.RawURLEncoding.EncodeToString(append([]byte(said), ring.Token("approval link", said)...))
}

func TestLinksThatAreNotGoodAnyMoreSayNothing(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{cfg: Config{RateLimit: 100_000}})
	address := b.serve(t)
	q := b.asks(t, askingStep)
	good := strings.TrimPrefix(q.link, ApprovalsPath)
	said := func(run string, until time.Time) string {
		return strings.Join([]string{string(b.ws), run, "ask", "0", strconv.FormatInt(until.Unix(), 10)}, ".")
	}
	later := time.Now().Add(time.Hour)
	require.Equal(t, 200, b.as(t, "", "GET", ApprovalsPath+token(t, 0, said(q.run, later)), "").status, "the test writes tokens that count")

	refused := func(name, token string, status int) {
		t.Helper()
		got := b.as(t, "", "GET", ApprovalsPath+token, "")
		require.Equal(t, status, got.status, name)
		require.Equal(t, "text/html; charset=utf-8", got.header.Get("Content-Type"), name)
		require.Equal(t, approvalCSP, got.header.Get("Content-Security-Policy"))
		require.NotContains(t, got.body, "Leads", name)
		require.NotContains(t, got.body, "sales", name)
		posted, body, _, err := b.submit(t.Context(), address+ApprovalsPath+token, "approve", "")
		require.NoError(t, err)
		require.NotContains(t, body, "Leads", name)
		require.Contains(t, []int{status, 409}, posted, name)
	}
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	for i := range good {
		other := letters[(strings.IndexByte(letters, good[i])+1)%len(letters)]
		refused("character "+strconv.Itoa(i), good[:i]+string(other)+good[i+1:], 404)
	}
	for _, n := range []int{1, 43, 44, len(good) - 1} {
		refused("the first "+strconv.Itoa(n), good[:n], 404)
	}
	refused("more", good+"A", 404)
	refused("padded", good+"=", 404)
	refused("no token", "x", 404)
	refused("another key", token(t, 1, said(q.run, later)), 404)
	refused("no proof", base64.RawURLEncoding.EncodeToString([]byte(said(q.run, later)+strings.Repeat("x", seal.TokenSize))), 404)
	refused("expired", token(t, 0, said(q.run, time.Now().Add(-time.Second))), 410)
	refused("a run that is gone", token(t, 0, said(ids.New("run"), later)), 410)
	refused("another workspace", token(t, 0, strings.Replace(said(q.run, later), string(b.ws), string(b.workspace(t)), 1)), 410)
	refused("another question", token(t, 0, strings.Replace(said(q.run, later), ".ask.0.", ".ask.1.", 1)), 410)
	refused("another step", token(t, 0, strings.Replace(said(q.run, later), ".ask.", ".other.", 1)), 410)
	require.Equal(t, "waiting", b.status(t, q.run))
}

func TestALinkEndsWithItsWaitAndAfterAWeekAtMost(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{})
	until := func(graph string) time.Time {
		t.Helper()
		got, err := b.bus.ReadLink(strings.TrimPrefix(b.asks(t, graph).link, ApprovalsPath))
		require.NoError(t, err)
		return got.Until
	}
	within := func(timeout string) string {
		return `{"steps":[{"id":"ask","type":"wait","approval":{"timeout":"` + timeout + `"}}],"edges":[]}`
	}
	now := time.Now()
	require.WithinDuration(t, now.Add(time.Hour), until(within("1h")), time.Minute)
	require.WithinDuration(t, now.Add(7*24*time.Hour), until(within("30d")), time.Minute)
	require.WithinDuration(t, now.Add(7*24*time.Hour), until(askingStep), time.Minute)
}

func TestGuessingLinksIsSlowedDown(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{cfg: Config{RateLimit: 20}})
	statuses := map[int]int{}
	for i := range 100 {
		statuses[b.as(t, "", "GET", ApprovalsPath+"guess"+strconv.Itoa(i), "").status]++
	}
	require.Positive(t, statuses[404])
	require.Positive(t, statuses[429], statuses)
}

func TestATriggerIsNotTriedWithALink(t *testing.T) {
	t.Parallel()
	b := setup(t, storetest.SQLite(t), options{})
	run := b.run(t, askingStep)
	got := b.call(t, "POST", "/triggers", `{"type":"event","event_type":"flow.approval.requested","workflow_id":"`+b.workflow(t, passing)+`","payload":{"link":"{{ event.data?.link }}"}}`)
	require.Equal(t, 201, got.status, got.body)
	got = b.call(t, "POST", "/triggers/"+got.str(t, "id")+"/test",
		`{"event":{"type":"flow.approval.requested","source":"flows","data":{"run_id":"`+run+`","step_id":"ask"}}}`)
	require.Equal(t, 200, got.status, got.body)
	require.NotContains(t, got.body, ApprovalsPath)
}
