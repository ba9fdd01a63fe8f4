package api

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"html/template"
	"net/http"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gofiber/fiber/v2"

	"github.com/10ex/flows/bus"
	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// ApprovalsPath is where links to approvals lead; the token follows.
const ApprovalsPath = base + "/approvals/"

// byLink is who decided, where a link tells no more.
const byLink = "link"

const approvalStyle = `body{font:16px/1.5 system-ui,sans-serif;max-width:36em;margin:12vh auto;padding:0 1em;color:#222;background:#fff}
h1{font-size:1.4em}
blockquote{margin:1em 0;padding:.6em 1em;border-left:4px solid #888;background:#f4f4f4;white-space:pre-wrap;overflow-wrap:anywhere}
dt{color:#666;font-size:.85em}
dd{margin:0 0 .6em;overflow-wrap:anywhere}
label{display:block;margin:1em 0 .3em}
textarea{width:100%;box-sizing:border-box;font:inherit}
button{font:inherit;padding:.5em 1.4em;margin:1em .6em 0 0;border:1px solid #444;border-radius:4px;background:#fff;cursor:pointer}
button.yes{background:#1a6b2f;border-color:#1a6b2f;color:#fff}
.bad{color:#a00}
@media (prefers-color-scheme:dark){body{color:#ddd;background:#1b1b1b}blockquote{background:#2a2a2a}button{background:#1b1b1b;color:#ddd}}`

// approvalCSP lets a page look as it should, send its form here, and nothing else.
var approvalCSP = func() string {
	sum := sha256.Sum256([]byte(approvalStyle))
	return "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) +
		"'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
}()

var approvalPage = template.Must(template.New("approval").Parse(`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta name="robots" content="noindex">
<title>{{.Title}}</title>
<style>` + approvalStyle + `</style>
</head>
<body>
<main>
<h1>{{.Title}}</h1>
{{- with .Text}}
<p{{if $.Asked}} class="bad"{{end}}>{{.}}</p>
{{- end}}
{{- with .Asked}}
{{- with .Prompt}}
<blockquote>{{.}}</blockquote>
{{- end}}
<dl>
<dt>Workflow</dt><dd>{{.Workflow}}</dd>
<dt>Step</dt><dd>{{.Step}}</dd>
<dt>This link is good until</dt><dd>{{.Until}}</dd>
</dl>
<form method="post">
<label for="comment">Comment, if you like</label>
<textarea id="comment" name="comment" rows="3" maxlength="2000">{{.Comment}}</textarea>
<button class="yes" name="decision" value="approve">Approve</button>
<button name="decision" value="reject">Reject</button>
</form>
{{- end}}
</main>
</body>
</html>
`))

// asked is what the page says about an open question.
type asked struct{ Workflow, Step, Prompt, Until, Comment string }

// approvalAnswer is a page about an approval.
type approvalAnswer struct {
	status      int
	Title, Text string
	Asked       *asked
}

var (
	noSuchLink = approvalAnswer{http.StatusNotFound, "This link is not valid", "It may have been cut off on its way, or replaced. Nothing has been decided.", nil}
	linkEnded  = approvalAnswer{http.StatusGone, "This link has expired", "It can no longer be used to decide anything.", nil}
	linkUsed   = approvalAnswer{http.StatusGone, "There is nothing left to decide", "The question has been answered, or the run no longer waits for it.", nil}
	cameLate   = approvalAnswer{http.StatusConflict, "Somebody was faster", "The question has been answered, or the run no longer waits for it. Your answer has changed nothing.", nil}
	tooOften   = approvalAnswer{http.StatusTooManyRequests, "Not now", "There were too many requests. Try again in a minute.", nil}
)

// showApproval shows what a link asks; it never decides anything. Like decideApproval it is no
// operation: who comes has no key, and the token in the address is the proof.
func (a *API) showApproval(c *fiber.Ctx) error {
	return a.approval(c, func(ctx context.Context, q *bus.Question) (approvalAnswer, error) {
		about, err := a.askedBy(ctx, q)
		if err != nil || about == nil {
			return linkUsed, err
		}
		return approvalAnswer{http.StatusOK, "Your decision is needed", "", about}, nil
	})
}

