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
	Status string           `json:"status"` // ok or unavailable
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

// readyz asks every part this process needs, side by side.
func (a *API) readyz(c *fiber.Ctx) error {
	ctx, stop := context.WithTimeout(c.UserContext(), healthPatience)
	defer stop()
	parts := map[string]struct {
		ask  func(context.Context) error
		fail string
	}{
		"database":   {a.store.Ping, "cannot be reached"},
		"migrations": {a.store.CheckSchema, "the schema is not that of this version; run flows migrate up"},
	}
	if a.redis != nil {
		parts["redis"] = struct {
			ask  func(context.Context) error
			fail string
		}{func(ctx context.Context) error { return a.redis.Ping(ctx).Err() }, "cannot be reached"}
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
			a.log.WarnContext(ctx, "not ready", partAttr(name), obs.Err(err))
			out.Status, out.Checks[name] = "unavailable", check{"unavailable", part.fail}
		})
	}
	wg.Wait()
	status := fiber.StatusOK
	if out.Status != "ok" {
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
