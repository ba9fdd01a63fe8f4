package api

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/gofiber/fiber/v2"
	"github.com/gofiber/fiber/v2/middleware/adaptor"

	"github.com/10ex/flows/models"
	"github.com/10ex/flows/web"
)

const (
	// ownCSP is for pages of ours: nothing inline, nothing from elsewhere.
	ownCSP = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; " +
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	// monitoringCSP is for the queue's pages, which are not ours: their scripts and
	// styles are inline and in the same place.
	monitoringCSP = "default-src 'none'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline' https://fonts.googleapis.com; " +
		"img-src 'self' data:; font-src 'self' data: https://fonts.gstatic.com; connect-src 'self'; manifest-src 'self'; " +
		"form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
)

// pages adds what people look at with a browser.
func (a *API) pages(app *fiber.App) {
	app.Get("/", func(c *fiber.Ctx) error { return c.Redirect("/docs", fiber.StatusFound) })
	app.Get("/docs", a.page("docs.html"))
	app.Get("/assets/:name", a.asset)
	app.Get("/login", a.page("login.html"))
	app.Post("/login", a.login)
	app.Post("/logout", a.logout)
	app.Get("/console", a.signedIn, a.page("console.html"))
	app.Get("/console/session", a.signedIn, a.showSession)
	if a.deps.Monitoring != nil {
		monitoring := adaptor.HTTPHandler(a.deps.Monitoring)
		app.Use("/monitoring", func(c *fiber.Ctx) error {
			// The prefix matches /monitoringx too, which is nothing of ours.
			if p := c.Path(); p != "/monitoring" && !strings.HasPrefix(p, "/monitoring/") {
				return c.Next()
			}
			return a.signedInThen(c, func(c *fiber.Ctx) error {
				secureHeaders(c, monitoringCSP)
				return monitoring(c)
			})
		})
	}
}

func secureHeaders(c *fiber.Ctx, csp string) {
	c.Set(fiber.HeaderContentSecurityPolicy, csp)
	c.Set(fiber.HeaderXFrameOptions, "DENY")
	c.Set(fiber.HeaderReferrerPolicy, "same-origin") // with less, browsers send our own forms with the origin "null"
}

func (a *API) page(name string) fiber.Handler {
	return func(c *fiber.Ctx) error {
		secureHeaders(c, ownCSP)
		return sendFile(c, name, "text/html; charset=utf-8")
	}
}

