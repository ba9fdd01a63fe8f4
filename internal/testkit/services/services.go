package services

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// Kind names something that tests can need.
type Kind string

// The kinds there are.
const (
	Postgres Kind = "postgres"
	Redis    Kind = "redis"
	Chromium Kind = "chromium"
	// CC is a C compiler, which go test -race needs.
	CC Kind = "cc"
)

// kinds lists every kind, in the order their variables are told in.
var kinds = []Kind{Postgres, Redis, Chromium, CC}

// Source is one way to get a service.
type Source string

// The sources there are.
const (
	// Env takes the server that the environment names.
	Env Source = "env"
	// Listening takes a server on its usual local port, when a usual local
	// credential opens it.
	Listening Source = "listening"
	// Local runs programs that are installed on this machine.
	Local Source = "local"
	// Install adds the Debian packages, then does what Local does.
	Install Source = "install"
	// Docker runs a container.
	Docker Source = "docker"
)

// AllSources lists every source in the order they are tried.
func AllSources() []Source { return []Source{Env, Listening, Local, Install, Docker} }

// Config says what is wanted. The zero Config asks for PostgreSQL and Redis from
// any source, fast and without durability, and logs nowhere.
type Config struct {
	// Need lists the kinds to get. Default: Postgres and Redis.
	Need []Kind
	// From lists the sources to try, in order. Default: AllSources.
	From []Source
	// Durable makes PostgreSQL sync every commit and Redis keep its append-only
	// file, as production does. Default false: tests throw the data away.
	Durable bool
	// Databases lists extra databases to create in a PostgreSQL server started
	// here, beside the one whose URL is handed out. Default: none.
	Databases []string
	// Log receives one line for each thing that happens. Default: nowhere.
	Log io.Writer
	// Getenv reads the environment. Default: os.Getenv.
	Getenv func(string) string

	// machine is replaced by tests of this package. Default: thisMachine.
	machine *machine
}

// machine is what this package knows of the computer it runs on.
type machine struct {
	root bool
	// owner is who servers run as; nil for whoever we are.
	owner *credential
	// policyFile is what Debian's package scripts ask before they start a
	// service.
	policyFile string
	// lookPath finds a program.
	lookPath func(name string) (string, error)
}

func thisMachine() *machine {
	return &machine{
		root:       os.Geteuid() == 0,
		owner:      serverUser(),
		policyFile: "/usr/sbin/policy-rc.d",
		lookPath:   exec.LookPath,
	}
}

// Missing tells of a kind that could not be had.
type Missing struct {
	Kind Kind
	// Reasons holds one sentence a source, in the order they were tried.
	Reasons []string
}

// Set holds the services that were got.
type Set struct {
	// Missing lists what could not be had.
	Missing []Missing

	urls  map[Kind]string
	stops []func()
	dir   string
	// unlock gives up the lock that tells others the folder is in use.
	unlock func()
}

// provider knows how one kind is had from each source. A function that cannot
// give the service returns an error whose text says why, as half a sentence.
type provider struct {
	env       string
	packages  []string
	listening func(context.Context, *starter) (string, error)
	local     func(context.Context, *starter) (string, error)
	docker    func(context.Context, *starter) (string, error)
}

// providers is the visible list of what can be had; the variable in env is the
// one that the programs run with these services read.
var providers = map[Kind]provider{
	Postgres: {
		env:       "FLOWS_TEST_DATABASE_URL",
		packages:  []string{"postgresql"},
		listening: postgresListening,
		local:     postgresLocal,
		docker:    postgresDocker,
	},
	Redis: {
		env:       "FLOWS_TEST_REDIS_URL",
		packages:  []string{"redis-server"},
		listening: redisListening,
		local:     redisLocal,
		docker:    redisDocker,
	},
	Chromium: {
		env:      "FLOWS_TEST_CHROMIUM",
		packages: []string{"chromium"},
		local:    programLocal(Chromium, "chromium", "chromium-browser", "google-chrome", "google-chrome-stable"),
	},
	CC: {
		env:      "CC",
		packages: []string{"gcc", "libc6-dev"},
		local:    programLocal(CC, "gcc", "clang", "cc"),
	},
}

// starter carries what a provider needs while Start runs.
type starter struct {
	cfg Config
	set *Set

	logMu sync.Mutex // servers that end by themselves are logged from their own goroutine
}

// startTimeout bounds how long one kind may take from one source. Packages and
// images are downloaded inside it.
const startTimeout = 6 * time.Minute

