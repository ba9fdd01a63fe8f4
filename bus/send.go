package bus

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/10ex/flows/internal/egress"
	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/models"
)

// attempt is what came of sending a webhook once.
type attempt struct {
	code    *int   // of the answer; nil: there was none
	failed  string // what went wrong, in words for people; empty where it arrived
	snippet string // how the answer began
	final   bool   // it need not be tried again
	asked   time.Duration
	took    time.Duration
}

func (a attempt) answered() bool { return a.code != nil }
func (a attempt) gone() bool     { return a.code != nil && *a.code == http.StatusGone }

const reasonAnswered410 = "the address answered 410 Gone"

// envelope is the body of a webhook: 10ex's fields, and the time as Standard Webhooks
// have it.
type envelope struct {
	ID         models.EventID     `json:"id"`
	Type       string             `json:"type"`
	Company    models.WorkspaceID `json:"company_id"`
	OccurredAt string             `json:"occurred_at"`
	Data       json.RawMessage    `json:"data"`
	Timestamp  string             `json:"timestamp"`
}

// bodyTime is RFC 3339 with microseconds, as everywhere.
const bodyTime = "2006-01-02T15:04:05.000000Z"

// webhookBody is the same for every attempt.
func webhookBody(e *models.Event, link string) ([]byte, error) {
	at := e.OccurredAt.UTC().Format(bodyTime)
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(envelope{ID: e.ID, Type: e.Type, Company: e.WorkspaceID, OccurredAt: at, Data: linked(e.Data, link), Timestamp: at})
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

var errWebhookTimeout = errors.New("the attempt's time is up")

// send attempts a delivery.
func (b *Bus) send(ctx context.Context, s *Sending) attempt {
	ctx, cancel := context.WithTimeoutCause(ctx, b.cfg.Webhooks.Timeout, errWebhookTimeout)
	defer cancel()
	req, err := b.request(ctx, s)
	if err != nil {
		b.log.ErrorContext(ctx, "a webhook cannot be made", obs.Err(err))
		return attempt{failed: "the webhook could not be made: something is wrong on our side"}
	}
	if b.webhooks == nil {
		return attempt{failed: "this server sends no webhooks"}
	}
	resp, err := b.webhooks.Do(req)
	if err != nil {
		return b.unanswered(ctx, err)
	}
	got := answered(resp)
	// What the answer says does not matter, so it may not keep us: it is read while it
	// comes soon, and no further than is kept.
	hurry := time.AfterFunc(snippetPatience, cancel)
	defer hurry.Stop()
	token, _ := b.link(s.event)
	got.snippet = unlinked(snippet(resp.Body), token) // an address may repeat what it was sent
	_ = resp.Body.Close()
	return got
}

func (b *Bus) request(ctx context.Context, s *Sending) (*http.Request, error) {
	now := b.now()
	secrets, err := b.secrets(s.trigger, now)
	if err == nil && len(secrets) == 0 {
		err = errors.New("the trigger has no secret")
	}
	if err != nil {
		return nil, err
	}
	_, link := b.link(s.event)
	body, err := webhookBody(s.event, link)
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.trigger.URL, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	sign(req.Header, string(s.event.ID), now, body, secrets)
	return req, nil
}

// answered judges an answer.
func answered(resp *http.Response) attempt {
	code := resp.StatusCode
	got := attempt{code: &code}
	if code >= 200 && code < 300 {
		return got
	}
	got.failed = fmt.Sprintf("the address answered %d", code)
	if words := http.StatusText(code); words != "" {
		got.failed += " " + words
	}
	switch code {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusGone:
		got.final = true
	default:
		got.asked = askedWait(resp.Header)
	}
	if code >= 300 && code < 400 {
		got.failed += ": redirects are not followed"
	}
	return got
}

// askedWait is how long an answer asks to wait, in seconds or until a date of its own
// clock.
func askedWait(h http.Header) time.Duration {
	asked := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(asked, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	until, err := http.ParseTime(asked)
	if err != nil {
		return 0
	}
	from, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		from = time.Now()
	}
	return max(until.Sub(from), 0)
}

// unanswered judges an attempt that got no answer. Its words name no address: what a
// name resolves to is not for everybody to know.
func (b *Bus) unanswered(ctx context.Context, err error) attempt {
	var (
		blocked *egress.BlockedError
		dns     *net.DNSError
		verify  *tls.CertificateVerificationError
		unknown x509.UnknownAuthorityError
		record  tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &blocked):
		return attempt{failed: blocked.Error(), final: true}
	case errors.Is(context.Cause(ctx), errWebhookTimeout):
		return attempt{failed: fmt.Sprintf("the address did not answer within %s", b.cfg.Webhooks.Timeout)}
	case errors.As(err, &dns):
		return attempt{failed: "the name of the address cannot be resolved"}
	case errors.As(err, &verify), errors.As(err, &unknown):
		return attempt{failed: "the certificate of the address is not valid"}
	case errors.As(err, &record):
		return attempt{failed: "the address does not speak TLS"}
	case errors.Is(err, syscall.ECONNREFUSED):
		return attempt{failed: "the address refused the connection"}
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return attempt{failed: "the address closed the connection without an answer"}
	}
	return attempt{failed: "the address could not be reached"}
}

const (
	// maxSnippet is how many bytes of an answer are kept.
	maxSnippet = 1000
	// snippetPatience is how long they may take to come.
	snippetPatience = time.Second
)

// snippet is how an answer begins, as text.
func snippet(body io.Reader) string {
	raw := make([]byte, maxSnippet)
	n, _ := io.ReadFull(body, raw)
	text := strings.ToValidUTF8(string(raw[:n]), "")
	return strings.Map(func(r rune) rune {
		if r == 0 {
			return -1
		}
		return r
	}, text)
}
