package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/valyala/fasthttp"

	"github.com/10ex/flows/models"
)

// product is the binary under measurement, as a user runs it.
type product struct {
	url, key  string
	database  string
	ops       []string // where each role tells its metrics
	processes []*exec.Cmd
	// client takes as little as it can of the processors that it shares with what it
	// measures.
	client *fasthttp.HostClient
}

// startProduct builds the binary, makes a schema and a key, and starts the roles
// api, worker and scheduler, each a process of its own.
func (b *bench) startProduct(ctx context.Context) (p *product, err error) {
	dir, err := os.MkdirTemp("", "flows-bench")
	if err != nil {
		return nil, err
	}
	bin := filepath.Join(dir, "flows")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", bin, "github.com/10ex/flows/cmd/flows").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build: %w: %s", err, out)
	}
	database, err := withSchema(ctx, b.database)
	if err != nil {
		return nil, err
	}
	addr, err := freeAddr(ctx)
	if err != nil {
		return nil, err
	}
	env := append(os.Environ(),
		"FLOWS_DATABASE_URL="+database, "FLOWS_REDIS_URL="+b.redis, "FLOWS_HTTP_ADDR="+addr, "FLOWS_RATE_LIMIT=1000000",
		"FLOWS_ENCRYPTION_KEY=YmVuY2ggYmVuY2ggYmVuY2ggYmVuY2ggYmVuY2ggISE=", "FLOWS_LOG_LEVEL=warn",
	)
	p = &product{database: database, url: "http://" + addr + "/api/v1/flows", client: &fasthttp.HostClient{Addr: addr, MaxConns: 256}}
	defer func() {
		if err != nil {
			p.stop()
		}
	}()
	output := func(args ...string) ([]byte, error) {
		cmd := exec.CommandContext(ctx, bin, args...)
		cmd.Env, cmd.Stderr = env, os.Stderr
		return cmd.Output()
	}
	if _, err := output("migrate", "up"); err != nil {
		return nil, fmt.Errorf("migrate: %w", err)
	}
	var ws struct{ ID string }
	if err := outputJSON(&ws, output, "workspaces", "create", "--name", "bench"); err != nil {
		return nil, err
	}
	var key struct{ Key string }
	if err := outputJSON(&key, output, "keys", "create", "--workspace", ws.ID, "--name", "bench"); err != nil {
		return nil, err
	}
	p.key = key.Key
	for _, role := range []string{"api", "worker", "scheduler"} {
		cmd := exec.CommandContext(context.WithoutCancel(ctx), bin, role) // stop ends it, and lets it finish
		cmd.Env, cmd.Stderr = env, os.Stderr
		at := addr
		if role != "api" { // health and metrics of its own
			if at, err = freeAddr(ctx); err != nil {
				return nil, err
			}
		}
		cmd.Env = append(slices.Clone(env), "FLOWS_HTTP_ADDR="+at)
		p.ops = append(p.ops, "http://"+at)
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		p.processes = append(p.processes, cmd)
	}
	return p, p.ready(ctx)
}

// freeAddr finds a port that is free now.
func freeAddr(ctx context.Context) (string, error) {
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return ln.Addr().String(), ln.Close()
}

// statements counts what all roles have sent to the database so far.
func (p *product) statements() (sum float64) {
	for _, ops := range p.ops {
		_, raw, err := fasthttp.Get(nil, ops+"/metrics")
		if err != nil {
			continue
		}
		for line := range strings.SplitSeq(string(raw), "\n") {
			if v, ok := strings.CutPrefix(line, "flows_database_statements_total "); ok {
				n, _ := strconv.ParseFloat(v, 64)
				sum += n
			}
		}
	}
	return sum
}

func outputJSON(into any, output func(...string) ([]byte, error), args ...string) error {
	out, err := output(args...)
	if err != nil {
		return fmt.Errorf("%s: %w", strings.Join(args, " "), err)
	}
	return json.Unmarshal(out, into)
}