// Start gets every kind that cfg needs. A kind that cannot be had is listed in
// the Set and is no error; the caller decides what that means. On an error, and
// when ctx ends early, everything that was started has been stopped again.
// Otherwise the caller must call Stop.
func Start(ctx context.Context, cfg Config) (*Set, error) {
	if len(cfg.Need) == 0 {
		cfg.Need = []Kind{Postgres, Redis}
	}
	if len(cfg.From) == 0 {
		cfg.From = AllSources()
	}
	if cfg.Log == nil {
		cfg.Log = io.Discard
	}
	if cfg.Getenv == nil {
		cfg.Getenv = os.Getenv
	}
	if cfg.machine == nil {
		cfg.machine = thisMachine()
	}

	s := &starter{cfg: cfg, set: &Set{urls: map[Kind]string{}}}
	for _, kind := range cfg.Need {
		if err := s.get(ctx, kind); err != nil {
			s.set.Stop()
			return nil, err
		}
	}
	return s.set, nil
}

// get tries the sources for one kind until one gives it.
func (s *starter) get(ctx context.Context, kind Kind) error {
	p, ok := providers[kind]
	if !ok {
		return fmt.Errorf("unknown service %q", kind)
	}

	var reasons []string
	for _, source := range s.cfg.From {
		url, err := s.try(ctx, kind, p, source)
		if ctx.Err() != nil {
			return fmt.Errorf("get %s: %w", kind, context.Cause(ctx))
		}
		// A server that the environment names is an order, not a hint:
		// passing it over would test something else than was asked for.
		if fatal := (*orderError)(nil); errors.As(err, &fatal) {
			return err
		}
		if err != nil {
			reasons = append(reasons, fmt.Sprintf("%s: %s", source, err))
			continue
		}
		s.set.urls[kind] = url
		return nil
	}
	s.set.Missing = append(s.set.Missing, Missing{Kind: kind, Reasons: reasons})
	return nil
}

// orderError tells that what the environment names cannot be used.
type orderError struct{ err error }

func (e *orderError) Error() string { return e.err.Error() }
func (e *orderError) Unwrap() error { return e.err }

var errNotOffered = errors.New("not offered for this")

func (s *starter) try(ctx context.Context, kind Kind, p provider, source Source) (string, error) {
	ctx, stop := context.WithTimeoutCause(ctx, startTimeout, errors.New("took too long"))
	defer stop()

	switch source {
	case Env:
		return s.fromEnv(ctx, kind, p)
	case Listening:
		if p.listening == nil {
			return "", errNotOffered
		}
		return p.listening(ctx, s)
	case Local:
		return p.local(ctx, s)
	case Install:
		if err := s.install(ctx, p.packages); err != nil {
			return "", err
		}
		return p.local(ctx, s)
	case Docker:
		if p.docker == nil {
			return "", errNotOffered
		}
		return p.docker(ctx, s)
	default:
		return "", &orderError{fmt.Errorf("unknown source %q", source)}
	}
}

func (s *starter) fromEnv(ctx context.Context, kind Kind, p provider) (string, error) {
	url := s.cfg.Getenv(p.env)
	if url == "" {
		return "", fmt.Errorf("%s is not set", p.env)
	}
	var err error
	switch kind {
	case Postgres:
		err = pingPostgres(ctx, url)
	case Redis:
		err = pingRedis(ctx, url)
	case Chromium, CC:
		_, err = s.cfg.machine.lookPath(strings.Fields(url)[0]) // CC may hold options
	}
	if err != nil {
		return "", &orderError{fmt.Errorf("%s is set but cannot be used: %w", p.env, err)}
	}
	s.logf("%s: the one named by %s", kind, p.env)
	return url, nil
}

func (s *starter) logf(format string, args ...any) {
	s.logMu.Lock()
	defer s.logMu.Unlock()
	fmt.Fprintf(s.cfg.Log, "services: "+format+"\n", args...)
}

// URL returns where the service is (of a program: its path), or "".
func (s *Set) URL(kind Kind) string { return s.urls[kind] }

// Environ returns base with the variables that name the services set, and those
// of missing services removed.
func (s *Set) Environ(base []string) []string {
	env := make([]string, 0, len(base)+len(providers))
	for _, kv := range base {
		name, _, _ := strings.Cut(kv, "=")
		if !isServiceVariable(name) {
			env = append(env, kv)
		}
	}
	for _, kind := range kinds {
		if url := s.urls[kind]; url != "" {
			env = append(env, providers[kind].env+"="+url)
		}
	}
	return env
}

func isServiceVariable(name string) bool {
	for _, p := range providers {
		if p.env == name {
			return true
		}
	}
	return false
}

// Variable returns the name of the environment variable that tells tests where
// the service of that kind is.
func Variable(kind Kind) string { return providers[kind].env }

// Stop ends what Start started, in reverse order, and removes its files. It may
// be called more than once.
func (s *Set) Stop() {
	for len(s.stops) > 0 {
		last := len(s.stops) - 1
		stop := s.stops[last]
		s.stops = s.stops[:last]
		stop()
	}
	if s.dir != "" {
		os.RemoveAll(s.dir)
		s.unlock()
		s.dir = ""
	}
}

func (s *Set) onStop(f func()) { s.stops = append(s.stops, f) }
