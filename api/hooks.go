package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"

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
