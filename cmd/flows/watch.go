package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	// silence is how long a stream may say nothing: its server sends a sign of life
	// every few seconds.
	silence = 45 * time.Second
	// watchPatience is how long a server may be away before the run is given up.
	watchPatience = 5 * time.Minute
	// firstPause and lastPause are how long to wait before connecting again.
	firstPause, lastPause = 200 * time.Millisecond, 5 * time.Second
)

// watchRun shows the log of a run as it grows, until the run ends. A connection that
// breaks is made again, behind the last event that was seen. It fails if the run does
// not complete.
func watchRun(ctx context.Context, p *program, s shown, r *remote, id string) error {
	w := &watch{program: p, shown: s, remote: r, id: id}
	pause, since := firstPause, time.Now()
	for {
		before := w.seen
		over, err := w.follow(ctx)
		var refused *refusedError
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case over:
			return w.verdict(ctx)
		case errors.As(err, &refused) && refused.status != http.StatusTooManyRequests && refused.status < 500, errors.Is(err, errOutput):
			return err
		case w.seen != before || w.alive:
			pause, since = firstPause, time.Now()
		case time.Since(since) > watchPatience && err != nil:
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(pause):
			pause = min(2*pause, lastPause)
		}
	}
}

// watch is a run that is followed.
type watch struct {
	*program
	shown
	remote *remote
	id     string
	seen   string // the id of the last event
	alive  bool   // something was read from the connection
}

// errOutput means that what was read cannot be shown.
var errOutput = errors.New("the output cannot be written")

// follow reads one connection to its end; over tells that the run has ended.
func (w *watch) follow(ctx context.Context) (over bool, err error) {
	w.alive = false
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	quiet := time.AfterFunc(silence, stop)
	defer quiet.Stop()
	header := http.Header{"Accept": {"text/event-stream"}}
	if w.seen != "" {
		header.Set("Last-Event-ID", w.seen)
	}
	resp, err := w.remote.begin(ctx, call{method: http.MethodGet, path: at("runs", w.id, "stream"), header: header})
	if err != nil {
		return false, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNoContent { // it had ended, and all of it was seen
		return true, nil
	}
	if media := resp.Header.Get("Content-Type"); !strings.HasPrefix(media, "text/event-stream") {
		return false, &refusedError{http.StatusNotAcceptable, fmt.Sprintf("the server at %s is not one of flows: it sends no stream", w.remote.base)}
	}
	lines := bufio.NewReader(resp.Body)
	var event, eventID string
	var data []byte
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = nil // the server goes, or the way to it was cut
			}
			return false, err
		}
		w.alive = true
		quiet.Reset(silence)
		line = bytes.TrimRight(line, "\r\n")
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "id":
			eventID = string(value)
		case "event":
			event = string(value)
		case "data":
			if len(data) > 0 {
				data = append(data, '\n')
			}
			if data = append(data, value...); len(data) > maxAnswer {
				return false, errors.Join(errOutput, errors.New("an event is too long"))
			}
		}
		if len(line) > 0 || len(data) == 0 {
			continue
		}
		if eventID != "" {
			w.seen = eventID
		}
		if err := w.event(data); err != nil {
			return false, errors.Join(errOutput, err)
		}
		switch event {
		case "run.completed", "run.failed", "run.cancelled":
			return true, nil
		}
		event, eventID, data = "", "", nil
	}
}

// event shows one event.
func (w *watch) event(data []byte) error {
	if w.Output == "json" {
		return w.printRaw(data)
	}
	var e struct {
		Seq  *int64         `json:"seq"`
		Type string         `json:"type"`
		Step *string        `json:"step_id"`
		At   time.Time      `json:"at"`
		Data map[string]any `json:"data"`
	}
	if err := json.Unmarshal(data, &e); err != nil || e.Seq == nil { // without a seq: what a model says meanwhile
		return err
	}
	step, says := "", cell(e.Data, "error.message|reason|prompt|until")
	if e.Step != nil {
		step = plain(*e.Step)
	}
	_, err := fmt.Fprintln(w.stdout, strings.TrimRight(fmt.Sprintf("%s  %-15s  %-20s  %s", e.At.UTC().Format("15:04:05.000"), plain(e.Type), step, says), " "))
	return err
}

// verdict fails if the run did not complete.
func (w *watch) verdict(ctx context.Context) error {
	raw, err := w.remote.do(ctx, call{method: http.MethodGet, path: at("runs", w.id)})
	if err != nil {
		return err
	}
	var run struct {
		Status string         `json:"status"`
		Error  map[string]any `json:"error"`
	}
	if err := json.Unmarshal(raw, &run); err != nil {
		return err
	}
	switch {
	case run.Status == "completed":
		return nil
	case run.Error == nil:
		return fmt.Errorf("run %s is %s", w.id, plain(run.Status))
	case run.Error["step_id"] == nil:
		return fmt.Errorf("run %s has failed: %s", w.id, cell(run.Error, "message"))
	}
	return fmt.Errorf("run %s has failed at step %s: %s", w.id, cell(run.Error, "step_id"), cell(run.Error, "message"))
}
