package api

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"

	"github.com/10ex/flows/models"
)

const (
	sessionCookie = "flows_session"
	sessionAge    = 12 * time.Hour
)

// session says which key somebody logged in with. It is signed and kept by the
// browser; the server keeps none, and asks on every request whether the key may
// still be used.
type session struct {
	KeyPrefix string `json:"k"`
	Expires   int64  `json:"e"` // Unix seconds
}

func (a *API) sign(payload string) []byte {
	mac := hmac.New(sha256.New, a.sessionKey)
	mac.Write([]byte("session\x00" + payload))
	return mac.Sum(nil)
}

// newSession gives the value of the cookie.
func (a *API) newSession(key *models.APIKey) string {
	b, err := json.Marshal(session{KeyPrefix: key.Prefix, Expires: a.now().Add(sessionAge).Unix()})
	if err != nil {
		panic("api: session: " + err.Error()) // a string and a number always marshal
	}
	payload := base64.RawURLEncoding.EncodeToString(b)
	return payload + "." + base64.RawURLEncoding.EncodeToString(a.sign(payload))
}

// openSession reads the value of the cookie. ok is false for whatever is not a
// session that we signed and that still runs.
func (a *API) openSession(cookie string) (s session, ok bool) {
	payload, signature, _ := strings.Cut(cookie, ".")
	mac, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil || !hmac.Equal(mac, a.sign(payload)) {
		return session{}, false
	}
	b, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil || json.Unmarshal(b, &s) != nil {
		return session{}, false
	}
	return s, a.now().Unix() < s.Expires
}
