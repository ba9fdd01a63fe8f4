package broker

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"github.com/10ex/flows/internal/obs"
)

// Config says which Redis to use.
type Config struct {
	// URL is redis://…, rediss://… or unix://…; empty means one inside the process.
	URL string
	// PoolSize bounds the connections. Default 64.
	PoolSize int
	// Log is where trouble with Redis is told. Default nowhere.
	Log *slog.Logger
}

// Broker is a Redis. It may be used concurrently.
type Broker struct {
	opt      *redis.Options
	client   *redis.Client
	embedded *embedded // nil: a server
	log      *slog.Logger
	post     *post
}

// Open makes a Broker. A server that does not answer is no error: Redis may come
// later, and until then Ping says so.
func Open(cfg Config) (*Broker, error) {
	if cfg.Log == nil {
		cfg.Log = obs.Discard()
	}
	b := &Broker{log: cfg.Log}
	if cfg.URL == "" {
		b.embedded = newEmbedded()
		b.opt = &redis.Options{Addr: "embedded", Dialer: b.embedded.dial}
	} else {
		opt, err := redis.ParseURL(cfg.URL)
		if err != nil {
			// The error may repeat the URL, and with it the password.
			return nil, errors.New("redis url is not valid: it must be redis://, rediss:// or unix://")
		}
		b.opt = opt
	}
	b.opt.PoolSize = cfg.PoolSize
	if b.opt.PoolSize == 0 {
		b.opt.PoolSize = 64
	}
	// Each connection has these two, and most commands and replies are far smaller than
	// the 32 KiB that the library takes. What is larger passes all the same.
	b.opt.ReadBufferSize, b.opt.WriteBufferSize = 4<<10, 4<<10
	b.opt.ContextTimeoutEnabled = true // else the deadline of a context is not obeyed
	b.opt.DialTimeout = 2 * time.Second
	b.opt.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	b.client = redis.NewClient(b.opt)
	b.post = newPost(b.client, b.log)
	return b, nil
}

// Client is the connection all parts of the process share.
func (b *Broker) Client() *redis.Client { return b.client }

// MakeRedisClient makes a connection for a library that wants one of its own and
// closes it. It is what asynq asks of a connection option.
func (b *Broker) MakeRedisClient() any {
	opt := *b.opt
	return redis.NewClient(&opt)
}

// Embedded tells whether this is a Redis inside the process.
func (b *Broker) Embedded() bool { return b.embedded != nil }

// Ping tells whether Redis answers.
func (b *Broker) Ping(ctx context.Context) error { return b.client.Ping(ctx).Err() }

// refusals begin what Redis says to whoever it will not serve.
var refusals = []string{"WRONGPASS", "NOAUTH", "NOPERM", "ERR invalid password", "ERR AUTH", "ERR Client sent AUTH", "ERR DB index", "ERR invalid DB index"}

// Refused tells whether an error is Redis saying that it will not serve us, as with a
// wrong password or database: waiting mends nothing.
func Refused(err error) bool {
	said, answered := errors.AsType[redis.Error](err)
	return answered && slices.ContainsFunc(refusals, func(r string) bool { return strings.HasPrefix(said.Error(), r) })
}

// CheckPolicy warns, loudly, of a Redis that throws data away when it is full:
// tasks would vanish. Nothing is lost for good by it, but all become slow.
func (b *Broker) CheckPolicy(ctx context.Context) error {
	if b.Embedded() {
		return nil
	}
	got, err := b.client.ConfigGet(ctx, "maxmemory-policy").Result()
	if err != nil {
		return fmt.Errorf("ask Redis for its maxmemory-policy: %w", err) // a managed Redis may not tell
	}
	if policy := got["maxmemory-policy"]; policy != "" && policy != "noeviction" {
		b.log.ErrorContext(ctx, "redis drops data when its memory is full: set its maxmemory-policy to noeviction",
			slog.String("maxmemory_policy", policy))
	}
	return nil
}

// Close sends what waits to be sent, for a moment, and ends all connections.
func (b *Broker) Close() error {
	b.post.close()
	err := b.client.Close()
	if b.embedded != nil {
		b.embedded.close()
	}
	return err
}
