package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/gofiber/fiber/v2"

	"github.com/10ex/flows/bus"
	"github.com/10ex/flows/models"
)

// Hooks is what the API asks of the bus about webhooks.
type Hooks interface {
	SetSecret(trg *models.Trigger, secret string) error
	RotateSecret(ctx context.Context, ws models.WorkspaceID, id models.TriggerID) (*bus.Rotated, error)
	Redeliver(ctx context.Context, ws models.WorkspaceID, id models.DeliveryID) (*models.Delivery, error)
	Hook(ctx context.Context, token string, header http.Header, body []byte) (*bus.Hook, error)
	Receive(ctx context.Context, h *bus.Hook) (bus.Receipt, error)
}

const hooksPath = base + "/hooks/"

// originKey holds the address the caller has reached this server at.
type originKey struct{}

// noteOrigin remembers the address a request came to, for answers that name one. What
// comes through a door has none of its own: that of the door counts.
func (a *API) noteOrigin(c *fiber.Ctx) error {
	if _, ok := throughDoor(c.UserContext()); ok {
		return c.Next()
	}
	origin := a.cfg.PublicURL
	if origin == "" {
		scheme := "http://"
		if a.secure(c) {
			scheme = "https://"
		}
		origin = scheme + string(c.Request().Host())
	}
	c.SetUserContext(context.WithValue(c.UserContext(), originKey{}, origin))
	return c.Next()
}

// hookURL is where the webhooks of a trigger are sent to: a whole address, where the
// request tells one.
func hookURL(ctx context.Context, token string) string {
	origin, _ := ctx.Value(originKey{}).(string)
	return origin + hooksPath + token
}

// receivedHook is the answer to a webhook.
type receivedHook struct {
	ID        models.EventID `json:"id"`
	Duplicate bool           `json:"duplicate"`
}

// describeHook puts receiveHook into the OpenAPI document, where it stands beside the
// operations of the table: who sends a webhook has no key, and the token in the address
// and the signature are the proof.
func describeHook(doc *huma.OpenAPI) {
	schemas := doc.Components.Schemas
	received := schemas.Schema(reflect.TypeFor[receivedHook](), true, "")
	challenge := &huma.Schema{
		Type: huma.TypeObject, Required: []string{"challenge"}, AdditionalProperties: false,
		Properties: map[string]*huma.Schema{"challenge": {Type: huma.TypeString, Description: "What Slack asked to be told"}},
	}
	answers := map[string]*huma.Response{
		"200": {
			Description: "It was there before, and nothing follows; or it is a question of Slack's. Empty for commands and buttons of Slack",
			Content:     map[string]*huma.MediaType{"application/json": {Schema: &huma.Schema{OneOf: []*huma.Schema{received, challenge}}}},
		},
		"202": {Description: "It is stored as an event, and its trigger fires", Content: map[string]*huma.MediaType{"application/json": {Schema: received}}},
	}
	problem := map[string]*huma.MediaType{problemType: {Schema: schemas.Schema(reflect.TypeFor[Problem](), true, "")}}
	for _, status := range []int{
		http.StatusBadRequest, http.StatusUnauthorized, http.StatusNotFound, http.StatusConflict, http.StatusRequestEntityTooLarge, http.StatusUnsupportedMediaType,
		http.StatusUnprocessableEntity, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable,
	} {
		answers[strconv.Itoa(status)] = &huma.Response{Description: http.StatusText(status), Content: problem}
	}
	doc.Tags = append(doc.Tags, &huma.Tag{Name: "hooks"})
	doc.AddOperation(&huma.Operation{
		OperationID: "receive-webhook", Method: http.MethodPost, Path: hooksPath + "{token}", Tags: []string{"hooks"},
		Summary: "Take in a webhook, which fires the trigger that has the address",
		Description: "Needs no key: the token is the trigger's own, and `verify` of the trigger says what else proves where a webhook comes from. " +
			"The body is whatever the sender writes, and becomes `data` of an event.",
		Parameters: []*huma.Param{{
			Name: "token", In: "path", Required: true, Schema: &huma.Schema{Type: huma.TypeString},
			Description: "From the trigger's `url`, which is shown once",
		}},
		RequestBody: &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
			"application/json": {}, "application/x-www-form-urlencoded": {},
		}},
		Responses: answers,
	})
}

