package slack

import (
	"encoding/json"
	"regexp"
	"time"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/rest"
)

// passing are the errors that may be gone the next time.
var passing = map[string]bool{
	"ratelimited": true, "rate_limited": true,
	"internal_error": true, "fatal_error": true, "service_unavailable": true, "request_timeout": true, "team_added_to_org": true,
}

// unauthorized are the errors of tokens that Slack does not take, or no longer.
var unauthorized = map[string]bool{
	"not_authed": true, "invalid_auth": true, "token_revoked": true, "token_expired": true, "account_inactive": true,
}

var errorForm = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// maxError bounds the length of a code: Slack's longest have half of it.
const maxError = 60

// check finds the failure in an answer: Slack says 200 to nearly everything, and in the
// body whether it meant it.
func check(a rest.Answer) error {
	var body struct {
		OK       *bool  `json:"ok"`
		Error    string `json:"error"`
		Needed   string `json:"needed"`
		Metadata struct {
			Messages []string `json:"messages"`
		} `json:"response_metadata"`
	}
	if json.Unmarshal(a.Body, &body) != nil || body.OK == nil || *body.OK {
		return nil //nolint:nilerr // that of a webhook is text
	}
	e := &connectors.Error{Code: "slack_error", Message: "Slack refused", Status: a.Status}
	if len(body.Error) <= maxError && errorForm.MatchString(body.Error) {
		e.Code = "slack_" + body.Error
		e.Message += ": " + body.Error
		e.Retryable, e.Unauthorized = passing[body.Error], unauthorized[body.Error]
	}
	switch {
	case len(body.Needed) <= maxHint && scopes.MatchString(body.Needed):
		e.Message += " (the token needs the scope " + body.Needed + ")"
	case len(body.Metadata.Messages) > 0:
		e.Message += " (" + shorten(body.Metadata.Messages[0]) + ")"
	}
	if e.Retryable {
		e.RetryAfter = connectors.ParseRetryAfter(a.Header, time.Now())
	}
	return e
}

var scopes = regexp.MustCompile(`^[a-z0-9:,._]+$`)

// maxHint bounds what is repeated of Slack's own words.
const maxHint = 200

func shorten(s string) string {
	runes := []rune(s)
	if len(runes) > maxHint {
		return string(runes[:maxHint]) + "…"
	}
	return s
}
