package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

func hexMAC(secret, text string) string {
	h := hmac.New(sha256.New, []byte(secret))
	_, _ = io.WriteString(h, text)
	return hex.EncodeToString(h.Sum(nil))
}

// inbound makes a trigger that a webhook comes in for.
func (b *bundle) inbound(t *testing.T, more string) (trigger, path, secret string) {
	t.Helper()
	got := b.call(t, "POST", "/triggers", `{"type":"webhook","workflow_id":"`+b.workflow(t, passing)+`"`+more+`}`)
	require.Equal(t, 201, got.status, got.body)
	at, err := url.Parse(got.str(t, "url"))
	require.NoError(t, err)
	require.NotEmpty(t, at.Host)
	require.Equal(t, hooksPath+got.str(t, "token"), at.Path)
	trigger = got.str(t, "id")
	if s, ok := got.get(t, "secret").(string); ok {
		secret = s
	}
	shown := b.call(t, "GET", "/triggers/"+trigger, "").body
	require.NotContains(t, shown, got.str(t, "token"))
	require.NotContains(t, shown, `"secret"`)
	return trigger, at.Path, secret
}

// runsOf lists the payloads of what a trigger has started.
func (b *bundle) runsOf(t *testing.T, trigger string) (payloads []string) {
	t.Helper()
	id := models.TriggerID(trigger)
	rows, err := b.store.For(b.ws).Runs(t.Context(), store.RunFilter{TriggerID: &id}, store.Page{Limit: 200})
	require.NoError(t, err)
	for _, r := range rows {
		require.Equal(t, models.TriggerWebhook, r.TriggerType)
		run, err := b.store.For(b.ws).Run(t.Context(), r.ID)
		require.NoError(t, err)
		payloads = append(payloads, string(run.Payload))
	}
	return payloads
}

func TestASignedWebhookStartsARunOnce(t *testing.T) {
	t.Parallel()
	const body = `{"id":"evt_1",  "lead":"l1","event_id":"Ev1"}`
	now := func() string { return strconv.FormatInt(time.Now().Unix(), 10) }
	for kind, headers := range map[string]func(secret string) []string{
		"10ex": func(secret string) []string { return []string{"X-10ex-Signature", "sha256=" + hexMAC(secret, body)} },
		"github": func(secret string) []string {
			return []string{"X-Hub-Signature-256", "sha256=" + hexMAC(secret, body), "X-GitHub-Delivery", "d-1", "X-GitHub-Event", "push"}
		},
		"stripe": func(secret string) []string {
			at := now()
			return []string{"Stripe-Signature", "t=" + at + ",v1=" + hexMAC(secret, at+"."+body)}
		},
		"slack": func(secret string) []string {
			at := now()
			return []string{"X-Slack-Request-Timestamp", at, "X-Slack-Signature", "v0=" + hexMAC(secret, "v0:"+at+":"+body), "X-Slack-Retry-Num", "1"}
		},
		"none": func(string) []string { return []string{"Webhook-Id", "msg_1"} },
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			each(t, options{}, func(t *testing.T, b *bundle) {
				trigger, path, secret := b.inbound(t, `,"verify":"`+kind+`"`)
				require.Equal(t, kind == "none", secret == "")
				send := func(body string, headers ...string) answer {
					return b.as(t, "", "POST", path, body, append([]string{"Content-Type", "application/json"}, headers...)...)
				}
				got := send(body, headers(secret)...)
				require.Equal(t, 202, got.status, got.body)
				first := got.str(t, "id")
				require.Equal(t, []string{`{"id":"evt_1","lead":"l1","event_id":"Ev1"}`}, compact(t, b.runsOf(t, trigger)))
				got = send(body, headers(secret)...)
				require.Equal(t, 200, got.status, got.body)
				require.Equal(t, first, got.str(t, "id"))
				require.Equal(t, true, got.get(t, "duplicate"))
				require.Len(t, b.runsOf(t, trigger), 1)

				event := b.call(t, "GET", "/events/"+first, "")
				require.Equal(t, "webhook", event.str(t, "source"))
				want := "webhook.received"
				if kind == "github" {
					want = "github.push"
				}
				require.Equal(t, want, event.str(t, "type"))
				if kind == "none" {
					return
				}
				refused := ""
				for _, bad := range []answer{
					send(body), send(strings.ReplaceAll(body, "  ", ""), headers(secret)...), send(body, headers("whsec_of_somebody_else")...),
					send(`{`, headers(secret)...), send("", headers(secret)...),
				} {
					require.Equal(t, 401, bad.status, bad.body)
					text := requestIDPart.ReplaceAllString(bad.body, "")
					if refused == "" {
						refused = text
					}
					require.Equal(t, refused, text)
				}
				require.Len(t, b.runsOf(t, trigger), 1)
				require.Equal(t, 200, b.call(t, "PATCH", "/triggers/"+trigger, `{"enabled":false}`).status)
				got = send(body, headers(secret)...)
				require.Equal(t, 409, got.status, got.body)
				require.Equal(t, "invalid_state", got.str(t, "code"))
				require.Equal(t, 401, send(body).status, "what proves nothing learns nothing")
				require.Equal(t, 204, b.call(t, "DELETE", "/triggers/"+trigger, "").status)
				require.Equal(t, 404, send(body, headers(secret)...).status)
			})
		})
	}
}

