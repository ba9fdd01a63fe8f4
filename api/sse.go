package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/10ex/flows/internal/deltas"
	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

const (
	eventStream = "text/event-stream"
	// heartbeat keeps what lies between from taking silence for the end.
	heartbeat = 10 * time.Second
	// flushPatience is how long a client may take to accept what was written. One
	// that does not read is dropped; it comes back with Last-Event-ID.
	flushPatience = 10 * time.Second
)

// streamRun makes the run's log the answer: what comes after a seq, then what
// happens, until the log ends, with what models say from when it was heard. What the
// writer needs is taken out of c here, for c
// is another request's by the time it runs. It gives back the place that key has taken.
func (a *API) streamRun(c *fiber.Ctx, key models.KeyID, ref store.RunRef, after int64, heard *hearing) {
	c.Status(fiber.StatusOK)
	c.Set(fiber.HeaderContentType, eventStream)
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Set("X-Accel-Buffering", "no") // a proxy that gathers answers would hold events back
	ctx := context.WithoutCancel(c.UserContext())
	conn, shutdown := c.Context().Conn(), c.Context().Done()
	a.metrics.streams.Inc()
	c.Context().SetBodyStreamWriter(func(w *bufio.Writer) {
		defer a.metrics.streams.Dec()
		defer a.places.giveBack(key)
		defer func() { // nobody else is there to catch it
			if r := recover(); r != nil {
				a.log.ErrorContext(ctx, "stream panicked", slog.Any("panic", r), slog.String("stack", string(debug.Stack())))
			}
		}()
		s := &stream{api: a, w: w, conn: conn}
		if err := s.run(ctx, ref, after, shutdown, heard); err != nil && !errors.Is(err, errGone) && !errors.Is(err, context.Canceled) {
			a.log.WarnContext(ctx, "stream ends early", obs.Run(ref.Run), obs.Err(err))
		}
	})
}

// errGone means that the client has left or does not read.
var errGone = errors.New("the client is gone")

type stream struct {
	api  *API
	w    *bufio.Writer
	conn net.Conn // nil in tests without sockets
}

func (s *stream) run(ctx context.Context, ref store.RunRef, after int64, shutdown <-chan struct{}, heard *hearing) error {
	fd, leave := s.api.feeds.join(ref, after)
	defer leave()
	s.api.hear(heard, ref)
	defer heard.end()
	if err := s.comment("open"); err != nil { // the client learns at once that it is connected
		return err
	}
	beat := time.NewTicker(s.api.feeds.heartbeat)
	defer beat.Stop()
	for {
		events, delta, err := s.api.feeds.next(ctx, fd, after, shutdown, beat.C, heard.said)
		switch {
		case err != nil:
			return err
		case delta != nil:
			if err := s.delta(delta); err != nil {
				return err
			}
			continue
		case len(events) == 0:
			select {
			case <-shutdown:
				return nil // the client comes back, to another process
			default:
			}
			if err := s.comment("alive"); err != nil {
				return err
			}
			continue
		}
		for _, e := range events {
			if err := s.event(e); err != nil {
				return err
			}
			after = e.Seq
		}
		if err := s.flush(); err != nil || events[len(events)-1].Type.Terminal() {
			return err
		}
	}
}

func (s *stream) comment(text string) error {
	_, _ = s.w.WriteString(": " + text + "\n\n")
	return s.flush()
}

// event writes one event. Line breaks cannot stand in its data: it is JSON.
func (s *stream) event(e *models.RunEvent) error {
	data, err := json.Marshal(showRunEvent(e))
	if err != nil {
		return err
	}
	s.extend() // a long event is on its way before it is flushed
	_, _ = s.w.WriteString("id: " + strconv.FormatInt(e.Seq, 10) + "\nevent: " + string(e.Type) + "\ndata: ")
	_, _ = s.w.Write(data)
	_, err = s.w.WriteString("\n\n") // a writer that failed keeps failing
	if err != nil {
		return errGone
	}
	return nil
}

// delta writes what a model says. It has no id: nobody can ask for it again, and who
// comes back goes on after the last event that is kept.
func (s *stream) delta(d *deltas.Delta) error {
	data, err := json.Marshal(map[string]any{
		"type": deltaType, "step_id": d.Step, "data": deltaData{d.Iteration, d.Attempt, d.Turn, d.Text},
	})
	if err != nil {
		return err
	}
	_, _ = s.w.WriteString("event: " + deltaType + "\ndata: ")
	_, _ = s.w.Write(data)
	_, _ = s.w.WriteString("\n\n")
	return s.flush()
}

const deltaType = "step.delta"

type deltaData struct {
	Iteration *int   `json:"iteration,omitempty"`
	Attempt   int    `json:"attempt"`
	Turn      int    `json:"turn"`
	Text      string `json:"text"`
}

func (s *stream) extend() {
	if s.conn != nil {
		_ = s.conn.SetWriteDeadline(time.Now().Add(s.api.feeds.flushPatience))
	}
}

func (s *stream) flush() error {
	s.extend()
	if err := s.w.Flush(); err != nil {
		return errGone
	}
	return nil
}
