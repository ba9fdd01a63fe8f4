package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/internal/testkit"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
	"github.com/10ex/flows/store/storetest"
)

// scripted fails as it is told.
type scripted struct {
	Engine
	err error
}

func (s *scripted) Pause(context.Context, store.RunRef) (*models.Run, error) { return nil, s.err }
func (s *scripted) Why(context.Context, store.RunRef) (*engine.Why, error)   { panic("pq: secret panic") }
func (s *scripted) Cancel(ctx context.Context, _ store.RunRef) (*models.Run, error) {
	<-ctx.Done()
	return nil, fmt.Errorf("begin: %w", ctx.Err())
}

func TestErrorsBecomeProblems(t *testing.T) {
	t.Parallel()
	failing := new(scripted)
	var log bytes.Buffer
	b := setup(t, storetest.SQLite(t), options{
		cfg:    Config{RequestTimeout: 1e9},
		engine: func(e Engine) Engine { failing.Engine = e; return failing },
		deps:   func(d *Deps) { d.Log = obs.NewLogger(&log, nil, true) },
	})
	run := b.run(t, waiting)
	for name, tc := range map[string]struct {
		err    error
		status int
		code   string
		detail string
	}{
		"not found":    {fmt.Errorf("run %s: %w", run, models.ErrNotFound), 404, "not_found", ""},
		"conflict":     {models.Conflict(models.CodeInvalidState, "run %s has ended", "r"), 409, "invalid_state", "Run r has ended."},
		"bare":         {models.ErrConflict, 409, "conflict", ""},
		"precondition": {models.ErrPrecondition, 412, "precondition_failed", ""},
		"too large":    {models.ErrTooLarge, 413, "too_large", ""},
		"forbidden":    {models.ErrForbidden, 403, "forbidden_scope", ""},
		"unauthorized": {models.ErrUnauthorized, 401, "unauthorized", ""},
		"unavailable":  {fmt.Errorf("%w: %w", models.ErrUnavailable, errors.New("dial tcp 10.0.0.1:5432: secret")), 503, "unavailable", ""},
		"deadline":     {fmt.Errorf("query: %w", context.DeadlineExceeded), 503, "unavailable", ""},
		"invalid":      {&models.InvalidError{Fields: []models.FieldError{{Loc: []any{"body", "x", 0}, Msg: "is bad", Type: "invalid"}}}, 422, "invalid", ""},
		"bare invalid": {fmt.Errorf("secret: %w", models.ErrInvalid), 422, "invalid", ""},
		"anything":     {errors.New(`ERROR: relation "secret" does not exist (SQLSTATE 42P01)`), 500, "internal", ""},
	} {
		failing.err = tc.err
		log.Reset()
		got := b.call(t, "POST", "/runs/"+run+"/pause", "")
		require.Equal(t, tc.status, got.status, name)
		require.Equal(t, tc.code, got.str(t, "code"), name)
		require.Equal(t, "/docs#"+tc.code, got.str(t, "type"))
		require.InDelta(t, tc.status, got.get(t, "status"), 0)
		require.NotEmpty(t, got.str(t, "title"))
		require.NotEmpty(t, got.str(t, "detail"))
		require.Equal(t, got.header.Get("X-Request-Id"), got.str(t, "request_id"))
		require.NotContains(t, strings.ToLower(got.body), "secret", name)
		require.Equal(t, problemType, got.header.Get("Content-Type"))
		if tc.detail != "" {
			require.Equal(t, tc.detail, got.str(t, "detail"))
		}
		require.Equal(t, tc.status == 503, got.header.Get("Retry-After") != "", name)
		require.Equal(t, tc.status >= 500, strings.Contains(log.String(), got.str(t, "request_id")), "%s: the log names the request where the fault is ours", name)
		var members map[string]any
		require.NoError(t, json.Unmarshal([]byte(got.body), &members))
		delete(members, "errors")
		require.Len(t, members, 6, name)
	}
	log.Reset()
	got := b.call(t, "GET", "/runs/"+run+"/why", "")
	require.Equal(t, 500, got.status)
	require.Equal(t, "internal", got.str(t, "code"))
	require.NotContains(t, got.body, "secret")
	require.Contains(t, log.String(), "secret panic")
	require.Contains(t, log.String(), got.str(t, "request_id"))
	require.Equal(t, 503, b.call(t, "POST", "/runs/"+run+"/cancel", "").status, "an operation has a deadline")
	require.Equal(t, 200, b.call(t, "GET", "/runs/"+run, "").status, "the server goes on")
}

