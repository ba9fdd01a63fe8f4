package api

import (
	"context"
	"runtime"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/10ex/flows/internal/obs"
)

// healthPatience is how long a part may take to show that it is there.
const healthPatience = 2 * time.Second

// Version says which build this is.
type buildInfo struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Go      string `json:"go"`
}

type readiness struct {
	Status string           `json:"status"` // ok, degraded or unavailable
	Checks map[string]check `json:"checks"`
}

type check struct {
	Status string `json:"status"`
	Detail string `json:"detail,omitempty"`
}

func (a *API) livez(c *fiber.Ctx) error {
	return writeJSON(c, fiber.StatusOK, map[string]string{"status": "ok"})
}

func (a *API) showBuild(c *fiber.Ctx) error {
	return writeJSON(c, fiber.StatusOK, buildInfo{a.deps.Version, a.deps.Commit, runtime.Version()})
}

// part is something that readiness asks for.
type part struct {
	ask  func(context.Context) error
	fail string
	// spare: requests are answered without it, if more slowly, so that its absence is
	// told but is no reason to send them elsewhere.
	spare bool
}

// readyz asks every part this process works with, side by side.
func (a *API) readyz(c *fiber.Ctx) error {
	ctx, stop := context.WithTimeout(c.UserContext(), healthPatience)
	defer stop()
	parts := map[string]part{
		"database":   {ask: a.store.Ping, fail: "cannot be reached"},
		"migrations": {ask: a.store.CheckSchema, fail: "the schema is not that of this version; run flows migrate up"},
	}
	if a.redis != nil {
		parts["redis"] = part{
			ask:  func(ctx context.Context) error { return a.redis.Ping(ctx).Err() },
			fail: "cannot be reached: steps begin later, and each process limits rates by itself", spare: true,
		}
	}
	out := readiness{Status: "ok", Checks: map[string]check{}}
	var (
		mu sync.Mutex
		wg sync.WaitGroup
	)
	for name, part := range parts {
		wg.Go(func() {
			err := within(ctx, part.ask)
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				out.Checks[name] = check{Status: "ok"}
				return
			}
			a.log.WarnContext(ctx, "a part is away", partAttr(name), obs.Err(err))
			out.Checks[name] = check{"unavailable", part.fail}
			switch {
			case !part.spare:
				out.Status = "unavailable"
			case out.Status == "ok":
				out.Status = "degraded"
			}
		})
	}
	wg.Wait()
	status := fiber.StatusOK
	if out.Status == "unavailable" {
		status = fiber.StatusServiceUnavailable
	}
	return writeJSON(c, status, out)
}

// within gives up on ask when ctx ends, also where ask does not look at it.
func within(ctx context.Context, ask func(context.Context) error) error {
	done := make(chan error, 1)
	go func() { done <- ask(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
