package bus_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/bus"
	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/egress"
	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/internal/seal"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/store/storetest"
	"github.com/10ex/flows/tasks"
)

// jobList remembers jobs in place of a queue.
type jobList struct {
	mu   sync.Mutex
	jobs []tasks.Job
}

func (l *jobList) EnqueueJobs(_ context.Context, jobs []tasks.Job) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.jobs = append(l.jobs, jobs...)
}

func (l *jobList) take(typ string) (out []tasks.Job) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var rest []tasks.Job
	for _, j := range l.jobs {
		if j.Type == typ {
			out = append(out, j)
		} else {
			rest = append(rest, j)
		}
	}
	l.jobs = rest
	return out
}

// post is a bus that sends and receives webhooks, and an address for them.
type post struct {
	*calendar
	bus    *bus.Bus
	jobs   *jobList
	url    string
	answer func(w http.ResponseWriter, r *http.Request) // nil: 200

	mu  sync.Mutex
	got []received
}

type received struct {
	header http.Header
	body   []byte
}

func eachPost(t *testing.T, test func(t *testing.T, p *post)) {
	t.Helper()
	eachCalendar(t, func(t *testing.T, c *calendar) {
		p := &post{calendar: c, jobs: &jobList{}}
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			p.mu.Lock()
			p.got = append(p.got, received{r.Header.Clone(), body})
			p.mu.Unlock()
			if p.answer != nil {
				p.answer(w, r)
			}
		}))
		t.Cleanup(srv.Close)
		p.url = srv.URL + "/hook?token=of-theirs"
		p.bus = p.open(egress.Config{AllowPrivate: true, UserAgent: "flows/test"})
		test(t, p)
	})
}

func (p *post) open(out egress.Config) *bus.Bus {
	e, err := engine.New(engine.Deps{
		Store: p.store, Clock: p.clock, Enqueuer: noDeliveries{}, Notifier: noDeliveries{}, Catalogue: noDeliveries{},
	}, engine.Config{})
	require.NoError(p.t, err)
	p.t.Cleanup(func() { require.NoError(p.t, e.Close(context.Background())) })
	ring, err := seal.New(make([]byte, seal.KeySize))
	require.NoError(p.t, err)
	outside, err := egress.New(out)
	require.NoError(p.t, err)
	p.t.Cleanup(outside.CloseIdleConnections)
	b, err := bus.New(bus.Deps{Store: p.store, Engine: e, Clock: p.clock, Jobs: p.jobs, Seal: ring, Egress: outside},
		bus.Config{Webhooks: bus.WebhookConfig{Timeout: 300 * time.Millisecond}})
	require.NoError(p.t, err)
	return b
}

func (p *post) subscribe(url string) *bus.Created {
	made, err := p.bus.CreateTrigger(p.t.Context(), p.ws, &models.Trigger{
		Type: models.TriggerOnEvent, TargetType: models.TargetWebhook, EventType: "lead.*", URL: url, Enabled: true,
	})
	require.NoError(p.t, err)
	return made
}

// publish sends an event and has it matched.
func (p *post) publish(data string) models.EventID {
	got, err := p.bus.Publish(p.t.Context(), p.ws, []*models.Event{{Type: "lead.created", Source: "crm", Data: []byte(data)}})
	require.NoError(p.t, err)
	p.match()
	return got[0].ID
}

func (p *post) match() {
	for _, j := range p.jobs.take(tasks.TypeMatch) {
		require.NoError(p.t, p.bus.MatchJob(p.t.Context(), j))
	}
}

// deliver makes the attempts that are due for an address.
func (p *post) deliver(trg *models.Trigger) (attempts int, next *time.Time) {
	for {
		s, next, err := p.bus.ClaimDelivery(p.t.Context(), p.ws, trg.ID)
		require.NoError(p.t, err)
		if s == nil {
			return attempts, next
		}
		_, err = p.bus.Deliver(p.t.Context(), s)
		require.NoError(p.t, err)
		attempts++
	}
}

func (p *post) taken() []received {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.got
	p.got = nil
	return out
}

