package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/internal/share"
)

// window is what the rate limit is counted over.
const window = time.Minute

// verdict is what a limiter says to one request.
type verdict struct {
	allowed    bool
	remaining  int           // requests that would be allowed right now
	reset      time.Duration // until the whole quota is there again
	retryAfter time.Duration // until the next request would be allowed; 0 if this one was
}

// decide is the rule (GCRA): each request moves full, the time at which the quota
// is whole again, by its share of the window, and full may not be further away
// than the window.
func decide(now, full time.Time, limit int) (verdict, time.Time) {
	one := window / time.Duration(limit)
	if full.Before(now) {
		full = now
	}
	next := full.Add(one)
	if over := next.Sub(now) - window; over > 0 {
		return verdict{reset: full.Sub(now), retryAfter: over}, full
	}
	left := window - next.Sub(now)
	return verdict{allowed: true, remaining: int(left / one), reset: next.Sub(now)}, next
}

// localLimiter counts in this process. It may be used concurrently.
type localLimiter struct {
	limit int
	now   func() time.Time

	mu   sync.Mutex
	full map[string]time.Time
}

func newLocalLimiter(limit int, now func() time.Time) *localLimiter {
	return &localLimiter{limit: limit, now: now, full: map[string]time.Time{}}
}

// take counts a request.
func (l *localLimiter) take(name string) verdict {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	v, full := decide(now, l.full[name], l.limit)
	if len(l.full) >= mostKeys {
		l.forgetWhole(now)
	}
	l.full[name] = full
	return v
}

// peek says what take would, and counts nothing.
func (l *localLimiter) peek(name string) verdict {
	now := l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	v, _ := decide(now, l.full[name], l.limit)
	return v
}

func (l *localLimiter) forgetWhole(now time.Time) {
	for name, full := range l.full {
		if !full.After(now) {
			delete(l.full, name)
		}
	}
	if len(l.full) >= mostKeys { // as many busy ones: forgetting is kinder than growing
		clear(l.full)
	}
}

// takeScript is decide for several requests at once, in Redis and by its clock, so
// that all processes count together.
//
//	KEYS 1: the counter. ARGV 1: window, 2: limit, 3: requests; times in microseconds.
//	Answer: how many are allowed, full - now before them.
var takeScript = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local window, limit = tonumber(ARGV[1]), tonumber(ARGV[2])
local share = math.floor(window / limit)
local full = tonumber(redis.call('GET', KEYS[1]) or now)
if full < now then full = now end
local allowed = math.min(tonumber(ARGV[3]), math.max(0, math.floor((now + window - full) / share)))
if allowed > 0 then
  local nxt = full + allowed * share
  redis.call('SET', KEYS[1], string.format('%.0f', nxt), 'PX', math.ceil((nxt - now) / 1000) + 1)
