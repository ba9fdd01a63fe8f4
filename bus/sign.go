package bus

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Headers that sign a webhook.
const (
	headerSignature10ex = "X-10ex-Signature"
	headerWebhookID     = "Webhook-Id"
	headerWebhookTime   = "Webhook-Timestamp"
	headerWebhookSigns  = "Webhook-Signature"
)

const (
	prefix10ex     = "sha256="
	prefixStandard = "v1,"
)

// sign puts the signatures of both kinds into the headers of a webhook that goes
// out: 10ex's with the first secret, that of Standard Webhooks with each.
func sign(h http.Header, id string, at time.Time, body []byte, secrets []string) {
	h.Set(headerSignature10ex, prefix10ex+hex.EncodeToString(mac([]byte(secrets[0]), body)))
	seconds := strconv.FormatInt(at.Unix(), 10)
	signs := make([]string, 0, len(secrets))
	for _, s := range secrets {
		if key, ok := standardKey(s); ok {
			signs = append(signs, prefixStandard+base64.StdEncoding.EncodeToString(standardMAC(key, id, seconds, body)))
		}
	}
	h.Set(headerWebhookID, id)
	h.Set(headerWebhookTime, seconds)
	h.Set(headerWebhookSigns, strings.Join(signs, " "))
}

// standardMAC is what Standard Webhooks sign with: the id, the time in seconds and
// the body as it is, with dots between.
func standardMAC(key []byte, id, seconds string, body []byte) []byte {
	return mac(key, []byte(id+"."+seconds+"."), body)
}

// standardKey is the key behind a secret as Standard Webhooks write it: base64, of
// which whsec_ may stand in front.
func standardKey(secret string) ([]byte, bool) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, secretPrefix))
	return key, err == nil && len(key) > 0
}

func mac(key []byte, parts ...[]byte) []byte {
	h := hmac.New(sha256.New, key)
	for _, p := range parts {
		h.Write(p)
	}
	return h.Sum(nil)
}
