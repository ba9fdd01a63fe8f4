package api

import (
	"context"
	"errors"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"

	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/models"
)

type callerKey struct{}

// caller is the key that asks. An operation is only reached with one.
func caller(ctx context.Context) *models.APIKey {
	key, ok := ctx.Value(callerKey{}).(*models.APIKey)
	if !ok {
		panic("api: an operation is reached without a caller")
	}
	return key
}

// workspace is the caller's, and the only source of a workspace's identity.
func workspace(ctx context.Context) models.WorkspaceID { return caller(ctx).WorkspaceID }

// authenticate finds out who asks. Whatever is wrong with the key, the answer is
// the same.
func (a *API) authenticate(hc huma.Context, next func(huma.Context)) {
	c := humafiber.Unwrap(hc)
	ip := a.clientIP(c)
	ctx := hc.Context()
	key, err := a.keyOf(ctx, c.Get(fiber.HeaderAuthorization), ip)
	if err != nil {
		a.refuse(hc, err)
		return
	}
	ctx = obs.With(context.WithValue(ctx, callerKey{}, key), obs.Workspace(key.WorkspaceID))
	next(huma.WithContext(hc, ctx))
}

// keyOf gives the live key an Authorization header proves. Addresses that keep
// failing are told to wait before anything is looked up for them.
func (a *API) keyOf(ctx context.Context, authorization, ip string) (*models.APIKey, error) {
	scheme, bearer, _ := strings.Cut(authorization, " ")
	if !strings.EqualFold(scheme, "Bearer") {
		bearer = ""
	}
	return a.keyOfBearer(ctx, strings.TrimSpace(bearer), ip)
}

func (a *API) keyOfBearer(ctx context.Context, bearer, ip string) (*models.APIKey, error) {
	if key := a.keys.cached(bearer, a.now()); key != nil {
		a.touched.note(key, a.now())
		return key, nil
	}
	if v := a.strangers.peek("ip:" + ip); !v.allowed {
		return nil, tooMany(a.cfg.RateLimit, v)
	}
	key, err := a.keys.find(ctx, bearer, a.now())
	switch {
	case errors.Is(err, models.ErrUnauthorized):
		a.strangers.take("ip:" + ip)
		return nil, unauthorized()
	case err != nil:
		return nil, err
	}
	a.touched.note(key, a.now())
	return key, nil
}

func (a *API) requireScope(r route) func(huma.Context, func(huma.Context)) {
	return func(hc huma.Context, next func(huma.Context)) {
		if r.scope != "" && !caller(hc.Context()).Allows(r.scope) {
			a.refuse(hc, forbidden(r))
			return
		}
		next(hc)
	}
}

func forbidden(r route) *Problem {
	return newProblem(403, codeForbidden, "This needs a key with the scope "+string(r.scope)+".")
}