func compact(t *testing.T, texts []string) []string {
	t.Helper()
	for i, s := range texts {
		var v json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(s), &v))
		texts[i] = strings.ReplaceAll(strings.ReplaceAll(s, " ", ""), "\n", "")
	}
	return texts
}

func TestWhatIsWrongWithAWebhook(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		trigger, path, _ := b.inbound(t, `,"verify":"none"`)
		deep := strings.Repeat("[", 65) + strings.Repeat("]", 65)
		for name, tc := range map[string]struct {
			path, body, contentType string
			status                  int
		}{
			"unknown token":   {hooksPath + "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", `{}`, "application/json", 404},
			"endless token":   {hooksPath + strings.Repeat("a", 500), `{}`, "application/json", 404},
			"not JSON":        {path, `{"a":`, "application/json", 400},
			"a page":          {path, `<html>`, "text/html", 400},
			"nested too deep": {path, deep, "application/json", 422},
			"NUL":             {path, `{"a":"\u0000"}`, "application/json", 422},
			"NUL in a form":   {path, "a=%00", "application/x-www-form-urlencoded", 422},
			"no form":         {path, "a=%zz", "application/x-www-form-urlencoded", 422},
			"deep in a form":  {path, "payload=" + deep, "application/x-www-form-urlencoded", 422},
		} {
			got := b.as(t, "", "POST", tc.path, tc.body, "Content-Type", tc.contentType)
			require.Equal(t, tc.status, got.status, "%s: %s", name, got.body)
			require.Equal(t, problemType, got.header.Get("Content-Type"), name)
		}
		got := b.as(t, "", "POST", path, `{}`, "Content-Type", "application/json", "Content-Encoding", "gzip")
		require.Equal(t, 415, got.status, got.body)
		require.Equal(t, 405, b.as(t, "", "GET", path, "").status)
		require.Empty(t, b.runsOf(t, trigger))
		events := b.call(t, "GET", "/events", "")
		require.Equal(t, []any{}, events.get(t, "items"), "nothing is left behind")

		for _, body := range []string{"", `{}`, `{}`} { // nobody gives an id: each is a new one
			require.Equal(t, 202, b.as(t, "", "POST", path, body, "Content-Type", "application/json").status)
		}
		require.Len(t, b.runsOf(t, trigger), 3)
	})
}

func TestFormsBecomeObjects(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		trigger, path, _ := b.inbound(t, `,"verify":"none"`)
		const form = "application/x-www-form-urlencoded"
		got := b.as(t, "", "POST", path, "name=Ada+L&tag=a&tag=b&empty=", "Content-Type", form+"; charset=utf-8")
		require.Equal(t, 202, got.status, got.body)
		require.JSONEq(t, `{"name":"Ada L","tag":["a","b"],"empty":""}`, b.runsOf(t, trigger)[0])
		got = b.as(t, "", "POST", path, "payload="+url.QueryEscape(`{"type":"block_actions"}`), "Content-Type", form)
		require.Equal(t, 202, got.status, got.body)
		require.JSONEq(t, `{"type":"block_actions"}`, b.runsOf(t, trigger)[0])
	})
}

