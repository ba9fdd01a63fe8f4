package acceptance_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/internal/testkit"
	"github.com/10ex/flows/tasks"
)

// fleet is the product as many processes on a PostgreSQL and a Redis of its own.
type fleet struct {
	path  string // of the binary
	env   []string
	name  string // of its sessions in PostgreSQL
	api   *process
	procs []*process

	*client   // of a workspace of its own
	workspace string

	db    *pgxpool.Pool
	redis *redis.Client // the fleet's own database in it, seen past the proxy
	cable *proxy        // between the fleet and Redis
}

// haveServers tells whether the tests that need servers run.
func haveServers() bool { return testkit.HavePostgres() && testkit.HaveRedis() }

// newFleet prepares everything and starts the API. build names how the product is
// built.
func newFleet(t *testing.T, build string) *fleet {
	t.Helper()
	f := &fleet{path: binary(t, build)}
	database, err := url.Parse(testkit.PostgresURL(t))
	require.NoError(t, err)
	query := database.Query()
	f.name = query.Get("search_path")
	f.db, err = pgxpool.New(t.Context(), database.String())
	require.NoError(t, err)
	t.Cleanup(f.db.Close)
	query.Set("application_name", f.name)
	database.RawQuery = query.Encode()

	direct := testkit.RedisURL(t)
	opt, err := redis.ParseURL(direct)
	require.NoError(t, err)
	f.redis = redis.NewClient(opt)
	t.Cleanup(func() { require.NoError(t, f.redis.Close()) })
	var proxied string
	f.cable, proxied = newProxy(t, direct)

	f.env = []string{
		"FLOWS_DATABASE_URL=" + database.String(), "FLOWS_REDIS_URL=" + proxied,
		"FLOWS_ALLOW_PRIVATE_NETWORKS=true", "FLOWS_RATE_LIMIT=1000000",
		"FLOWS_ENCRYPTION_KEY=hJm0kvPX3l8rD2nbqgA1yI7e5uGZcMTf4WxR9sEoKdU=",
	}
	f.command(t, "migrate")
	f.api = f.start(t, "api", "--addr", "127.0.0.1:0")
	f.workspace, f.client = f.tenant(t, f.api.ready(t).URL)
	return f
}

// tenant makes a workspace and a key to it.
func (f *fleet) tenant(t *testing.T, url string) (id string, c *client) {
	t.Helper()
	var made struct{ ID, Key string }
	require.NoError(t, json.Unmarshal(f.command(t, "workspaces", "create", "--name", "Acme"), &made))
	id = made.ID
	require.NoError(t, json.Unmarshal(f.command(t, "keys", "create", "--workspace", id, "--name", "test"), &made))
	return id, newClient(t, url, made.Key)
}

// command runs the product to its end and gives what it prints.
func (f *fleet) command(t *testing.T, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), f.path, args...)
	cmd.Env = append(ownEnvironment(), f.env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	require.NoError(t, err, "flows %s", strings.Join(args, " "))
	return out
}

// start starts one process of the fleet. It does not wait for it.
func (f *fleet) start(t *testing.T, args ...string) *process {
	t.Helper()
	p := launch(t, f.path, fmt.Sprintf("%s %d", args[0], len(f.procs)), f.env, args...)
	f.procs = append(f.procs, p)
	return p
}

// startAll starts so many workers and schedulers and waits until they serve.
func (f *fleet) startAll(t *testing.T, workers, schedulers int) (w []*process) {
	t.Helper()
	for range workers {
		w = append(w, f.start(t, "worker"))
	}
	all := slices.Clone(w)
	for range schedulers {
		all = append(all, f.start(t, "scheduler"))
	}
	for _, p := range all {
		p.ready(t)
	}
	return w
}

// number asks the database for a number.
func (f *fleet) number(t *testing.T, query string, args ...any) (n int) {
	t.Helper()
	require.NoError(t, f.db.QueryRow(t.Context(), query, args...).Scan(&n))
	return n
}

// requireNothingLeft checks what must hold once all runs have ended: nothing is
// open, nothing asks for attention, and nothing is given up in the queue.
func (f *fleet) requireNothingLeft(t *testing.T) {
	t.Helper()
	require.Zero(t, f.number(t, `SELECT count(*) FROM steps WHERE attend_at IS NOT NULL OR status IN ('queued', 'running', 'waiting')`))
	require.Zero(t, f.number(t, `SELECT count(*) FROM runs WHERE active_steps <> 0 OR waiting_steps <> 0 OR finished_at IS NULL`))
	require.Zero(t, f.number(t, `SELECT count(*) FROM waits`))
	f.queued(t)
}

// requireEmptyQueue checks that what is still queued when all is done is thrown
// away at once by whoever takes it.
func (f *fleet) requireEmptyQueue(t *testing.T) {
	t.Helper()
	waitFor(t, time.Minute, "an empty queue", func() bool { return f.queued(t) == 0 })
}

// queued counts the tasks that wait or are worked on. None may be archived.
func (f *fleet) queued(t *testing.T) (n int) {
	t.Helper()
	inspector := asynq.NewInspectorFromRedisClient(f.redis)
	for queue := range tasks.Queues {
		info, err := inspector.GetQueueInfo(queue)
		if err != nil { // it was never used
			continue
		}
		require.Zero(t, info.Archived)
		n += info.Pending + info.Active
	}
	return n
}

// requireNoErrors checks what all processes have said.
func (f *fleet) requireNoErrors(t *testing.T, allowed ...string) {
	t.Helper()
	for _, p := range f.procs {
		p.requireNoErrors(t, allowed...)
	}
}
