package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"slices"

	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/models"
)

// What webhooks that come in are as events.
const (
	SourceWebhook = "webhook"
	TypeWebhook   = "webhook.received"
	// prefixGitHub begins the types of events from GitHub, which tells in a header what
	// happened.
	prefixGitHub = "github."
)

// checkHook fills in what an inbound webhook leaves out and tells what is wrong
// with it.
func (b *Bus) checkHook(trg *models.Trigger) []models.FieldError {
	if trg.Verify == "" {
		trg.Verify = models.Verify10ex
	}
	if !slices.Contains(models.VerifyKinds, trg.Verify) {
		return []models.FieldError{{Loc: []any{"verify"}, Msg: "must be one of none, 10ex, standard, github, stripe, slack", Type: "enum"}}
	}
	if trg.Verify != models.VerifyNone && b.deps.Seal == nil {
		return []models.FieldError{{Loc: []any{"verify"}, Msg: "this server has no key to keep a secret with", Type: "unsupported"}}
	}
	if trg.Verify == models.VerifyStandard && trg.Secret != nil {
		secret, err := b.openSecret(trg, trg.Secret)
		if err == nil && !fitsStandard(trg, secret) {
			return []models.FieldError{{Loc: []any{"verify"}, Msg: "the trigger's secret is not base64, as Standard Webhooks need it", Type: "invalid"}}
		}
	}
	return nil
}

// equip gives a new trigger the token and the secret that its kind needs.
func (b *Bus) equip(trg *models.Trigger, made *Created) (err error) {
	if trg.Type == models.TriggerOnWebhook {
		made.Token = newToken()
		trg.TokenHash = tokenHash(made.Token)
	}
	switch {
	case !hasSecret(trg):
		return nil
	case trg.Secret != nil:
		made.Secret, err = b.openSecret(trg, trg.Secret)
		return err
	}
	made.Secret = newSecret()
	trg.Secret, err = b.sealSecret(trg, made.Secret)
	return err
}

// Hook is a webhook that has come in and has proved where it comes from.
type Hook struct {
	trigger *models.Trigger
	header  http.Header
	body    []byte
	id      string // by which the sender knows the delivery; empty: it gives none
}

// ID is the trigger's.
func (h *Hook) ID() models.TriggerID { return h.trigger.ID }

// maxToken bounds the characters of what is looked up.
const maxToken = 64

// Hook finds the trigger of a token and has the request prove itself. A token that
// nobody has is models.ErrNotFound. Whatever is wrong with the proof is
// models.ErrUnauthorized. The body has to be as it came.
func (b *Bus) Hook(ctx context.Context, token string, header http.Header, body []byte) (*Hook, error) {
	if token == "" || len(token) > maxToken {
		return nil, models.ErrNotFound
	}
	trg, err := b.store.TriggerByToken(ctx, tokenHash(token))
	if err != nil {
		return nil, err
	}
	now := b.now()
	var secrets []string
	if trg.Verify != models.VerifyNone {
		if secrets, err = b.secrets(trg, now); err != nil {
			// Whoever runs the server has to know; whoever asks must not pass.
			b.log.ErrorContext(ctx, "the secret of a webhook cannot be opened", obs.Err(err), triggerAttr(trg.ID))
			return nil, fmt.Errorf("webhook: %w", models.ErrUnauthorized)
		}
	}
	id, ok := verify(trg.Verify, proof{header: header, body: body, now: now, secrets: secrets})
	if !ok {
		return nil, fmt.Errorf("webhook: %w", models.ErrUnauthorized)
	}
	if !trg.Enabled {
		return nil, models.Conflict(models.CodeInvalidState, "the trigger is disabled")
	}
	return &Hook{trigger: trg, header: header, body: body, id: id}, nil
}

// Form tells whether the body is that of an HTML form, rather than JSON.
func (h *Hook) Form() bool {
	media, _, err := mime.ParseMediaType(h.header.Get("Content-Type"))
	return err == nil && media == "application/x-www-form-urlencoded"
}

// Silent tells whether the sender would show the answer to people: Slack does with that
// to a command or a button.
func (h *Hook) Silent() bool { return h.trigger.Verify == models.VerifySlack && h.Form() }

// Challenge is what Slack wants to be told back when it gets to know the address.
// Such a request is no event.
func (h *Hook) Challenge() (string, bool) {
	if h.trigger.Verify != models.VerifySlack || stringIn(h.body, "type") != "url_verification" {
		return "", false
	}
	return stringIn(h.body, "challenge"), true
}

// Receive keeps a webhook as an event and has its trigger fired. When it returns the
// event is stored for good. A delivery that was there before is a duplicate.
func (b *Bus) Receive(ctx context.Context, h *Hook) (Receipt, error) {
	data, err := h.Data()
	if err != nil {
		return Receipt{}, err
	}
	if !json.Valid(data) {
		return Receipt{}, &models.InvalidError{Fields: []models.FieldError{{Loc: []any{}, Msg: "is not JSON", Type: "invalid"}}}
	}
	e := &models.Event{Source: SourceWebhook, Type: h.eventType(), Data: data, TriggerID: &h.trigger.ID}
	if h.id != "" {
		e.ExternalID = string(h.trigger.ID) + ":" + deliveryName(h.id)
	}
	receipts, err := b.Publish(ctx, h.trigger.WorkspaceID, []*models.Event{e})
	if err != nil {
		return Receipt{}, err
	}
	return receipts[0], nil
}

// longestName is how long the id of a delivery may be to be kept as it is.
const longestName = 200

func deliveryName(id string) string {
	if len(id) > longestName || !printable(id) {
		return digest([]byte(id))
	}
	return id
}

func (h *Hook) eventType() string {
	if h.trigger.Verify != models.VerifyGitHub {
		return TypeWebhook
	}
	if typ := prefixGitHub + h.header.Get("X-GitHub-Event"); typ != prefixGitHub && len(typ) <= MaxEventType && models.ValidEventType(typ) {
		return typ
	}
	return TypeWebhook
}

var errBody = errors.New("webhook body")

// Data is the body as an event's data: JSON as it is, a form as an object of its
// fields, each a text, or a list of texts where it comes more than once. Whether it is
// JSON at all has not been looked at.
func (h *Hook) Data() (json.RawMessage, error) {
	if len(h.body) > MaxEventData {
		return nil, fmt.Errorf("the body of a webhook: %w", models.ErrTooLarge)
	}
	if !h.Form() {
		if len(h.body) == 0 {
			return json.RawMessage(`{}`), nil
		}
		return h.body, nil
	}
	fields, err := url.ParseQuery(string(h.body))
	if err != nil {
		return nil, &models.InvalidError{Fields: []models.FieldError{{Loc: []any{}, Msg: "is not a form", Type: "invalid"}}}
	}
	object := make(map[string]any, len(fields))
	for name, values := range fields {
		object[name] = values
		if len(values) == 1 {
			object[name] = values[0]
		}
	}
	// Slack's buttons and dialogs, and GitHub's forms, put JSON into one field.
	if payload := fields["payload"]; len(fields) == 1 && len(payload) == 1 && json.Valid([]byte(payload[0])) {
		return json.RawMessage(payload[0]), nil
	}
	data, err := json.Marshal(object)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errBody, err)
	}
	return data, nil
}