func TestSlackIsToldItsChallengeAndNothingElse(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		const secret = "8f742231b10e8888abcd99yyyzzz85a5"
		trigger, path, shown := b.inbound(t, `,"verify":"slack","secret":"`+secret+`"`)
		require.Equal(t, secret, shown)
		signed := func(body, contentType string) answer {
			at := strconv.FormatInt(time.Now().Unix(), 10)
			return b.as(t, "", "POST", path, body, "Content-Type", contentType,
				"X-Slack-Request-Timestamp", at, "X-Slack-Signature", "v0="+hexMAC(secret, "v0:"+at+":"+body))
		}
		const challenge = `{"token":"t","challenge":"3eZbrw1aB","type":"url_verification"}`
		require.Equal(t, 401, b.as(t, "", "POST", path, challenge, "Content-Type", "application/json").status)
		got := signed(challenge, "application/json")
		require.Equal(t, 200, got.status, got.body)
		require.Equal(t, "3eZbrw1aB", got.str(t, "challenge"))
		require.Empty(t, b.runsOf(t, trigger))

		got = signed("command=%2Flead&text=Ada&trigger_id=13345224609.8534564800", "application/x-www-form-urlencoded")
		require.Equal(t, 200, got.status, got.body)
		require.Empty(t, got.body, "Slack would show it to people")
		require.Len(t, b.runsOf(t, trigger), 1)
	})
}

func TestSecretsCanBeReplaced(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		trigger, path, first := b.inbound(t, "")
		shown := b.call(t, "GET", "/triggers/"+trigger, "")
		require.Equal(t, "10ex", shown.str(t, "verify"), "nobody is believed who was not asked to be")
		n := 0
		send := func(secret string) int {
			n++
			body := `{"id":"evt_` + strconv.Itoa(n) + `"}`
			return b.as(t, "", "POST", path, body, "X-10ex-Signature", "sha256="+hexMAC(secret, body)).status
		}
		require.Equal(t, 202, send(first))
		got := b.call(t, "POST", "/triggers/"+trigger+"/rotate-secret", "")
		require.Equal(t, 200, got.status, got.body)
		second := got.str(t, "secret")
		require.NotEqual(t, first, second)
		until, err := time.Parse(time.RFC3339, got.str(t, "old_secret_until"))
		require.NoError(t, err)
		require.WithinDuration(t, time.Now().Add(24*time.Hour), until, time.Minute)
		require.Equal(t, 202, send(second))
		require.Equal(t, 202, send(first))

		const mine = "a secret of my own making"
		got = b.call(t, "PATCH", "/triggers/"+trigger, `{"secret":"`+mine+`"}`)
		require.Equal(t, 200, got.status, got.body)
		require.NotContains(t, got.body, mine)
		require.Equal(t, 202, send(mine))
		require.Equal(t, 401, send(first))
		require.Equal(t, 401, send(second))

		got = b.call(t, "PATCH", "/triggers/"+trigger, `{"verify":"standard"}`)
		require.Equal(t, 422, got.status, got.body)
		for _, bad := range []string{`{"secret":"short"}`, `{"verify":"md5"}`, `{"verify":"standard","secret":"this is not base64 at all"}`} {
			require.Equal(t, 422, b.call(t, "PATCH", "/triggers/"+trigger, bad).status, bad)
		}
		require.Equal(t, 202, send(mine))
		plain := b.call(t, "POST", "/triggers", `{"type":"event","event_type":"a","workflow_id":"`+b.workflow(t, passing)+`"}`)
		require.Equal(t, 409, b.call(t, "POST", "/triggers/"+plain.str(t, "id")+"/rotate-secret", "").status)
		require.Equal(t, 422, b.call(t, "PATCH", "/triggers/"+plain.str(t, "id"), `{"secret":"a secret for nothing"}`).status)
	})
}