func (p *post) deliveries(trg *models.Trigger) []*models.Delivery {
	rows, err := p.store.For(p.ws).Deliveries(p.t.Context(), trg.ID, "", store.Page{Limit: 100})
	require.NoError(p.t, err)
	return rows
}

func (p *post) attempts(d *models.Delivery) []*models.DeliveryAttempt {
	rows, err := p.store.For(p.ws).DeliveryAttempts(p.t.Context(), []models.DeliveryID{d.ID})
	require.NoError(p.t, err)
	return rows
}

func verified(t *testing.T, got received, secret string) {
	t.Helper()
	h := hmac.New(sha256.New, []byte(secret))
	_, _ = h.Write(got.body)
	require.Equal(t, "sha256="+hex.EncodeToString(h.Sum(nil)), got.header.Get("X-10ex-Signature"))
	wh, err := standardwebhooks.NewWebhook(secret)
	require.NoError(t, err)
	require.NoError(t, wh.VerifyIgnoringTimestamp(got.body, got.header))
}

func TestAnEventIsDeliveredSigned(t *testing.T) {
	t.Parallel()
	eachPost(t, func(t *testing.T, p *post) {
		made := p.subscribe(p.url)
		require.NotEmpty(t, made.Secret)
		require.Empty(t, made.Token)
		require.NotContains(t, string(made.Trigger.Secret), made.Secret, "it is sealed")
		p.answer = func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "thank\x00s") }
		event := p.publish(`{"lead_id":"l<1>"}`)
		require.Len(t, p.jobs.take(tasks.TypeDeliver), 1)
		n, next := p.deliver(made.Trigger)
		require.Equal(t, 1, n)
		require.Nil(t, next)

		got := p.taken()
		require.Len(t, got, 1)
		verified(t, got[0], made.Secret)
		require.Equal(t, string(event), got[0].header.Get("webhook-id"))
		require.Equal(t, strconv.FormatInt(p.clock.Now().Unix(), 10), got[0].header.Get("webhook-timestamp"))
		require.Equal(t, "application/json", got[0].header.Get("Content-Type"))
		require.Equal(t, "flows/test", got[0].header.Get("User-Agent"))
		at := p.clock.Now().Format("2006-01-02T15:04:05.000000Z")
		require.JSONEq(t, `{"id":"`+string(event)+`","type":"lead.created","company_id":"`+string(p.ws)+`","occurred_at":"`+at+`","timestamp":"`+at+`","data":{"lead_id":"l<1>"}}`, string(got[0].body))

		rows := p.deliveries(made.Trigger)
		require.Len(t, rows, 1)
		require.Equal(t, models.DeliveryDelivered, rows[0].Status)
		require.NotNil(t, rows[0].FinishedAt)
		attempts := p.attempts(rows[0])
		require.Len(t, attempts, 1)
		require.Equal(t, 200, *attempts[0].Code)
		require.Equal(t, "thanks", attempts[0].Snippet)
		matches, err := p.store.For(p.ws).Matches(t.Context(), event, 10)
		require.NoError(t, err)
		require.Equal(t, rows[0].ID, *matches[0].DeliveryID)
	})
}

