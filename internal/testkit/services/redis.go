package services

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
)

// redisURL builds a connection URL for the first logical database.
func redisURL(password, address string) string {
	u := url.URL{Scheme: "redis", Host: address, Path: "/0"}
	if password != "" {
		u.User = url.UserPassword("default", password)
	}
	return u.String()
}

func pingRedis(ctx context.Context, url string) error {
	opt, err := redis.ParseURL(url)
	if err != nil {
		return err
	}
	opt.MaxRetries, opt.DialerRetries = -1, 1 // the callers repeat it themselves
	client := redis.NewClient(opt)
	defer client.Close()
	return client.Ping(ctx).Err()
}

// dial tells whether something listens on a local address.
func dial(ctx context.Context, address string) error {
	d := net.Dialer{Timeout: time.Second}
	conn, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return fmt.Errorf("nothing listens on %s", address)
	}
	return conn.Close()
}

func redisListening(ctx context.Context, s *starter) (string, error) {
	const address = "127.0.0.1:6379"
	if err := dial(ctx, address); err != nil {
		return "", err
	}
	url := redisURL("", address)
	if err := pingRedis(ctx, url); err != nil {
		return "", fmt.Errorf("the server on %s does not let us in: %w", address, err)
	}
	s.logf("redis: the one listening on %s", address)
	return url, nil
}

// redisSettings are the server settings that differ from the defaults. Tests
// need many logical databases: each takes one to itself.
func (s *starter) redisSettings(password string) [][2]string {
	settings := [][2]string{
		{"requirepass", password},
		{"databases", "512"},
		{"save", `""`},
		{"maxmemory-policy", "noeviction"},
	}
	if s.cfg.Durable {
		settings = append(settings, [2]string{"appendonly", "yes"}, [2]string{"appendfsync", "everysec"})
	}
	return settings
}

func redisLocal(ctx context.Context, s *starter) (string, error) {
	program, ok := s.findProgram([]string{"redis-server", "valkey-server"}, nil)
	if !ok {
		return "", errors.New("no redis-server in PATH")
	}
	dir, err := s.folder("redis")
	if err != nil {
		return "", err
	}
	password := rand.Text()
	var config strings.Builder
	for _, setting := range s.redisSettings(password) {
		fmt.Fprintf(&config, "%s %s\n", setting[0], setting[1])
	}
	file := filepath.Join(dir, "redis.conf")
	if err := s.writeFile(file, config.String()); err != nil {
		return "", err
	}

	address, err := s.serve(ctx, func(port string) (*server, error) {
		return s.launch("redis", dir, syscall.SIGKILL, program, file, "--bind", "127.0.0.1", "--port", port, "--dir", dir)
	}, func(ctx context.Context, address string) error {
		if err := dial(ctx, address); err != nil {
			return err // the client would log each refused connection
		}
		return pingRedis(ctx, redisURL(password, address))
	})
	if err != nil {
		return "", err
	}
	s.logf("redis: started %s on %s (%s)", program, address, s.durability())
	return redisURL(password, address), nil
}

func redisDocker(ctx context.Context, s *starter) (string, error) {
	password := rand.Text()
	run := []string{"redis:7-alpine", "redis-server"}
	for _, setting := range s.redisSettings(password) {
		run = append(run, "--"+setting[0], strings.Trim(setting[1], `"`))
	}
	address, err := s.container(ctx, "6379", run, func(ctx context.Context, address string) error {
		return pingRedis(ctx, redisURL(password, address))
	})
	if err != nil {
		return "", err
	}
	s.logf("redis: container of redis:7-alpine on %s (%s)", address, s.durability())
	return redisURL(password, address), nil
}