func TestWebhooksOfOneTokenAreCounted(t *testing.T) {
	t.Parallel()
	each(t, options{cfg: Config{RateLimit: 30}}, func(t *testing.T, b *bundle) {
		_, path, _ := b.inbound(t, `,"verify":"none"`)
		var got answer
		for sent := 0; got.status != 429; sent++ { // some come back while it is sent
			require.Less(t, sent, 300)
			got = b.as(t, "", "POST", path, `{}`)
		}
		require.NotEmpty(t, got.header.Get("Retry-After"))
		require.Equal(t, 200, b.call(t, "GET", "/whoami", "").status, "keys are counted by themselves")
		got = answer{}
		for sent := 0; got.status != 429; sent++ { // who guesses tokens is told to wait, whatever the token
			require.Less(t, sent, 300)
			got = b.as(t, "", "POST", hooksPath+ids.New("x"), `{}`)
		}
	})
}

func TestDeliveriesShowTheirAttempts(t *testing.T) {
	t.Parallel()
	each(t, options{}, func(t *testing.T, b *bundle) {
		code := http.StatusServiceUnavailable
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(code)
			_, _ = io.WriteString(w, "not now")
		}))
		t.Cleanup(srv.Close)
		made := b.call(t, "POST", "/triggers", `{"type":"event","event_type":"lead.*","target_type":"webhook","url":"`+srv.URL+`"}`)
		require.Equal(t, 201, made.status, made.body)
		require.True(t, strings.HasPrefix(made.str(t, "secret"), "whsec_"))
		trigger := made.str(t, "id")
		path := "/triggers/" + trigger + "/deliveries"
		require.Equal(t, []any{}, b.call(t, "GET", path, "").get(t, "items"))
		sent := b.call(t, "POST", "/events", `{"type":"lead.created","data":{}}`)
		attempt := func() {
			s, _, err := b.bus.ClaimDelivery(t.Context(), b.ws, models.TriggerID(trigger))
			require.NoError(t, err)
			require.NotNil(t, s)
			_, err = b.bus.Deliver(t.Context(), s)
			require.NoError(t, err)
		}
		attempt()
		one := func() map[string]any {
			items, _ := b.call(t, "GET", path, "").get(t, "items").([]any)
			require.Len(t, items, 1)
			return items[0].(map[string]any)
		}
		d := one()
		require.Equal(t, "pending", d["status"])
		require.Equal(t, sent.str(t, "id"), d["event_id"])
		require.NotNil(t, d["next_attempt_at"])
		first := d["attempts"].([]any)[0].(map[string]any)
		require.Equal(t, "failed", first["status"])
		require.InEpsilon(t, 503, first["code"], 0.1)
		require.Equal(t, "not now", first["snippet"])
		require.Contains(t, first["error"], "503")

		code = http.StatusNoContent
		id := d["id"].(string)
		got := b.call(t, "POST", "/deliveries/"+id+"/redeliver", "")
		require.Equal(t, 202, got.status, got.body)
		attempt()
		d = one()
		require.Equal(t, "delivered", d["status"])
		require.Len(t, d["attempts"], 2)
		require.Nil(t, d["error"])
		require.Nil(t, d["next_attempt_at"])
		require.Equal(t, []any{}, b.call(t, "GET", path+"?status=failed", "").get(t, "items"))
		require.Equal(t, 422, b.call(t, "GET", path+"?status=odd", "").status)
		require.Equal(t, 404, b.call(t, "POST", "/deliveries/"+ids.New("dlv")+"/redeliver", "").status)
		event := b.call(t, "GET", "/events/"+sent.str(t, "id"), "").body
		require.Contains(t, event, trigger)

		require.Equal(t, 204, b.call(t, "DELETE", "/triggers/"+trigger, "").status)
		require.Equal(t, 404, b.call(t, "GET", path, "").status)
		require.Equal(t, 409, b.call(t, "POST", "/deliveries/"+id+"/redeliver", "").status)
	})
}