// assetTypes lists what may be asked for by name.
var assetTypes = map[string]string{
	".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

func (a *API) asset(c *fiber.Ctx) error {
	name := c.Params("name")
	media := assetTypes[name[max(strings.LastIndexByte(name, '.'), 0):]]
	if media == "" {
		return fiber.ErrNotFound
	}
	secureHeaders(c, ownCSP)
	c.Set(fiber.HeaderCacheControl, "no-cache")
	return sendFile(c, name, media)
}

func sendFile(c *fiber.Ctx, name, media string) error {
	b, err := web.Files.ReadFile("static/" + name)
	if err != nil {
		return fiber.ErrNotFound
	}
	c.Set(fiber.HeaderContentType, media)
	return c.Send(b)
}

// login takes a key and gives a session.
func (a *API) login(c *fiber.Ctx) error {
	if !sameOrigin(c) {
		return a.onError(c, fiber.ErrForbidden)
	}
	back := localPath(c.FormValue("next"))
	key, err := a.keyOfBearer(c.UserContext(), strings.TrimSpace(c.FormValue("key")), a.clientIP(c))
	if err == nil && !key.Allows(models.ScopeAdmin) {
		err = models.ErrForbidden
	}
	if err != nil {
		return a.loginFailed(c, err, back)
	}
	c.Cookie(a.cookie(c, a.newSession(key), int(sessionAge.Seconds())))
	return c.Redirect(back, fiber.StatusSeeOther)
}

// loginFailed goes back to the form with a word for what went wrong, which is all
// a person needs to know.
func (a *API) loginFailed(c *fiber.Ctx, err error, back string) error {
	word := "unavailable"
	var p *Problem
	switch {
	case errors.Is(err, models.ErrForbidden):
		word = "scope"
	case errors.As(err, &p) && p.Status == http.StatusUnauthorized:
		word = "key"
	case errors.As(err, &p) && p.Status == http.StatusTooManyRequests:
		word = "wait"
	}
	return c.Redirect("/login?failed="+word+"&next="+url.QueryEscape(back), fiber.StatusSeeOther)
}

func (a *API) logout(c *fiber.Ctx) error {
	if !sameOrigin(c) {
		return a.onError(c, fiber.ErrForbidden)
	}
	c.Cookie(a.cookie(c, "", -1))
	return c.Redirect("/login", fiber.StatusSeeOther)
}

func (a *API) cookie(c *fiber.Ctx, value string, age int) *fiber.Cookie {
	return &fiber.Cookie{
		Name: sessionCookie, Value: value, Path: "/", MaxAge: age,
		HTTPOnly: true, SameSite: fiber.CookieSameSiteLaxMode, Secure: a.secure(c),
	}
}

// sameOrigin refuses forms that another site has sent. Browsers say so themselves,
// wherever they trust the connection; what they say holds also behind a proxy that
// asks us under a name of its own. Elsewhere the names have to be the same.
func sameOrigin(c *fiber.Ctx) bool {
	switch c.Get("Sec-Fetch-Site") {
	case "":
	case "same-origin", "none":
		return true
	default:
		return false
	}
	origin := c.Get(fiber.HeaderOrigin)
	if origin == "" {
		return true // not a browser, or one whose cookie is SameSite
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host == string(c.Request().Host())
}

// localPath gives a path on this server to go to, never another site.
func localPath(p string) string {
	u, err := url.Parse(p)
	if err != nil || u.Scheme != "" || u.Host != "" || !strings.HasPrefix(p, "/") || strings.HasPrefix(p, "//") || strings.ContainsAny(p, "\\\r\n") {
		return "/console"
	}
	return p
}

func (a *API) signedIn(c *fiber.Ctx) error {
	return a.signedInThen(c, func(c *fiber.Ctx) error { return c.Next() })
}

// signedInThen goes on for somebody whose session runs and whose key is still live
// and an administrator's. Others are sent to the login page, or told, where no
// person is looking.
func (a *API) signedInThen(c *fiber.Ctx, next fiber.Handler) error {
	ctx := c.UserContext()
	s, ok := a.openSession(c.Cookies(sessionCookie))
	if ok {
		key, err := a.keys.byPrefix(ctx, s.KeyPrefix, a.now())
		switch {
		case err == nil && key.Allows(models.ScopeAdmin):
			if c.Method() != fiber.MethodGet && c.Method() != fiber.MethodHead && !sameOrigin(c) {
				return a.onError(c, fiber.ErrForbidden)
			}
			c.SetUserContext(context.WithValue(ctx, callerKey{}, key))
			return next(c)
		case err != nil && !errors.Is(err, models.ErrUnauthorized):
			writeProblem(c, a.problem(ctx, err))
			return nil
		}
	}
	if c.Method() == fiber.MethodGet && accepts(c.Get(fiber.HeaderAccept), "text/html") {
		return c.Redirect("/login?next="+url.QueryEscape(string(c.Request().RequestURI())), fiber.StatusSeeOther)
	}
	writeProblem(c, a.problem(ctx, newProblem(http.StatusUnauthorized, codeUnauthorized, "Log in at /login with a key of scope admin.").
		header("WWW-Authenticate", "Bearer")))
	return nil
}

// showSession tells the console who is looking.
func (a *API) showSession(c *fiber.Ctx) error {
	key := caller(c.UserContext())
	out := map[string]any{
		"workspace_id": key.WorkspaceID, "key_prefix": key.Prefix, "key_name": key.Name, "scopes": key.Scopes,
		"monitoring": a.deps.Monitoring != nil,
	}
	ws, err := a.store.Workspace(c.UserContext(), key.WorkspaceID)
	if err == nil {
		out["workspace_name"] = ws.Name
	}
	return writeJSON(c, fiber.StatusOK, out)
}