end
return {allowed, full - now}
`)

// verdicts is what each of n requests hears when allowed of them are, and full was so
// far away before.
func verdicts(n, allowed int, full time.Duration, limit int) []verdict {
	one := window / time.Duration(limit)
	out := make([]verdict, n)
	for i := range out {
		if i < allowed {
			full += one
			out[i] = verdict{allowed: true, reset: full, remaining: int((window - full) / one)}
			continue
		}
		out[i] = verdict{reset: full, retryAfter: full + one - window}
	}
	return out
}

const (
	// redisPatience is how long a request waits for the shared count.
	redisPatience = 150 * time.Millisecond
	// redisRest is how long Redis is left alone after it failed to answer. Then one
	// request tries again, while the others go on without it.
	redisRest = 2 * time.Second
)

// limiter counts in Redis, and in this process while Redis is away: losing the
// count must not lose the request.
type limiter struct {
	limit    int
	patience time.Duration                 // for how long Redis is waited for
	calls    *share.Calls[string, verdict] // to Redis
	redis    *redis.Client                 // nil: count here
	local    *localLimiter
	log      *slog.Logger

	ended  sync.Once
	mu     sync.Mutex
	away   bool      // Redis did not answer when it was asked last
	restTo time.Time // it is not asked before
}

var errResting = errors.New("redis did not answer a moment ago")

// newLimiter makes a limiter with connections of its own, which give up soon.
func newLimiter(limit int, patience time.Duration, rdb *redis.Client, local *localLimiter, log *slog.Logger) *limiter {
	l := &limiter{limit: limit, patience: patience, local: local, log: log}
	l.calls = share.New(l.ask)
	if rdb != nil {
		opt := *rdb.Options()
		opt.DialTimeout, opt.ReadTimeout, opt.WriteTimeout, opt.PoolTimeout = patience, patience, patience, patience
		opt.MaxRetries, opt.DialerRetries = -1, 1
		opt.ContextTimeoutEnabled = true
		opt.PoolSize, opt.MinIdleConns = 16, 0
		// What belongs to the other client must not be shared with this one.
		opt.PushNotificationProcessor = nil
		opt.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
		l.redis = redis.NewClient(&opt)
	}
	return l
}

// close ends the limiter's connections. It may be called twice.
func (l *limiter) close() (err error) {
	l.ended.Do(func() {
		if l.redis != nil {
			err = l.redis.Close()
		}
	})
	return err
}

func (l *limiter) take(ctx context.Context, name string) verdict {
	if l.redis == nil || l.resting() {
		return l.local.take(name)
	}
	v, err := l.calls.Get(ctx, name)
	if err != nil {
		return l.local.take(name)
	}
	return v
}

// ask counts n requests of one caller, who are in flight together. Those who have come
// up while others waited in vain are not made to wait in turn: Redis is not asked while
// it rests.
func (l *limiter) ask(ctx context.Context, name string, n int) ([]verdict, error) {
	if !l.mayAsk() {
		return nil, errResting
	}
	patient, stop := context.WithTimeout(ctx, l.patience)
	defer stop()
	got, err := takeScript.Run(patient, l.redis, []string{"flows:rate:" + name}, window.Microseconds(), l.limit, n).Int64Slice()
	if err != nil {
		if ctx.Err() == nil { // else it was the caller who did not wait
			l.rest(ctx, err)
		}
		return nil, err
	}
	l.answered(ctx)
	if len(got) != 2 {
		return nil, errors.New("unexpected answer of the rate limit script")
	}
	return verdicts(n, int(got[0]), time.Duration(got[1])*time.Microsecond, l.limit), nil
}

func (l *limiter) resting() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.local.now().Before(l.restTo)
}

// mayAsk tells whether to ask Redis. Who asks first after a rest asks alone.
func (l *limiter) mayAsk() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.local.now()
	if now.Before(l.restTo) {
		return false
	}
	if l.away {
		l.restTo = now.Add(redisRest)
	}
	return true
}

func (l *limiter) rest(ctx context.Context, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.away {
		l.log.WarnContext(ctx, "rate limit counts in this process only", obs.Err(err))
	}
	l.away, l.restTo = true, l.local.now().Add(redisRest)
}

func (l *limiter) answered(ctx context.Context) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.away {
		l.log.InfoContext(ctx, "rate limit counts in all processes again")
	}
	l.away, l.restTo = false, time.Time{}
}

// limitRate counts the caller's request and tells where it stands (IETF draft
// ratelimit-headers).
func (a *API) limitRate(hc huma.Context, next func(huma.Context)) {
	v := a.limiter.take(hc.Context(), string(caller(hc.Context()).ID))
	for name, value := range rateHeaders(a.cfg.RateLimit, v) {
		hc.SetHeader(name, value)
	}
	if !v.allowed {
		a.refuse(hc, tooMany(a.cfg.RateLimit, v))
		return
	}
	next(hc)
}

func rateHeaders(limit int, v verdict) map[string]string {
	return map[string]string{
		"RateLimit-Policy": fmt.Sprintf(`"default";q=%d;w=%d`, limit, int(window.Seconds())),
		"RateLimit":        fmt.Sprintf(`"default";r=%d;t=%d`, v.remaining, seconds(v.reset)),
	}
}

func tooMany(limit int, v verdict) *Problem {
	p := newProblem(http.StatusTooManyRequests, codeRateLimited, "That were too many requests; Retry-After says when to go on.").
		header("Retry-After", strconv.Itoa(max(seconds(v.retryAfter), 1)))
	for name, value := range rateHeaders(limit, v) {
		p = p.header(name, value)
	}
	return p
}

// seconds rounds up: earlier would be too early.
func seconds(d time.Duration) int { return int(math.Ceil(d.Seconds())) }