func (p *product) ready(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(30 * time.Second)
	for {
		if err := p.call(ctx, http.MethodGet, "/whoami", nil, nil, ""); err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-deadline:
			return fmt.Errorf("%s did not answer in 30 s", p.url)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (p *product) stop() {
	for _, c := range p.processes {
		_ = c.Process.Signal(syscall.SIGTERM)
	}
	for _, c := range p.processes {
		_ = c.Wait()
	}
}

// memory is the proportional set size of the product's processes, each in MiB, and
// all in bytes.
func (p *product) memory() (each string, all int64) {
	var parts []string
	for _, c := range p.processes {
		raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", c.Process.Pid))
		for line := range strings.SplitSeq(string(raw), "\n") {
			if f := strings.Fields(line); len(f) >= 2 && f[0] == "Pss:" {
				kib, _ := strconv.ParseInt(f[1], 10, 64)
				parts, all = append(parts, fmt.Sprintf("%s %d", c.Args[1], kib>>10)), all+kib<<10
			}
		}
	}
	return strings.Join(parts, ", "), all
}

func (p *product) call(ctx context.Context, method, path string, body, into any, prefer string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	req, resp := fasthttp.AcquireRequest(), fasthttp.AcquireResponse()
	defer fasthttp.ReleaseRequest(req)
	defer fasthttp.ReleaseResponse(resp)
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return err
		}
		req.SetBodyRaw(raw)
		req.Header.SetContentType("application/json")
	}
	req.Header.SetMethod(method)
	req.SetRequestURI(p.url + path)
	req.Header.Set("Authorization", "Bearer "+p.key)
	if prefer != "" {
		req.Header.Set("Prefer", prefer)
	}
	if err := p.client.Do(req, resp); err != nil {
		return err
	}
	if resp.StatusCode() >= 300 {
		return fmt.Errorf("%s %s: %d %s", method, path, resp.StatusCode(), resp.Body())
	}
	if into != nil {
		return json.Unmarshal(resp.Body(), into)
	}
	return nil
}

func (p *product) workflow(ctx context.Context, name string, g *models.Graph) (string, error) {
	var w struct{ ID string }
	err := p.call(ctx, http.MethodPost, "/workflows", map[string]any{"name": name, "graph": g}, &w, "")
	return w.ID, err
}

// runOnce starts a run, waits for its end and tells how long that took.
func (p *product) runOnce(ctx context.Context, wf string) (time.Duration, error) {
	var run struct{ ID, Status string }
	began := time.Now()
	if err := p.call(ctx, http.MethodPost, "/workflows/"+wf+"/trigger", map[string]any{"payload": map[string]int{"n": 1}}, &run, "wait=60"); err != nil {
		return 0, err
	}
	if run.Status != "completed" {
		return 0, fmt.Errorf("run %s is %s", run.ID, run.Status)
	}
	return time.Since(began), nil
}

// load runs a workflow many times from so many clients, each of which waits for
// the end of its run.
func (p *product) load(ctx context.Context, wf string, runs, clients int) (took time.Duration, latencies []time.Duration, err error) {
	var mu sync.Mutex
	began := time.Now()
	err = p.each(runs, clients, func() error {
		d, err := p.runOnce(ctx, wf)
		mu.Lock()
		defer mu.Unlock()
		latencies = append(latencies, d)
		return err
	})
	slices.Sort(latencies)
	return time.Since(began), latencies, err
}

func percentile(sorted []time.Duration, p float64) time.Duration {
	return sorted[min(len(sorted)-1, int(float64(len(sorted))*p))]
}

func (b *bench) latencies(scenario, figure string, l []time.Duration) {
	ms := func(p float64) float64 { return float64(percentile(l, p).Microseconds()) / 1000 }
	b.addf(scenario, figure+", ms p50/p95/p99", "%.1f / %.1f / %.1f", ms(0.5), ms(0.95), ms(0.99))
}

// scenario is a workload. In a burst clients trigger runs and do not wait for
// their ends, which is what the raw line does with its tasks.
type scenario struct {
	name          string
	graph         *models.Graph
	runs, clients int
	burst         bool
}

