package api

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humafiber"
	"github.com/gofiber/fiber/v2"

	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

type streamRequest struct {
	RunPath
	After       int64  `query:"after" minimum:"0" doc:"The last seq seen"`
	LastEventID string `header:"Last-Event-ID" maxLength:"32" doc:"The last seq seen; it goes before after"`
}

// seen gives the last seq the client has.
func (in *streamRequest) seen() (int64, error) {
	if in.LastEventID != "" {
		n, err := strconv.ParseInt(in.LastEventID, 10, 64)
		if err != nil || n < 0 {
			return 0, invalid(models.FieldError{Loc: []any{"header", "Last-Event-ID"}, Msg: "must be the id of an event", Type: "invalid"})
		}
		return n, nil
	}
	return in.After, nil
}

// openStream checks a request for a stream; the stream itself follows in the link
// that knows the connection.
func (a *API) openStream(ctx context.Context, in *streamRequest) (*huma.StreamResponse, error) {
	ref, err := in.ref(ctx)
	if err != nil {
		return nil, err
	}
	after, err := in.seen()
	if err != nil {
		return nil, err
	}
	run, err := a.store.For(ref.Workspace).Run(ctx, ref.Run)
	if err != nil {
		return nil, err
	}
	if run.Status.Ended() && after >= run.LastSeq {
		// All is seen. A browser that is told so does not connect again.
		return &huma.StreamResponse{Body: func(hc huma.Context) { hc.SetStatus(http.StatusNoContent) }}, nil
	}
	after, key := min(after, run.LastSeq), caller(ctx).ID
	return &huma.StreamResponse{Body: func(hc huma.Context) { a.streamRun(humafiber.Unwrap(hc), key, ref, after, &hearing{}) }}, nil
}

// follow lets the answer to what started a run be the run itself: its stream, or
// its end if that comes soon. What lies inside of it has answered plainly.
func (a *API) follow(hc huma.Context, next func(huma.Context)) {
	c := humafiber.Unwrap(hc)
	var heard *hearing
	if wantsStream(c) {
		heard = &hearing{}
		hc = huma.WithValue(hc, hearingKey{}, heard)
		defer func() {
			if !c.Response().IsBodyStream() {
				heard.end()
			}
		}()
	}
	next(hc)
	if c.Response().StatusCode() != http.StatusAccepted {
		return
	}
	id, ok := strings.CutPrefix(c.GetRespHeader(fiber.HeaderLocation), runsPath)
	if !ok {
		return
	}
	ref := store.RunRef{Workspace: workspace(hc.Context()), Run: models.RunID(id)}
	if heard != nil {
		c.Response().ResetBody()
		a.streamRun(c, caller(hc.Context()).ID, ref, 0, heard)
		return
	}
	if wait := preferredWait(c.Get("Prefer")); wait > 0 {
		c.Set("Preference-Applied", "wait="+strconv.Itoa(int(wait/time.Second)))
		a.awaitEnd(hc.Context(), c, ref, wait)
	}
}

// wantsStream tells whether a client asks for a stream by name, and does not like
// plain JSON better.
func wantsStream(c *fiber.Ctx) bool {
	header := c.Get(fiber.HeaderAccept)
	plain, ok := quality(header, fiber.MIMEApplicationJSON)
	if !ok {
		if plain, ok = quality(header, "application/*"); !ok {
			plain, _ = quality(header, "*/*")
		}
	}
	stream, _ := quality(header, eventStream)
	return stream > 0 && stream >= plain
}

// accepts tells whether a client asks for a media type by name.
func accepts(header, media string) bool {
	q, _ := quality(header, media)
	return q > 0
}

// quality gives how much a client likes a media type or range (RFC 9110, 12.4.2), as
// far as it is named. A weight that cannot be read counts as none given.
func quality(header, media string) (q float64, named bool) {
	for part := range strings.SplitSeq(header, ",") {
		name, params, _ := strings.Cut(part, ";")
		if !strings.EqualFold(strings.TrimSpace(name), media) {
			continue
		}
		for param := range strings.SplitSeq(params, ";") {
			key, value, _ := strings.Cut(param, "=")
			weight, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if strings.EqualFold(strings.TrimSpace(key), "q") && err == nil && weight >= 0 && weight <= 1 {
				return weight, true
			}
		}
		return 1, true
	}
	return 0, false
}

// maxWait is the longest a client may prefer to wait.
const maxWait = 60

// preferredWait reads wait=N (RFC 7240). What cannot be read is ignored, as the
// RFC wants it; what is too long is cut.
func preferredWait(header string) time.Duration {
	for part := range strings.SplitSeq(header, ",") {
		name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
		if !strings.EqualFold(strings.TrimSpace(name), "wait") {
			continue
		}
		n, err := strconv.Atoi(strings.Trim(strings.TrimSpace(value), `"`))
		if err != nil || n < 1 {
			return 0
		}
		return time.Duration(min(n, maxWait)) * time.Second
	}
	return 0
}

// awaitEnd waits for the run to end and answers with it. When the time is over the
// answer is still that it was accepted, with the run as it is then.
func (a *API) awaitEnd(request context.Context, c *fiber.Ctx, ref store.RunRef, wait time.Duration) {
	ctx, stop := context.WithTimeout(request, wait)
	defer stop()
	ended, leave := a.feeds.hub.WatchEnd(ref)
	defer leave()
	look := time.NewTicker(feedPoll) // should nobody tell
	defer look.Stop()
	closing := closing(ctx, c)
	var run *models.Run
	var err error
	for err == nil && (run == nil || !run.Status.Ended()) {
		over := false
		select {
		case <-ctx.Done():
			over = true
		case <-closing:
			return
		case <-ended:
		case <-look.C:
		}
		run, err = a.store.For(ref.Workspace).Run(request, ref.Run)
		if over {
			break
		}
	}
	if err != nil {
		return // the run was accepted, and that is still true
	}
	out, err := a.wholeRun(request, run)
	if err != nil {
		return
	}
	if run.Status.Ended() {
		c.Status(http.StatusOK)
	}
	c.Response().SetBodyRaw(mustJSON(out))
}
