package bus

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/models"
)

const (
	testSecret  = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwfJmuJ0a1b2c="
	otherSecret = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
)

// hexMAC is what openssl dgst -sha256 -hmac prints.
func hexMAC(secret, text string) string {
	h := hmac.New(sha256.New, []byte(secret))
	_, _ = h.Write([]byte(text))
	return hex.EncodeToString(h.Sum(nil))
}

// signer signs a request as the sender of a kind does, by code that is not ours.
type signer func(t *testing.T, h http.Header, body, secret string, at time.Time)

var signers = map[models.VerifyKind]signer{
	models.Verify10ex: func(_ *testing.T, h http.Header, body, secret string, _ time.Time) {
		h.Set("X-10ex-Signature", "sha256="+hexMAC(secret, body))
	},
	models.VerifyStandard: func(t *testing.T, h http.Header, body, secret string, at time.Time) {
		t.Helper()
		wh, err := standardwebhooks.NewWebhook(secret)
		require.NoError(t, err)
		sign, err := wh.Sign("msg_1", at, []byte(body))
		require.NoError(t, err)
		h.Set("webhook-id", "msg_1")
		h.Set("webhook-timestamp", strconv.FormatInt(at.Unix(), 10))
		h.Set("webhook-signature", sign)
	},
	models.VerifyGitHub: func(_ *testing.T, h http.Header, body, secret string, _ time.Time) {
		h.Set("X-Hub-Signature-256", "sha256="+hexMAC(secret, body))
		h.Set("X-GitHub-Delivery", "72d3162e-cc78-11e3-81ab-4c9367dc0958")
	},
	models.VerifyStripe: func(_ *testing.T, h http.Header, body, secret string, at time.Time) {
		t := strconv.FormatInt(at.Unix(), 10)
		h.Set("Stripe-Signature", "t="+t+",v1="+hexMAC(secret, t+"."+body)+",v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39")
	},
	models.VerifySlack: func(_ *testing.T, h http.Header, body, secret string, at time.Time) {
		t := strconv.FormatInt(at.Unix(), 10)
		h.Set("X-Slack-Request-Timestamp", t)
		h.Set("X-Slack-Signature", "v0="+hexMAC(secret, "v0:"+t+":"+body))
	},
}

// timed are the kinds whose signatures hold a time.
var timed = map[models.VerifyKind]bool{models.VerifyStandard: true, models.VerifyStripe: true, models.VerifySlack: true}

var testNow = time.Date(2026, 5, 4, 9, 0, 0, 0, time.UTC)

const testBody = `{"id":"evt_1",  "event_id":"Ev1","data":{"é":1}}`

func check(kind models.VerifyKind, h http.Header, body string, secrets ...string) (string, bool) {
	return verify(kind, proof{header: h, body: []byte(body), now: testNow, secrets: secrets})
}

func TestWhatIsSignedPasses(t *testing.T) {
	t.Parallel()
	ids := map[models.VerifyKind]string{
		models.Verify10ex: "evt_1", models.VerifyStandard: "msg_1", models.VerifyGitHub: "72d3162e-cc78-11e3-81ab-4c9367dc0958",
		models.VerifyStripe: "evt_1", models.VerifySlack: "Ev1",
	}
	for kind, sign := range signers {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			h := http.Header{}
			sign(t, h, testBody, testSecret, testNow)
			id, ok := check(kind, h, testBody, testSecret)
			require.True(t, ok)
			require.Equal(t, ids[kind], id)
			_, ok = check(kind, h, testBody, otherSecret, testSecret)
			require.True(t, ok, "the secret before counts as well")
		})
	}
}

func TestWhatProvesNothingIsRefused(t *testing.T) {
	t.Parallel()
	for kind, sign := range signers {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			signed := func(secret string, at time.Time) http.Header {
				h := http.Header{}
				sign(t, h, testBody, secret, at)
				return h
			}
			refused := func(why string, h http.Header, body string, secrets ...string) {
				t.Helper()
				_, ok := check(kind, h, body, secrets...)
				require.False(t, ok, why)
			}
			refused("no signature", http.Header{}, testBody, testSecret)
			refused("another secret", signed(otherSecret, testNow), testBody, testSecret)
			refused("no secret to compare with", signed(testSecret, testNow), testBody)
			if kind != models.VerifyStandard { // whose library signs with no empty key
				refused("an empty key is no secret", signed("", testNow), testBody, "")
			}
			refused("a body that was encoded again", signed(testSecret, testNow), strings.ReplaceAll(testBody, "  ", ""), testSecret)
			refused("a body that was cut", signed(testSecret, testNow), testBody[:20], testSecret)
			refused("a longer body", signed(testSecret, testNow), testBody+"\n", testSecret)
			for name := range signed(testSecret, testNow) {
				if name == "X-Github-Delivery" {
					continue
				}
				h := signed(testSecret, testNow)
				h.Del(name)
				refused("without "+name, h, testBody, testSecret)
				for _, bad := range []string{"", " ", "sha256=", "v1,", "v1", "t=,v1=", "sha256=zz", "v0=", "0", "+1"} {
					h.Set(name, bad)
					refused(name+" is "+bad, h, testBody, testSecret)
				}
			}
			if timed[kind] {
				for _, away := range []time.Duration{301 * time.Second, -301 * time.Second, 24 * time.Hour} {
					refused("the time is off by "+away.String(), signed(testSecret, testNow.Add(away)), testBody, testSecret)
				}
				for _, away := range []time.Duration{299 * time.Second, -299 * time.Second} {
					_, ok := check(kind, signed(testSecret, testNow.Add(away)), testBody, testSecret)
					require.True(t, ok, away)
				}
			}
		})
	}
	_, ok := check("md5", http.Header{}, testBody, testSecret)
	require.False(t, ok, "a kind nobody knows")
	_, ok = check("", http.Header{}, testBody, testSecret)
	require.False(t, ok)
}