// served measures the product through its API, between two raw lines.
func (b *bench) served(ctx context.Context) error {
	if err := b.raw(ctx); err != nil {
		return err
	}
	p, err := b.startProduct(ctx)
	if err != nil {
		return err
	}
	defer p.stop()
	figures := map[string]float64{}
	var wf string
	for _, s := range []scenario{
		{"idle, 3 steps", linear(3), 200, 1, false},
		{"linear, 3 steps, 32 clients", linear(3), 6000, clients, true},
		{"fan-out of 100 with a join, 32 clients", fan(100), 160, clients, true},
		{"linear, 10 steps, 32 clients", linear(10), 1600, clients, true},
		{"linear, 100 steps, 32 clients", linear(100), 160, clients, true},
		{"linear, 1000 steps, 32 clients", linear(1000), 64, clients, true},
		{"fan-out of 100 with a join, 8 clients that wait", fan(100), 80, 8, false},
		{"linear, 100 steps, 32 clients that wait", linear(100), 64, clients, false},
		{"linear, 3 steps, 32 clients that wait", linear(3), 3000, clients, false},
	} {
		if wf, err = b.scenario(ctx, p, s, figures); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	// Of the last one, which has few steps a run.
	stored := b.times(100_000)
	if err := p.store(ctx, wf, stored); err != nil {
		return err
	}
	for _, s := range []scenario{
		{fmt.Sprintf("linear, 3 steps, 32 clients, after %d stored runs", stored), linear(3), 6000, clients, true},
		{fmt.Sprintf("linear, 100 steps, 32 clients, after %d stored runs", stored), linear(100), 160, clients, true},
	} {
		if _, err := b.scenario(ctx, p, s, figures); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	if err := b.raw(ctx); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(figures)) {
		b.addf("ratio to raw", name, "%.2f", figures[name]/b.rawRate())
	}
	return nil
}

// scenario measures one workload, and gives the workflow it ran.
func (b *bench) scenario(ctx context.Context, p *product, s scenario, figures map[string]float64) (string, error) {
	wf, err := p.workflow(ctx, s.name, s.graph)
	if err != nil {
		return "", err
	}
	if _, err := p.runOnce(ctx, wf); err != nil { // warm
		return "", err
	}
	runs, cpu, asked := b.times(s.runs), p.usage(b.servers), p.statements()
	var took time.Duration
	if s.burst {
		var accepted time.Duration
		if took, accepted, err = p.burst(ctx, wf, runs, s.clients); err != nil {
			return "", err
		}
		b.addf(s.name, "runs accepted/s", "%.0f", float64(runs)/accepted.Seconds())
	} else {
		var lat []time.Duration
		if took, lat, err = p.load(ctx, wf, runs, s.clients); err != nil {
			return "", err
		}
		b.latencies(s.name, "trigger to end", lat)
	}
	steps := float64(runs * len(s.graph.Steps))
	if s.clients > 1 {
		figures[s.name] = steps / took.Seconds()
		b.addf(s.name, "steps/s", "%.0f", figures[s.name])
		b.addf(s.name, "statements/step", "%.2f", (p.statements()-asked)/steps)
		b.addf(s.name, "CPU ms/step", "%s", p.usage(b.servers).perStep(cpu, steps))
	}
	each, all := p.memory()
	b.addf(s.name, "memory, MiB", "%d: %s", all>>20, each)
	if s.graph.Edges[0].To == s.graph.Steps[1].ID { // one after the other
		dispatch, hop, err := p.hops(ctx, wf)
		if err != nil {
			return "", err
		}
		b.latencies(s.name, "wait in the queue", dispatch)
		b.latencies(s.name, "hop to the next step", hop)
	}
	return wf, nil
}

func fan(width int) *models.Graph {
	g := &models.Graph{Steps: []models.GraphStep{{ID: "join", Type: models.StepTypeConnector, Connector: "core", Action: "set"}}}
	for i := range width {
		id := fmt.Sprintf("s%d", i)
		g.Steps = append(g.Steps, models.GraphStep{ID: id, Type: models.StepTypeConnector, Connector: "core", Action: "set", Input: json.RawMessage(`{"n":"{{ payload.n }}"}`)})
		g.Edges = append(g.Edges, models.Edge{From: id, To: "join"})
	}
	return g
}
