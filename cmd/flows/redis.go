package main

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/redis/go-redis/v9"
)

// tellOfRedis brings what the client of Redis has to say into log. By itself it
// writes to stderr, in a form of its own. The setting is one for the whole process,
// of which each start of ours is one.
func tellOfRedis(log *slog.Logger) { redis.SetLogger(redisLog{log}) }

// redisLog is a log for the client of Redis, which speaks up only when something
// is wrong and does not say how wrong.
type redisLog struct{ log *slog.Logger }

// Printf logs a line.
func (l redisLog) Printf(ctx context.Context, format string, v ...any) {
	l.log.WarnContext(ctx, "the client of redis has trouble", slog.String("trouble", strings.TrimSpace(fmt.Sprintf(format, v...))))
}
