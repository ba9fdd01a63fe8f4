package limits

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"
)

// Keys of one limit in Redis. The braces keep them in one place of a cluster.
func keysOf(key string) []string {
	base := "flows:limit:{" + key + "}:"
	return []string{base + "full", base + "block", base + "in", base + "waiting", base + "took"}
}

// enterScript is state.enter, by the clock of Redis. Times are microseconds.
//
//	KEYS 1: when the whole Count is there again (GCRA), 2: nothing before, 3: who is
//	in, by the end of their leases, 4: who waits for a place, 5: how long it takes.
//	ARGV 1: Per, 2: Count, 3: Concurrency, 4: holder, 5: has a turn, 6: lease,
//	7: pace, 8: waiterLife, 9: firstGuess, 10: leastGuess, 11: mostGuess.
//	Answer: cause (0 none, 1 rate, 2 block, 3 concurrency), wait.
//
//nolint:dupword // Lua ends what it ends
var enterScript = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local per, count, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local share = 0
if count > 0 then share = math.floor(per / count) end
local function keep(key, value)
  redis.call('SET', key, string.format('%.0f', value), 'PX', math.ceil((value - now) / 1000) + 1000)
end
local blocked = tonumber(redis.call('GET', KEYS[2]) or 0)
if blocked > now then
  local full = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), blocked)
  local at
  if count > 0 then full = full + share; at = math.max(full - per, blocked) else full = full + tonumber(ARGV[7]); at = full end
  keep(KEYS[1], full)
  return {2, at - now}
end
if count > 0 and ARGV[5] == '0' then
  local full = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now) + share
  keep(KEYS[1], full)
  if full - per > now then return {1, full - per - now} end
end
if most > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
  redis.call('ZREMRANGEBYSCORE', KEYS[4], '-inf', now)
  if redis.call('ZCARD', KEYS[3]) >= most and not redis.call('ZSCORE', KEYS[3], ARGV[4]) then
    redis.call('ZADD', KEYS[4], now + tonumber(ARGV[8]), ARGV[4])
    redis.call('PEXPIRE', KEYS[4], math.ceil(tonumber(ARGV[8]) / 1000) + 1000)
    local took = tonumber(redis.call('GET', KEYS[5]) or ARGV[9])
    local guess = took * math.ceil(redis.call('ZCARD', KEYS[4]) / most)
    return {3, math.floor(math.min(math.max(guess, tonumber(ARGV[10])), tonumber(ARGV[11])))}
  end
  redis.call('ZADD', KEYS[3], now + tonumber(ARGV[6]), ARGV[4])
  redis.call('PEXPIRE', KEYS[3], math.ceil(tonumber(ARGV[6]) / 1000) + 1000)
  redis.call('ZREM', KEYS[4], ARGV[4])
end
return {0, 0}
`)

// leaveScript takes a holder out and remembers how long things take.
//
//	KEYS 1: who is in, 2: how long it takes. ARGV 1: holder, 2: took, 3: life of that.
var leaveScript = redis.NewScript(`
redis.call('ZREM', KEYS[1], ARGV[1])
local took = tonumber(redis.call('GET', KEYS[2]) or ARGV[2])
redis.call('SET', KEYS[2], string.format('%.0f', took * 0.8 + tonumber(ARGV[2]) * 0.2), 'PX', ARGV[3])
return 0
`)

// blockScript lets nobody begin before a time, unless a later one is set already.
//
//	KEYS 1: nothing before. ARGV 1: how long.
var blockScript = redis.NewScript(`
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local till = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), now + tonumber(ARGV[1]))
redis.call('SET', KEYS[1], string.format('%.0f', till), 'PX', math.ceil((till - now) / 1000) + 1)
return 0
`)

var causes = []Cause{"", CauseRate, CauseBlock, CauseConcurrency}

func (l *Limiter) enter(ctx context.Context, key, holder string, limit Limit, hasTurn bool) (Verdict, error) {
	ctx, stop := context.WithTimeout(ctx, l.cfg.Patience)
	defer stop()
	turn := "0"
	if hasTurn {
		turn = "1"
	}
	n, err := enterScript.Run(ctx, l.cfg.Redis, keysOf(key),
		limit.Per.Microseconds(), limit.Count, limit.Concurrency, holder, turn, l.cfg.Lease.Microseconds(),
		pace.Microseconds(), waiterLife.Microseconds(), firstGuess.Microseconds(), leastGuess.Microseconds(), mostGuess.Microseconds(),
	).Int64Slice()
	if err != nil {
		return Verdict{}, err
	}
	if len(n) != 2 || n[0] < 0 || int(n[0]) >= len(causes) {
		return Verdict{}, errors.New("unexpected answer of the script for limits")
	}
	return Verdict{Cause: causes[n[0]], Wait: time.Duration(n[1]) * time.Microsecond}, nil
}

func (l *Limiter) leave(ctx context.Context, key, holder string, took time.Duration) error {
	ctx, stop := context.WithTimeout(ctx, l.cfg.Patience)
	defer stop()
	keys := keysOf(key)
	return leaveScript.Run(ctx, l.cfg.Redis, []string{keys[2], keys[4]}, holder, took.Microseconds(), time.Hour.Milliseconds()).Err()
}

func (l *Limiter) block(ctx context.Context, key string, d time.Duration) error {
	ctx, stop := context.WithTimeout(ctx, l.cfg.Patience)
	defer stop()
	return blockScript.Run(ctx, l.cfg.Redis, keysOf(key)[1:2], d.Microseconds()).Err()
}

// prolong gives holders that still count another lease.
func (l *Limiter) prolong(ctx context.Context, held []holding) error {
	now, err := l.cfg.Redis.Time(ctx).Result()
	if err != nil {
		return err
	}
	until := float64(now.Add(l.cfg.Lease).UnixMicro())
	pipe := l.cfg.Redis.Pipeline()
	for _, h := range held {
		key := keysOf(h.key)[2]
		pipe.ZAddXX(ctx, key, redis.Z{Score: until, Member: h.holder})
		pipe.Do(ctx, "PEXPIRE", key, strconv.FormatInt(l.cfg.Lease.Milliseconds()+1000, 10))
	}
	_, err = pipe.Exec(ctx)
	return err
}
