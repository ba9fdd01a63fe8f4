package bus

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/10ex/flows/models"
)

// tolerance is how far the time inside of a signature may be from ours.
const tolerance = 5 * time.Minute

// proof is a request that has to show where it comes from.
type proof struct {
	header  http.Header
	body    []byte // as it came: encoding it again may change it
	now     time.Time
	secrets []string // each of which will do
}

// verifier checks a proof and gives the id by which the sender knows the delivery:
// the same one when it sends it again. Empty: the sender gives none.
type verifier func(p proof) (id string, ok bool)

var verifiers = map[models.VerifyKind]verifier{
	models.VerifyNone:     verifyNone,
	models.Verify10ex:     verify10ex,
	models.VerifyStandard: verifyStandard,
	models.VerifyGitHub:   verifyGitHub,
	models.VerifyStripe:   verifyStripe,
	models.VerifySlack:    verifySlack,
}

// verify tells whether a request proves itself in the way the trigger demands. What
// is not known, or has no secret to prove anything with, never does.
func verify(kind models.VerifyKind, p proof) (id string, ok bool) {
	check := verifiers[kind]
	if check == nil || kind != models.VerifyNone && len(p.secrets) == 0 {
		return "", false
	}
	return check(p)
}

// verifyNone believes everybody. Only the headers made for it name a delivery: an id
// in the body may be that of a thing, which is told of more than once.
func verifyNone(p proof) (string, bool) {
	for _, name := range []string{headerWebhookID, "Idempotency-Key"} {
		if id := p.header.Get(name); id != "" {
			return id, true
		}
	}
	return "", true
}

// verify10ex: sha256=<hex of the HMAC of the body>, the secret as it is written. There
// is no time in it, so a repetition is known by the event's id, or else by the body.
func verify10ex(p proof) (string, bool) {
	if !p.signed(tokens(p.header.Get(headerSignature10ex), ", ", prefix10ex, hex.DecodeString), p.body) {
		return "", false
	}
	if id := stringIn(p.body, "id"); id != "" {
		return id, true
	}
	return digest(p.body), true
}

// verifyStandard: Standard Webhooks 1.0.
func verifyStandard(p proof) (string, bool) {
	id, seconds := p.header.Get(headerWebhookID), p.header.Get(headerWebhookTime)
	if id == "" || !p.recent(seconds) {
		return "", false
	}
	given := tokens(p.header.Get(headerWebhookSigns), " ", prefixStandard, base64.StdEncoding.DecodeString)
	ok := false
	for _, s := range p.secrets {
		if key, usable := standardKey(s); usable {
			ok = anyEqual(given, standardMAC(key, id, seconds, p.body)) || ok
		}
	}
	return id, ok
}

// verifyGitHub: sha256=<hex of the HMAC of the body>. The older header with SHA-1 does
// not count.
func verifyGitHub(p proof) (string, bool) {
	if !p.signed(tokens(p.header.Get("X-Hub-Signature-256"), "", prefix10ex, hex.DecodeString), p.body) {
		return "", false
	}
	if id := p.header.Get("X-GitHub-Delivery"); id != "" {
		return id, true
	}
	return digest(p.body), true
}

// verifyStripe: t=<seconds>,v1=<hex>,v1=<hex>…; what is signed is the time, a dot and
// the body. Other schemes than v1 are for Stripe's own tests.
func verifyStripe(p proof) (string, bool) {
	header := p.header.Get("Stripe-Signature")
	seconds := ""
	for item := range strings.SplitSeq(header, ",") {
		if t, found := strings.CutPrefix(strings.TrimSpace(item), "t="); found {
			seconds = t
			break
		}
	}
	if !p.recent(seconds) || !p.signed(tokens(header, ",", "v1=", hex.DecodeString), []byte(seconds+"."), p.body) {
		return "", false
	}
	if id := stringIn(p.body, "id"); id != "" {
		return id, true
	}
	return digest([]byte(seconds), p.body), true
}

// verifySlack: v0=<hex of the HMAC of v0:time:body>. Events have an id; what else Slack
// sends is sent once.
func verifySlack(p proof) (string, bool) {
	seconds := p.header.Get("X-Slack-Request-Timestamp")
	given := tokens(p.header.Get("X-Slack-Signature"), "", "v0=", hex.DecodeString)
	if !p.recent(seconds) || !p.signed(given, []byte("v0:"+seconds+":"), p.body) {
		return "", false
	}
	if id := stringIn(p.body, "event_id"); id != "" {
		return id, true
	}
	return digest([]byte(seconds), p.body), true
}

// signed tells whether one of the codes given is that of the parts under one of the
// secrets as they are written.
func (p proof) signed(given [][]byte, parts ...[]byte) bool {
	ok := false
	for _, s := range p.secrets {
		ok = s != "" && anyEqual(given, mac([]byte(s), parts...)) || ok
	}
	return ok
}

// recent tells whether a time in whole seconds is near ours.
func (p proof) recent(seconds string) bool {
	n, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil || n <= 0 || seconds[0] == '+' {
		return false
	}
	away := p.now.Unix() - n
	limit := int64(tolerance / time.Second)
	return away <= limit && away >= -limit
}

// mostTokens bounds the signatures of one request that are looked at.
const mostTokens = 16

// tokens gives what stands behind prefix in a list, decoded. What cannot be decoded is
// left out. Without separators the text is one item.
func tokens(list, separators, prefix string, decode func(string) ([]byte, error)) (out [][]byte) {
	items := strings.FieldsFunc(list, func(r rune) bool { return strings.ContainsRune(separators, r) })
	for _, item := range items {
		text, found := strings.CutPrefix(strings.TrimSpace(item), prefix)
		if !found || len(out) == mostTokens {
			continue
		}
		if code, err := decode(text); err == nil {
			out = append(out, code)
		}
	}
	return out
}

// anyEqual compares without telling by its time how much of a code is right.
func anyEqual(given [][]byte, want []byte) bool {
	ok := false
	for _, g := range given {
		ok = hmac.Equal(g, want) || ok
	}
	return ok
}

// stringIn gives a text at the top of a JSON object; empty where there is none.
func stringIn(body []byte, field string) string {
	var object map[string]json.RawMessage
	var text string
	if json.Unmarshal(body, &object) != nil || json.Unmarshal(object[field], &text) != nil {
		return ""
	}
	return text
}

func digest(parts ...[]byte) string {
	h := sha256.New()
	for _, p := range parts {
		h.Write(p)
		h.Write([]byte{0})
	}
	return "sha256-" + hex.EncodeToString(h.Sum(nil))
}
