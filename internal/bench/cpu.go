package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
)

// ticksPerSecond is the unit of CPU time in /proc on every Linux that Go runs on.
const ticksPerSecond = 100

// servers are the processes of the database and of Redis, found by asking them:
// others may run on the same machine.
type servers struct{ postmaster, redis int }

func findServers(ctx context.Context, database, redisURL string) (s servers, err error) {
	conn, err := pgx.Connect(ctx, database)
	if err != nil {
		return s, err
	}
	defer func() { _ = conn.Close(ctx) }()
	_, s.postmaster = parentOf(int(conn.PgConn().PID()))
	opt, err := redis.ParseURL(redisURL)
	if err != nil {
		return s, err
	}
	r := redis.NewClient(opt)
	defer func() { _ = r.Close() }()
	info, err := r.InfoMap(ctx, "server").Result()
	if err != nil {
		return s, err
	}
	s.redis, err = strconv.Atoi(info["Server"]["process_id"])
	return s, err
}

// postgres is the CPU time of the server and all its processes. Those that have
// ended are counted by it.
func (s servers) postgresCPU() time.Duration {
	sum := cpuOf(s.postmaster)
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range stats {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		if used, parent := parentOf(pid); parent == s.postmaster {
			sum += used
		}
	}
	return sum
}

func parentOf(pid int) (used time.Duration, parent int) {
	raw, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return parseStat(string(raw))
}

// cpuOf is the CPU time of one process.
func cpuOf(pid int) time.Duration {
	used, _ := parentOf(pid)
	return used
}

// parseStat reads a line of /proc/PID/stat; see proc(5).
func parseStat(text string) (used time.Duration, parent int) {
	end := strings.LastIndexByte(text, ')')
	if end < 0 {
		return 0, 0
	}
	fields := strings.Fields(text[end+1:])
	parent, _ = strconv.Atoi(fields[1])
	var ticks int64
	for _, i := range []int{11, 12, 13, 14} { // utime stime cutime cstime
		n, _ := strconv.ParseInt(fields[i], 10, 64)
		ticks += n
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond, parent
}

// usage is the CPU time of everything that takes part, this process with its clients
// among it: all share the same processors.
type usage struct{ api, worker, scheduler, postgres, redis, clients time.Duration }

func (p *product) usage(s servers) usage {
	return usage{
		api: cpuOf(p.processes[0].Process.Pid), worker: cpuOf(p.processes[1].Process.Pid), scheduler: cpuOf(p.processes[2].Process.Pid),
		postgres: s.postgresCPU(), redis: cpuOf(s.redis), clients: cpuOf(os.Getpid()),
	}
}

// perStep tells what a step took of each since before.
func (u usage) perStep(before usage, steps float64) string {
	ms := func(now, then time.Duration) float64 { return float64((now - then).Microseconds()) / 1000 / steps }
	return fmt.Sprintf("api %.3f, worker %.3f, scheduler %.3f, postgres %.3f, redis %.3f, clients %.3f",
		ms(u.api, before.api), ms(u.worker, before.worker), ms(u.scheduler, before.scheduler), ms(u.postgres, before.postgres), ms(u.redis, before.redis), ms(u.clients, before.clients))
}