// decideApproval takes the answer that the form of the page sends.
func (a *API) decideApproval(c *fiber.Ctx) error {
	return a.approval(c, func(ctx context.Context, q *bus.Question) (approvalAnswer, error) {
		form := c.Context().PostArgs()
		decision, comment := string(form.Peek("decision")), strings.ReplaceAll(string(form.Peek("comment")), "\r\n", "\n")
		wrong := ""
		switch {
		case decision != "approve" && decision != "reject":
			wrong = "Choose one of the two: nothing has been decided yet."
		case !utf8.ValidString(comment) || strings.ContainsRune(comment, 0):
			comment, wrong = "", "The comment is not text: nothing has been decided yet."
		case utf8.RuneCountInString(comment) > maxComment:
			wrong = "The comment is too long: nothing has been decided yet."
		}
		if wrong != "" {
			about, err := a.askedBy(ctx, q)
			if err != nil || about == nil {
				return linkUsed, err
			}
			about.Comment = comment
			return approvalAnswer{http.StatusUnprocessableEntity, "Your decision is needed", wrong, about}, nil
		}
		d := engine.Decision{Approved: decision == "approve", Comment: strings.TrimSpace(comment), By: byLink, Attempt: &q.Attempt}
		_, err := a.answerStep(ctx, store.RunRef{Workspace: q.Workspace, Run: q.Run}, q.Step, d)
		switch {
		case err == nil && d.Approved:
			return approvalAnswer{http.StatusOK, "Approved", "The run has been told. You may close this window.", nil}, nil
		case err == nil:
			return approvalAnswer{http.StatusOK, "Rejected", "The run has been told. You may close this window.", nil}, nil
		}
		if p := a.problem(ctx, err); p.Status == http.StatusConflict || p.Status == http.StatusNotFound {
			return cameLate, nil
		}
		return approvalAnswer{}, err
	})
}

// maxComment is how many characters a comment may have, here as in the operations.
const maxComment = 2000

// approval answers a request with a token.
func (a *API) approval(c *fiber.Ctx, do func(context.Context, *bus.Question) (approvalAnswer, error)) error {
	ctx, stop := context.WithTimeout(c.UserContext(), a.cfg.RequestTimeout)
	defer stop()
	out, err := a.admitted(ctx, c, do)
	if err != nil {
		p := a.problem(ctx, err)
		out = approvalAnswer{p.Status, "This does not work now", p.Detail + " Nothing has been decided.", nil}
	}
	c.Status(out.status)
	for name, value := range map[string]string{
		fiber.HeaderContentType: "text/html; charset=utf-8", fiber.HeaderCacheControl: "no-store",
		// Whoever has the address may decide; nothing on the page may pass it on.
		fiber.HeaderReferrerPolicy: "no-referrer", fiber.HeaderXContentTypeOptions: "nosniff", fiber.HeaderXFrameOptions: "DENY",
		fiber.HeaderContentSecurityPolicy: approvalCSP, "X-Robots-Tag": "noindex",
	} {
		c.Set(name, value)
	}
	var page strings.Builder
	if err := approvalPage.Execute(&page, out); err != nil {
		return err
	}
	return c.SendString(page.String())
}

// admitted lets through who has a token of ours that has not ended, as often as any key may ask.
func (a *API) admitted(ctx context.Context, c *fiber.Ctx, do func(context.Context, *bus.Question) (approvalAnswer, error)) (approvalAnswer, error) {
	token, ip := c.Params("token"), "ip:"+a.clientIP(c)
	if !a.strangers.peek(ip).allowed {
		return tooOften, nil
	}
	name := sha256.Sum256([]byte(token))
	v := a.limiter.take(ctx, "approval:"+hex.EncodeToString(name[:16]))
	for name, value := range rateHeaders(a.cfg.RateLimit, v) {
		c.Set(name, value)
	}
	if !v.allowed {
		return tooOften, nil
	}
	q, err := a.bus.ReadLink(token)
	switch {
	case errors.Is(err, models.ErrNotFound):
		a.strangers.take(ip)
		return noSuchLink, nil
	case err != nil:
		return approvalAnswer{}, err
	case !a.now().Before(q.Until):
		return linkEnded, nil
	}
	return do(ctx, q)
}

// askedBy tells what a question is about, or nil if it is open no more.
func (a *API) askedBy(ctx context.Context, q *bus.Question) (*asked, error) {
	t := a.store.For(q.Workspace)
	run, err := t.Run(ctx, q.Run)
	if errors.Is(err, models.ErrNotFound) {
		return nil, nil //nolint:nilnil // it was removed, and asks nothing
	}
	if err != nil || run.Status.Ended() {
		return nil, err
	}
	w, err := t.Workflow(ctx, run.WorkflowID)
	if err != nil {
		return nil, err
	}
	v, err := t.Version(ctx, run.WorkflowID, run.WorkflowVersion)
	if err != nil {
		return nil, err
	}
	rows, err := t.Steps(ctx, q.Run)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(v.Graph.Steps, func(s models.GraphStep) bool { return s.ID == q.Step })
	j := slices.IndexFunc(rows, func(s *models.Step) bool { return s.StepID == q.Step && s.Iteration == models.NoIteration })
	if i < 0 || j < 0 {
		return nil, nil //nolint:nilnil // as above
	}
	def := &v.Graph.Steps[i]
	prompt, waits := engine.Asked(def, rows[j], q.Attempt)
	if !waits {
		return nil, nil //nolint:nilnil // as above
	}
	about := &asked{Workflow: w.Name, Step: def.Name, Prompt: prompt, Until: q.Until.UTC().Format(time.RFC1123)}
	if about.Step == "" {
		about.Step = def.ID
	}
	return about, nil
}