func TestFailedAttemptsAreRepeatedAndThenGivenUp(t *testing.T) {
	t.Parallel()
	eachPost(t, func(t *testing.T, p *post) {
		made := p.subscribe(p.url)
		p.answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }
		event := p.publish(`{}`)
		p.jobs.take(tasks.TypeDeliver)
		for _, seconds := range []int{1, 2, 4, 8, 16} {
			wait := time.Duration(seconds) * time.Second
			n, next := p.deliver(made.Trigger)
			require.Equal(t, 1, n)
			require.Equal(t, p.clock.Now().Add(wait), *next)
			jobs := p.jobs.take(tasks.TypeDeliver)
			require.Len(t, jobs, 1)
			require.Equal(t, *next, jobs[0].At)
			p.clock.Advance(wait - time.Millisecond)
			n, _ = p.deliver(made.Trigger)
			require.Zero(t, n, "not a moment sooner")
			p.clock.Advance(time.Millisecond)
		}
		n, next := p.deliver(made.Trigger)
		require.Equal(t, 1, n)
		require.Nil(t, next)
		d := p.deliveries(made.Trigger)[0]
		require.Equal(t, models.DeliveryFailed, d.Status)
		require.Equal(t, 6, d.Attempts)
		require.Equal(t, "the address answered 500 Internal Server Error", d.LastError)
		got := p.taken()
		require.Len(t, got, 6)
		times := map[string]bool{}
		for _, g := range got {
			verified(t, g, made.Secret)
			require.Equal(t, string(event), g.header.Get("webhook-id"))
			require.Equal(t, got[0].body, g.body)
			times[g.header.Get("webhook-timestamp")] = true
		}
		require.Len(t, times, 6, "each is signed with the time it is sent at")

		p.answer = nil
		again, err := p.bus.Redeliver(t.Context(), p.ws, d.ID)
		require.NoError(t, err)
		require.Equal(t, models.DeliveryPending, again.Status)
		n, _ = p.deliver(made.Trigger)
		require.Equal(t, 1, n)
		d = p.deliveries(made.Trigger)[0]
		require.Equal(t, models.DeliveryDelivered, d.Status)
		attempts := p.attempts(d)
		require.Len(t, attempts, 7)
		require.Equal(t, 7, attempts[6].Number)
	})
}

func TestAnswersAreObeyed(t *testing.T) {
	t.Parallel()
	status := func(code int, headers ...string) func(http.ResponseWriter, *http.Request) {
		return func(w http.ResponseWriter, _ *http.Request) {
			for i := 0; i < len(headers); i += 2 {
				w.Header().Set(headers[i], headers[i+1])
			}
			w.WriteHeader(code)
		}
	}
	for name, tc := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request)
		status models.DeliveryStatus
		wait   time.Duration // until the next attempt
		says   string
	}{
		"201":                     {status(201), models.DeliveryDelivered, 0, ""},
		"204":                     {status(204), models.DeliveryDelivered, 0, ""},
		"400":                     {status(400), models.DeliveryPending, time.Second, "400 Bad Request"},
		"401":                     {status(401), models.DeliveryFailed, 0, "401"},
		"403":                     {status(403), models.DeliveryFailed, 0, "403"},
		"404":                     {status(404), models.DeliveryPending, time.Second, "404"},
		"429 with a wish":         {status(429, "Retry-After", "30"), models.DeliveryPending, 30 * time.Second, "429"},
		"503 with a large wish":   {status(503, "Retry-After", "86400"), models.DeliveryPending, 5 * time.Minute, "503"},
		"503 with a small wish":   {status(503, "Retry-After", "0"), models.DeliveryPending, time.Second, "503"},
		"503 with nonsense":       {status(503, "Retry-After", "soon"), models.DeliveryPending, time.Second, "503"},
		"a redirect to metadata":  {status(302, "Location", "http://169.254.169.254/latest/meta-data/"), models.DeliveryPending, time.Second, "redirects are not followed"},
		"a redirect that keeps":   {status(307, "Location", "/elsewhere"), models.DeliveryPending, time.Second, "redirects are not followed"},
		"a connection that hangs": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, models.DeliveryPending, time.Second, "did not answer within 300ms"},
		"a connection that ends":  {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, models.DeliveryPending, time.Second, "closed the connection"},
		"an answer of 1 GB": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", strconv.Itoa(1<<30))
			chunk := []byte(strings.Repeat("x", 64<<10))
			for range 1 << 14 {
				if _, err := w.Write(chunk); err != nil {
					return
				}
			}
			panic("all of it was read")
		}, models.DeliveryDelivered, 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachPost(t, func(t *testing.T, p *post) {
				made := p.subscribe(p.url)
				p.answer = tc.answer
				p.publish(`{}`)
				n, next := p.deliver(made.Trigger)
				require.Equal(t, 1, n)
				d := p.deliveries(made.Trigger)[0]
				require.Equal(t, tc.status, d.Status, d.LastError)
				require.Contains(t, d.LastError, tc.says)
				if tc.wait > 0 {
					require.Equal(t, p.clock.Now().Add(tc.wait), *next)
				}
				require.Len(t, p.taken(), 1, "a redirect is not followed")
				require.LessOrEqual(t, len(p.attempts(d)[0].Snippet), 1024)
			})
		})
	}
}