func unproven() *Problem {
	return newProblem(http.StatusUnauthorized, codeUnauthorized, "The webhook does not prove where it comes from: its signature is missing, wrong or too old.")
}

// receiveHook takes a webhook in. It is no operation: who asks has no key, the token in
// the address tells whose it is, and what the body has to be the sender decides. So it
// stands beside the table of routes.
func (a *API) receiveHook(c *fiber.Ctx) error {
	ctx, stop := context.WithTimeout(c.UserContext(), a.cfg.RequestTimeout)
	defer stop()
	if err := a.takeHook(ctx, c); err != nil {
		writeProblem(c, a.problem(ctx, err))
	}
	return nil
}

func (a *API) takeHook(ctx context.Context, c *fiber.Ctx) error {
	token, ip := c.Params("token"), "ip:"+a.clientIP(c)
	if v := a.strangers.peek(ip); !v.allowed {
		return tooMany(a.cfg.RateLimit, v)
	}
	// Counted before anything is looked up, and without keeping the token.
	name := sha256.Sum256([]byte(token))
	v := a.limiter.take(ctx, "hook:"+hex.EncodeToString(name[:16]))
	for name, value := range rateHeaders(a.cfg.RateLimit, v) {
		c.Set(name, value)
	}
	if !v.allowed {
		return tooMany(a.cfg.RateLimit, v)
	}
	if encoding := c.Get(fiber.HeaderContentEncoding); encoding != "" && encoding != "identity" {
		return newProblem(http.StatusUnsupportedMediaType, codeMediaType, "The body must not be compressed.")
	}
	header := http.Header{}
	for k, v := range c.Request().Header.All() {
		header.Add(string(k), string(v))
	}
	hook, err := a.bus.Hook(ctx, token, header, bytes.Clone(c.Request().Body()))
	switch {
	case errors.Is(err, models.ErrNotFound):
		a.strangers.take(ip)
		return err
	case errors.Is(err, models.ErrUnauthorized):
		return unproven()
	case err != nil:
		return err
	}
	return a.keepHook(ctx, c, hook)
}

// keepHook makes an event of a webhook that has proved itself.
func (a *API) keepHook(ctx context.Context, c *fiber.Ctx, hook *bus.Hook) error {
	data, err := hook.Data()
	if err != nil {
		return under(err, "body")
	}
	if p := scanBody(data); p != nil {
		return p
	}
	if !json.Valid(data) {
		return malformed("The body is neither JSON nor a form.")
	}
	if challenge, ok := hook.Challenge(); ok {
		return writeJSON(c, http.StatusOK, map[string]string{"challenge": challenge})
	}
	receipt, err := a.bus.Receive(ctx, hook)
	if err != nil {
		return under(err, "body")
	}
	if hook.Silent() {
		c.Status(http.StatusOK)
		return nil
	}
	status := http.StatusAccepted
	if receipt.Duplicate {
		status = http.StatusOK
	}
	return writeJSON(c, status, receivedHook{receipt.ID, receipt.Duplicate})
}

// RotatedSecret is a trigger with its new secret.
type RotatedSecret struct {
	Trigger
	Secret         string     `json:"secret" doc:"The new one; shown this once"`
	OldSecretUntil maybeStamp `json:"old_secret_until" doc:"Until then the one before counts as well; null: there was none"`
}

type rotatedAnswer struct{ Body RotatedSecret }

func (a *API) rotateSecret(ctx context.Context, in *TriggerPath) (*rotatedAnswer, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	rotated, err := a.bus.RotateSecret(ctx, workspace(ctx), id)
	if err != nil {
		return nil, err
	}
	return &rotatedAnswer{RotatedSecret{
		Trigger: showTrigger(rotated.Trigger), Secret: rotated.Secret, OldSecretUntil: maybeStamp{rotated.Trigger.OldSecretUntil},
	}}, nil
}
