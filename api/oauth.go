package api

import (
	"context"
	"errors"
	"html/template"
	"net/http"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/10ex/flows/connections"
	"github.com/10ex/flows/connectors"
)

// oauthPath is where people come back to from the other side.
const oauthPath = base + "/oauth/callback"

type authorizeAnswer struct {
	Body struct {
		AuthorizeURL string `json:"authorize_url" format:"uri" doc:"Where a person says yes, with a browser. It is good once"`
		RedirectURI  string `json:"redirect_uri" format:"uri" doc:"Where they come back to; the other side has to know this address"`
		ExpiresAt    stamp  `json:"expires_at" doc:"Until when they have to be back"`
	}
}

func (a *API) authorizeConnection(ctx context.Context, in *ConnectionPath) (*authorizeAnswer, error) {
	id, err := in.id()
	if err != nil {
		return nil, err
	}
	origin, _ := ctx.Value(originKey{}).(string)
	began, err := a.connections.Authorize(ctx, workspace(ctx), id, origin+oauthPath)
	if err != nil {
		return nil, err
	}
	out := new(authorizeAnswer)
	out.Body.AuthorizeURL, out.Body.RedirectURI, out.Body.ExpiresAt = began.URL, origin+oauthPath, stamp(began.ExpiresAt)
	return out, nil
}

// returnPage is what a person sees who came back.
var returnPage = template.Must(template.New("return").Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>{{.Title}}</title>
<style>body{font:16px/1.5 system-ui,sans-serif;max-width:32em;margin:15vh auto;padding:0 1em}</style>
</head>
<body>
<h1>{{.Title}}</h1>
<p>{{.Text}}</p>
</body>
</html>
`))

// returnFromOAuth takes back whoever was sent away to authorise a connection. It is no
// operation: who comes has no key, and the state in the address is the proof.
func (a *API) returnFromOAuth(c *fiber.Ctx) error {
	ctx, stop := context.WithTimeout(c.UserContext(), a.cfg.RequestTimeout)
	defer stop()
	ip := "ip:" + a.clientIP(c)
	status, title, text := http.StatusTooManyRequests, "Not now", "There were too many requests from your address. Try again in a minute."
	if a.strangers.peek(ip).allowed {
		status, title, text = a.takeBack(ctx, c)
		if status == http.StatusBadRequest {
			a.strangers.take(ip)
		}
	}
	c.Status(status)
	for name, value := range map[string]string{
		fiber.HeaderContentType: "text/html; charset=utf-8", fiber.HeaderCacheControl: "no-store",
		// The address holds what is good once; nothing on the page may pass it on.
		fiber.HeaderReferrerPolicy: "no-referrer", fiber.HeaderXContentTypeOptions: "nosniff", fiber.HeaderXFrameOptions: "DENY",
		fiber.HeaderContentSecurityPolicy: "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
	} {
		c.Set(name, value)
	}
	var page strings.Builder
	if err := returnPage.Execute(&page, struct{ Title, Text string }{title, text}); err != nil {
		return err
	}
	return c.SendString(page.String())
}

func (a *API) takeBack(ctx context.Context, c *fiber.Ctx) (status int, title, text string) {
	const again = " Begin again where you came from."
	row, err := a.connections.Return(ctx, c.Query("state"), c.Query("code"), c.Query("error"))
	var said *connectors.Error
	switch {
	case err == nil:
		return http.StatusOK, "Connected", "The connection “" + row.Name + "” is authorised. You may close this window."
	case errors.Is(err, connections.ErrDenied) && c.Query("error") != "":
		return http.StatusBadRequest, "Not connected", "The other side did not agree." + again
	case errors.Is(err, connections.ErrDenied):
		return http.StatusBadRequest, "Not connected", "This address is not valid, or no longer: it is good once, and for ten minutes." + again
	case errors.As(err, &said):
		return http.StatusBadGateway, "Not connected", sentence(said.Message) + again
	}
	p := a.problem(ctx, err)
	return p.Status, "Not connected", p.Detail + again
}