func TestGoneDisablesTheTrigger(t *testing.T) {
	t.Parallel()
	eachPost(t, func(t *testing.T, p *post) {
		made := p.subscribe(p.url)
		p.answer = func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) }
		p.publish(`{"n":1}`)
		p.publish(`{"n":2}`)
		n, _ := p.deliver(made.Trigger)
		require.Equal(t, 1, n)
		trg, err := p.store.For(p.ws).Trigger(t.Context(), made.Trigger.ID)
		require.NoError(t, err)
		require.False(t, trg.Enabled)
		require.Contains(t, trg.DisabledReason, "410")
		states := map[models.DeliveryStatus]int{}
		for _, d := range p.deliveries(trg) {
			states[d.Status]++
		}
		require.Equal(t, map[models.DeliveryStatus]int{models.DeliveryFailed: 1, models.DeliveryCancelled: 1}, states)
		p.publish(`{"n":3}`)
		require.Len(t, p.deliveries(trg), 2)
		_, err = p.bus.Redeliver(t.Context(), p.ws, p.deliveries(trg)[0].ID)
		require.ErrorIs(t, err, models.ErrConflict)

		on, err := p.bus.UpdateTrigger(t.Context(), p.ws, trg.ID, func(t *models.Trigger) error { t.Enabled = true; return nil })
		require.NoError(t, err)
		require.Empty(t, on.DisabledReason)
		p.answer = nil
		_, err = p.bus.Redeliver(t.Context(), p.ws, p.deliveries(trg)[0].ID)
		require.NoError(t, err)
		n, _ = p.deliver(trg)
		require.Equal(t, 1, n)
	})
}

func TestNothingIsSentForATriggerThatIsOff(t *testing.T) {
	t.Parallel()
	for name, off := range map[string]func(p *post, id models.TriggerID){
		"disabled": func(p *post, id models.TriggerID) {
			_, err := p.bus.UpdateTrigger(p.t.Context(), p.ws, id, func(t *models.Trigger) error { t.Enabled = false; return nil })
			require.NoError(p.t, err)
		},
		"deleted": func(p *post, id models.TriggerID) {
			require.NoError(p.t, p.store.For(p.ws).DeleteTrigger(p.t.Context(), id, p.clock.Now()))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachPost(t, func(t *testing.T, p *post) {
				made := p.subscribe(p.url)
				p.publish(`{}`)
				off(p, made.Trigger.ID)
				n, next := p.deliver(made.Trigger)
				require.Zero(t, n)
				require.Nil(t, next)
				require.Empty(t, p.taken())
				d := p.deliveries(made.Trigger)[0]
				require.Equal(t, models.DeliveryCancelled, d.Status)
				require.Contains(t, d.LastError, name)
				_, err := p.bus.Redeliver(t.Context(), p.ws, d.ID)
				require.ErrorIs(t, err, models.ErrConflict)
			})
		})
	}
}

func TestForbiddenAddressesAreNotTried(t *testing.T) {
	t.Parallel()
	eachPost(t, func(t *testing.T, p *post) {
		p.bus = p.open(egress.Config{})
		for _, url := range []string{p.url, "http://169.254.169.254/latest/meta-data/"} {
			made := p.subscribe(url)
			p.publish(`{}`)
			n, next := p.deliver(made.Trigger)
			require.Equal(t, 1, n)
			require.Nil(t, next)
			d := p.deliveries(made.Trigger)[0]
			require.Equal(t, models.DeliveryFailed, d.Status)
			require.Equal(t, "this address is not allowed", d.LastError)
			require.Nil(t, d.LastCode)
			require.NoError(t, p.store.For(p.ws).DeleteTrigger(t.Context(), made.Trigger.ID, p.clock.Now()))
		}
		require.Empty(t, p.taken())
	})
}