func TestTheDatabaseAwayIs503(t *testing.T) {
	t.Parallel()
	if !testkit.HavePostgres() {
		return
	}
	direct, err := url.Parse(testkit.PostgresURL(t))
	require.NoError(t, err)
	w := newWire(t, direct.Host)
	through := *direct
	through.Host = w.listener.Addr().String()
	s, err := store.Open(t.Context(), store.Config{URL: through.String()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close()) })
	_, err = s.Migrate(t.Context())
	require.NoError(t, err)
	b := setup(t, s, options{})
	require.Equal(t, 200, b.call(t, "GET", "/whoami", "").status, "now the key is remembered")
	require.NoError(t, b.api.flushTouches(t.Context()))

	w.cut()
	for _, r := range []struct{ method, path, body string }{
		{"GET", "/workflows", ""}, {"POST", "/workflows", `{"name":"x","graph":` + passing + `}`}, {"GET", "/runs", ""},
	} {
		began := time.Now()
		got := b.call(t, r.method, r.path, r.body, "Idempotency-Key", "k")
		require.Equal(t, 503, got.status, got.body)
		require.Equal(t, "unavailable", got.str(t, "code"))
		require.NotEmpty(t, got.header.Get("Retry-After"))
		require.NotContains(t, got.body, "127.0.0.1")
		require.Less(t, time.Since(began), 5*time.Second)
	}
	require.Equal(t, 503, b.as(t, "", "GET", "/readyz", "").status)
	require.Equal(t, 200, b.as(t, "", "GET", "/livez", "").status)
	w.mend()
	require.Equal(t, 200, b.call(t, "GET", "/workflows", "").status)
}

// wire carries connections to an address until it is cut.
type wire struct {
	listener net.Listener
	mu       sync.Mutex
	isCut    bool
	open     []net.Conn
}

func newWire(t *testing.T, to string) *wire {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	w := &wire{listener: l}
	var wg sync.WaitGroup
	t.Cleanup(func() { _ = l.Close(); w.cut(); wg.Wait() })
	wg.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", to)
			w.mu.Lock()
			if err != nil || w.isCut {
				_ = near.Close()
				w.mu.Unlock()
				continue
			}
			w.open = append(w.open, near, far)
			w.mu.Unlock()
			wg.Go(func() { _, _ = io.Copy(far, near); _ = far.Close() })
			wg.Go(func() { _, _ = io.Copy(near, far); _ = near.Close() })
		}
	})
	return w
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut = true
	for _, c := range w.open {
		_ = c.Close()
	}
	w.open = nil
}

func (w *wire) mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.isCut = false
}

func TestSettingsThatCannotBeUsedAreNamed(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]Config{
		"RateLimit": {RateLimit: -1}, "MaxBody": {MaxBody: 10}, "MaxOutput": {MaxOutput: -1}, "RequestTimeout": {RequestTimeout: 1}, "SessionKey": {SessionKey: []byte("short")}, "TrustedProxies": {TrustedProxies: []string{"x"}},
	} {
		err := new(API).configure(cfg)
		require.ErrorContains(t, err, name)
		require.NotContains(t, err.Error(), "short\"")
	}
	_, err := New(Deps{}, Config{})
	require.Error(t, err)
}

func TestSentence(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{"": "", "run is on": "Run is on.", "Why?": "Why?", "écho": "écho."} {
		require.Equal(t, want, sentence(in))
	}
}