func TestOneGoodSignatureOfSeveralIsEnough(t *testing.T) {
	t.Parallel()
	for kind, header := range map[models.VerifyKind]struct{ name, format string }{
		models.VerifyStandard: {"Webhook-Signature", "v1,AAAA v1a,xxxx %s v1,not-base64!"},
		models.VerifyStripe:   {"Stripe-Signature", "v1=00ff,%s,v1=zz"},
		models.Verify10ex:     {"X-10ex-Signature", "sha256=00, %s"},
	} {
		h := http.Header{}
		signers[kind](t, h, testBody, testSecret, testNow)
		h.Set(header.name, fmt.Sprintf(header.format, h.Get(header.name)))
		_, ok := check(kind, h, testBody, testSecret)
		require.True(t, ok, kind)
	}
	h := http.Header{}
	signers[models.VerifyStripe](t, h, testBody, testSecret, testNow)
	h.Set("Stripe-Signature", strings.Replace(h.Get("Stripe-Signature"), "v1=", "v0=", 1))
	_, ok := check(models.VerifyStripe, h, testBody, testSecret)
	require.False(t, ok, "only v1 counts")
}

func TestStandardSecretsAreReadBehindTheirPrefix(t *testing.T) {
	t.Parallel()
	h := http.Header{}
	signers[models.VerifyStandard](t, h, testBody, testSecret, testNow)
	_, ok := check(models.VerifyStandard, h, testBody, strings.TrimPrefix(testSecret, "whsec_"))
	require.True(t, ok)
	_, ok = check(models.VerifyStandard, h, testBody, "not base64 at all")
	require.False(t, ok)
}

// The vector of the documents of GitHub and of the specification of Standard Webhooks.
func TestKnownSignatures(t *testing.T) {
	t.Parallel()
	h := http.Header{}
	h.Set("X-Hub-Signature-256", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17")
	_, ok := check(models.VerifyGitHub, h, "Hello, World!", "It's a Secret to Everybody")
	require.True(t, ok)

	h = http.Header{}
	h.Set("webhook-id", "msg_p5jXN8AQM9LWM0D4loKWxJek")
	h.Set("webhook-timestamp", "1614265330")
	h.Set("webhook-signature", "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
	id, ok := verify(models.VerifyStandard, proof{
		header: h, body: []byte(`{"test": 2432232314}`), now: time.Unix(1614265330, 0), secrets: []string{"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"},
	})
	require.True(t, ok)
	require.Equal(t, "msg_p5jXN8AQM9LWM0D4loKWxJek", id)
}

func TestDeliveriesWithoutAnIDAreKnownByWhatIsSigned(t *testing.T) {
	t.Parallel()
	const body = `{"no":"id"}`
	for kind, sign := range signers {
		if kind == models.VerifyStandard {
			continue // it always has one
		}
		first, second := http.Header{}, http.Header{}
		sign(t, first, body, testSecret, testNow)
		sign(t, second, body+" ", testSecret, testNow)
		first.Del("X-GitHub-Delivery")
		second.Del("X-GitHub-Delivery")
		a, ok := check(kind, first, body, testSecret)
		require.True(t, ok, kind)
		again, _ := check(kind, first, body, testSecret)
		b, ok := check(kind, second, body+" ", testSecret)
		require.True(t, ok, kind)
		require.NotEmpty(t, a)
		require.Equal(t, a, again)
		require.NotEqual(t, a, b, kind)
	}
	id, ok := check(models.VerifyNone, http.Header{}, testBody)
	require.True(t, ok)
	require.Empty(t, id, "an id in a body that nobody vouches for may be that of a thing")
	id, _ = check(models.VerifyNone, http.Header{"Webhook-Id": {"m1"}}, testBody)
	require.Equal(t, "m1", id)
}

func TestWhatWeSignOthersVerify(t *testing.T) {
	t.Parallel()
	body := []byte(`{"id":"evt_1"}`)
	h := http.Header{}
	at := time.Now()
	sign(h, "evt_1", at, body, []string{testSecret, otherSecret})
	require.Equal(t, "sha256="+hexMAC(testSecret, string(body)), h.Get("X-10ex-Signature"))
	require.Equal(t, "evt_1", h.Get("webhook-id"))
	for _, secret := range []string{testSecret, otherSecret} {
		wh, err := standardwebhooks.NewWebhook(secret)
		require.NoError(t, err)
		require.NoError(t, wh.Verify(body, h))
		require.Error(t, wh.Verify(append(bytes.Clone(body), ' '), h))
	}
	stranger, err := standardwebhooks.NewWebhook("whsec_" + strings.Repeat("QUJD", 8))
	require.NoError(t, err)
	require.Error(t, stranger.Verify(body, h))
}

func TestSecretsAndTokensCannotBeGuessed(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for range 1000 {
		secret, token := newSecret(), newToken()
		key, ok := standardKey(secret)
		require.True(t, ok)
		require.Len(t, key, 32)
		require.GreaterOrEqual(t, len(token)*6, 128)
		require.False(t, seen[secret] || seen[token])
		seen[secret], seen[token] = true, true
		require.Len(t, tokenHash(token), 32)
	}
}