func TestAnEventIsDeliveredOnceHoweverOftenItIsMatched(t *testing.T) {
	t.Parallel()
	eachPost(t, func(t *testing.T, p *post) {
		made := p.subscribe(p.url)
		got, err := p.bus.Publish(t.Context(), p.ws, []*models.Event{{Type: "lead.created"}})
		require.NoError(t, err)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() { _ = p.bus.Match(context.Background(), p.ws, got[0].ID) })
		}
		wg.Wait()
		require.NoError(t, p.bus.Match(t.Context(), p.ws, got[0].ID))
		require.Len(t, p.deliveries(made.Trigger), 1)
		n, _ := p.deliver(made.Trigger)
		require.Equal(t, 1, n)
		require.Len(t, p.taken(), 1)
	})
}

func TestASenderThatDiesIsReplacedWhenItsLeaseIsOver(t *testing.T) {
	t.Parallel()
	eachPost(t, func(t *testing.T, p *post) {
		made := p.subscribe(p.url)
		event := p.publish(`{}`)
		p.jobs.take(tasks.TypeDeliver)
		dead, _, err := p.bus.ClaimDelivery(t.Context(), p.ws, made.Trigger.ID)
		require.NoError(t, err)
		require.NotNil(t, dead)
		_, err = p.bus.Deliver(t.Context(), dead)
		require.NoError(t, err) // it is sent …
		_, err = p.bus.Redeliver(t.Context(), p.ws, dead.Delivery())
		require.NoError(t, err)
		dead, _, err = p.bus.ClaimDelivery(t.Context(), p.ws, made.Trigger.ID)
		require.NoError(t, err)
		p.jobs.take(tasks.TypeDeliver)

		n, next := p.deliver(made.Trigger) // … and nobody hears of it again
		require.Zero(t, n, "it is another's")
		found, err := p.bus.Sweep(t.Context(), 100)
		require.NoError(t, err)
		require.Zero(t, found.Endpoints)
		p.clock.Advance(next.Sub(p.clock.Now()) + 2*time.Second)
		found, err = p.bus.Sweep(t.Context(), 100)
		require.NoError(t, err)
		require.Equal(t, 1, found.Endpoints)
		jobs := p.jobs.take(tasks.TypeDeliver)
		require.Len(t, jobs, 1)
		require.Equal(t, string(made.Trigger.ID), jobs[0].Extra)

		n, _ = p.deliver(made.Trigger)
		require.Equal(t, 1, n)
		_, err = p.bus.Deliver(t.Context(), dead)
		require.NoError(t, err) // the dead one was only slow
		d := p.deliveries(made.Trigger)[0]
		require.Equal(t, models.DeliveryDelivered, d.Status)
		require.Equal(t, 2, d.Attempts, "what comes too late does not count")
		for _, g := range p.taken() {
			require.Equal(t, string(event), g.header.Get("webhook-id"))
		}
	})
}

func TestAnAttemptThatIsCutOffIsGivenBack(t *testing.T) {
	t.Parallel()
	eachPost(t, func(t *testing.T, p *post) {
		made := p.subscribe(p.url)
		arrived := make(chan struct{})
		p.answer = func(_ http.ResponseWriter, r *http.Request) { close(arrived); <-r.Context().Done() }
		p.publish(`{}`)
		s, _, err := p.bus.ClaimDelivery(t.Context(), p.ws, made.Trigger.ID)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-arrived; cancel() }()
		_, err = p.bus.Deliver(ctx, s)
		require.NoError(t, err)
		d := p.deliveries(made.Trigger)[0]
		require.Equal(t, models.DeliveryPending, d.Status)
		require.Zero(t, d.Attempts)
		p.answer = nil
		n, _ := p.deliver(made.Trigger)
		require.Equal(t, 1, n)
	})
}

