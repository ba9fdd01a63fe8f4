package api

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"

	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/models"
)

const (
	headerIdempotency = "Idempotency-Key"
	headerReplayed    = "Idempotent-Replayed"
	maxIdempotencyKey = 255
	// lockSlack is how much longer than a request may take its key stays locked.
	lockSlack = 5 * time.Second
)

// kept lists the headers that belong to an answer given again.
var kept = []string{fiber.HeaderContentType, fiber.HeaderLocation, fiber.HeaderETag}

// once makes a route obey Idempotency-Key. Ids made on the way follow from the
// stored seed, so a request that is repeated because its answer was lost finds
// what it made the first time.
func (a *API) once(r route) func(huma.Context, func(huma.Context)) {
	return func(hc huma.Context, next func(huma.Context)) {
		c := humafiber.Unwrap(hc)
		if len(c.Request().Header.PeekAll(headerIdempotency)) == 0 {
			next(hc)
			return
		}
		row, err := a.begin(hc.Context(), c)
		if err != nil {
			a.refuse(hc, err)
			return
		}
		if row.Status != 0 {
			if r.has(secret) {
				if row.Body, err = openAnswer(c, row); err != nil {
					a.refuse(hc, err)
					return
				}
			}
			replay(c, row)
			return
		}
		ctx := ids.WithSource(hc.Context(), ids.NewSource(row.Seed, row.CreatedAt))
		ended := false
		defer func() {
			if !ended { // it panicked; what it did is not known, so the seed stays
				a.settle(hc.Context(), c, r, row, http.StatusInternalServerError)
			}
		}()
		next(huma.WithContext(hc, ctx))
		ended = true
		a.settle(hc.Context(), c, r, row, c.Response().StatusCode())
	}
}

// begin gives the row of a request: with an answer to give again, or ours to make
// one.
func (a *API) begin(ctx context.Context, c *fiber.Ctx) (*models.IdempotencyKey, error) {
	key := c.Get(headerIdempotency)
	if !goodKey(key) {
		return nil, invalid(models.FieldError{
			Loc: []any{"header", headerIdempotency}, Msg: "must have 1 to 255 visible characters", Type: "invalid",
		})
	}
	now := a.now()
	hash := sha256.New()
	hash.Write(c.Request().URI().QueryString())
	hash.Write([]byte{0})
	hash.Write(c.Request().Body())
	want := &models.IdempotencyKey{
		WorkspaceID: workspace(ctx), Route: c.Method() + " " + string(c.Request().URI().Path()), Key: key,
		BodyHash: hash.Sum(nil), Seed: ids.NewSeed(), LockedUntil: now.Add(a.cfg.RequestTimeout + lockSlack), CreatedAt: now,
	}
	row, mine, err := a.store.For(want.WorkspaceID).BeginRequest(ctx, want, now)
	switch {
	case err != nil:
		return nil, err
	case !bytes.Equal(row.BodyHash, want.BodyHash):
		return nil, newProblem(http.StatusUnprocessableEntity, codeIdempotency, "This Idempotency-Key was used with another request.")
	case !mine && row.Status == 0:
		return nil, newProblem(http.StatusConflict, models.CodeConflict, "The first request with this Idempotency-Key is still being answered.").
			header("Retry-After", "1")
	}
	return row, nil
}

// goodKey refuses keys that could not be kept or compared.
func goodKey(key string) bool {
	for _, c := range []byte(key) {
		if c < 0x20 || c > 0x7e {
			return false
		}
	}
	return key != "" && len(key) <= maxIdempotencyKey
}

// settleWait is the first wait between two tries to settle a key, settleLongest the
// last: together some seconds.
const (
	settleWait    = 50 * time.Millisecond
	settleLongest = 800 * time.Millisecond
)

// settle keeps a success for repetition, and frees the key of a request that did
// nothing. After an error of ours nobody knows whether it did: the key is handed
// over to the next try, with the same seed.
func (a *API) settle(ctx context.Context, c *fiber.Ctx, r route, row *models.IdempotencyKey, status int) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), a.cfg.RequestTimeout)
	defer stop()
	t := a.store.For(row.WorkspaceID)
	record := t.ReleaseRequest
	switch {
	case status < 300:
		row.Status, row.Body = status, bytes.Clone(c.Response().Body())
		row.Headers = keptHeaders(c)
		if r.has(secret) {
			row.Body = sealAnswer(c, row)
		}
		record = t.FinishRequest
	case status < 500:
		record = t.AbandonRequest
	}
	err := record(ctx, row)
	// A connection that broke is worth another: else the key is locked for as long as
	// a request may take.
	for wait := settleWait; errors.Is(err, models.ErrUnavailable) && wait <= settleLongest; wait *= 2 {
		pause := time.NewTimer(wait)
		select {
		case <-pause.C:
			err = record(ctx, row)
		case <-ctx.Done():
			pause.Stop()
		}
		if ctx.Err() != nil {
			break
		}
	}
	if err != nil {
		// The lock runs out by itself; a repeat then makes the same things again.
		a.log.WarnContext(ctx, "idempotency key is not settled", obs.Err(err))
	}
}

func keptHeaders(c *fiber.Ctx) []byte {
	headers := map[string]string{}
	for _, name := range kept {
		if v := c.GetRespHeader(name); v != "" {
			headers[name] = v
		}
	}
	b, err := json.Marshal(headers)
	if err != nil {
		panic("api: headers: " + err.Error()) // strings always marshal
	}
	return b
}

func replay(c *fiber.Ctx, row *models.IdempotencyKey) {
	headers := map[string]string{}
	_ = json.Unmarshal(row.Headers, &headers) // written by keptHeaders
	for name, value := range headers {
		c.Set(name, value)
	}
	c.Set(headerReplayed, "true")
	c.Status(row.Status)
	c.Response().SetBodyRaw(row.Body)
}

// answerBox is a cipher whose key is made of the caller's own, which the server
// does not keep: an answer with a secret in it cannot be read from the database.
func answerBox(c *fiber.Ctx) cipher.AEAD {
	key := sha256.Sum256([]byte("answer\x00" + c.Get(fiber.HeaderAuthorization)))
	block, err := aes.NewCipher(key[:])
	if err != nil {
		panic("api: cipher: " + err.Error()) // the key has the right length
	}
	box, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic("api: cipher: " + err.Error())
	}
	return box
}

func answerName(row *models.IdempotencyKey) []byte {
	return []byte(string(row.WorkspaceID) + "\x00" + row.Route + "\x00" + row.Key)
}

func sealAnswer(c *fiber.Ctx, row *models.IdempotencyKey) []byte {
	return answerBox(c).Seal(nil, nil, row.Body, answerName(row)) //nolint:gosec // G407: the box makes a random nonce itself
}

func openAnswer(c *fiber.Ctx, row *models.IdempotencyKey) ([]byte, error) {
	body, err := answerBox(c).Open(nil, nil, row.Body, answerName(row))
	if err != nil {
		return nil, newProblem(http.StatusConflict, models.CodeConflict, "The first answer holds a secret, and is given again only to the key that got it.")
	}
	return body, nil
}