func TestTheSecretBeforeCountsForADay(t *testing.T) {
	t.Parallel()
	eachPost(t, func(t *testing.T, p *post) {
		made := p.subscribe(p.url)
		rotated, err := p.bus.RotateSecret(t.Context(), p.ws, made.Trigger.ID)
		require.NoError(t, err)
		require.NotEqual(t, made.Secret, rotated.Secret)
		sent := func() received {
			p.publish(`{}`)
			p.deliver(made.Trigger)
			got := p.taken()
			require.Len(t, got, 1)
			return got[0]
		}
		old, err := standardwebhooks.NewWebhook(made.Secret)
		require.NoError(t, err)
		got := sent()
		verified(t, got, rotated.Secret)
		require.NoError(t, old.VerifyIgnoringTimestamp(got.body, got.header))
		p.clock.Advance(24 * time.Hour)
		got = sent()
		verified(t, got, rotated.Secret)
		require.Error(t, old.VerifyIgnoringTimestamp(got.body, got.header))
	})
}

func TestTriggersForAddressesAreChecked(t *testing.T) {
	t.Parallel()
	eachPost(t, func(t *testing.T, p *post) {
		for name, tc := range map[string]struct {
			change func(*models.Trigger)
			field  string
		}{
			"no address":      {func(t *models.Trigger) { t.URL = "" }, "url"},
			"no URL":          {func(t *models.Trigger) { t.URL = "example.com" }, "url"},
			"another scheme":  {func(t *models.Trigger) { t.URL = "file:///etc/passwd" }, "url"},
			"a password":      {func(t *models.Trigger) { t.URL = "https://a:b@example.com/" }, "url"},
			"too long":        {func(t *models.Trigger) { t.URL = "https://example.com/" + strings.Repeat("a", 2048) }, "url"},
			"a payload":       {func(t *models.Trigger) { t.Payload = []byte(`{}`) }, "payload"},
			"a way to verify": {func(t *models.Trigger) { t.Verify = models.VerifyGitHub }, "verify"},
		} {
			trg := &models.Trigger{Type: models.TriggerOnEvent, TargetType: models.TargetWebhook, EventType: "lead.*", URL: "https://example.com/", Enabled: true}
			tc.change(trg)
			_, err := p.bus.CreateTrigger(t.Context(), p.ws, trg)
			var invalid *models.InvalidError
			require.ErrorAs(t, err, &invalid, name)
			require.Equal(t, []any{tc.field}, invalid.Fields[0].Loc, name)
		}
	})
}

func TestSweepsFindEveryAddressOnce(t *testing.T) {
	t.Parallel()
	storetest.Each(t, func(t *testing.T, s *store.Store) {
		now := time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)
		want := map[models.TriggerID]bool{}
		for range 3 {
			ws := s.For(models.WorkspaceID(ids.New("ws")))
			for i := range 4 {
				trg := models.TriggerID(ids.New("trg"))
				for n := range 5 {
					at := now.Add(time.Duration(n-i) * time.Hour) // of the fourth one all are due, of the first one one is
					require.NoError(t, ws.AddDelivery(t.Context(), &models.Delivery{
						ID: models.DeliveryID(ids.New("dlv")), TriggerID: trg, EventID: models.EventID(ids.New("evt")),
						Status: models.DeliveryPending, AttendAt: &at, CreatedAt: now,
					}))
				}
				want[trg] = true
			}
		}
		due, err := s.DueEndpoints(t.Context(), now, 100)
		require.NoError(t, err)
		require.Len(t, due, len(want))
		for _, e := range due {
			require.True(t, want[e.Trigger])
			d, err := s.For(e.Workspace).Delivery(t.Context(), e.Delivery)
			require.NoError(t, err)
			require.Equal(t, e.Trigger, d.TriggerID)
			require.False(t, d.AttendAt.After(now))
		}
		due, err = s.DueEndpoints(t.Context(), now.Add(-3*time.Hour), 100)
		require.NoError(t, err)
		require.Len(t, due, 3)
		due, err = s.DueEndpoints(t.Context(), now, 2)
		require.NoError(t, err)
		require.Len(t, due, 2)
		due, err = s.DueEndpoints(t.Context(), now.Add(-24*time.Hour), 100)
		require.NoError(t, err)
		require.Empty(t, due)
	})
}
