package services

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"

	"github.com/jackc/pgx/v5"
)

// testDatabase is the database that tests use; each makes its own schema in it.
const testDatabase = "flows_test"

// postgresFolders are where packages put the server's programs, outside PATH.
var postgresFolders = []string{"/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin"}

// postgresURL builds a connection URL. A schema's name is added by the tests.
func postgresURL(userName, password, address, database string) string {
	u := url.URL{Scheme: "postgres", User: url.UserPassword(userName, password), Host: address, Path: "/" + database, RawQuery: "sslmode=disable"}
	return u.String()
}

func pingPostgres(ctx context.Context, url string) error {
	conn, err := pgx.Connect(ctx, url)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

func postgresListening(ctx context.Context, s *starter) (string, error) {
	const address = "127.0.0.1:5432"
	if err := dial(ctx, address); err != nil {
		return "", err
	}

	logins := [][2]string{{"postgres", "postgres"}, {"postgres", ""}, {"flows", "flows"}}
	if name := s.cfg.Getenv("PGUSER"); name != "" {
		logins = append([][2]string{{name, s.cfg.Getenv("PGPASSWORD")}}, logins...)
	}
	if u, err := user.Current(); err == nil {
		logins = append(logins, [2]string{u.Username, ""})
	}
	err := errors.New("no login was tried")
	for _, login := range logins {
		if err = s.prepareDatabase(ctx, login[0], login[1], address); err == nil {
			s.logf("postgres: the one listening on %s, as %s", address, login[0])
			return postgresURL(login[0], login[1], address, testDatabase), nil
		}
	}
	return "", fmt.Errorf("no usual login works on %s (the last answer: %w)", address, err)
}

// prepareDatabase makes the databases that are wanted, once it is sure that the
// server keeps the promise of cfg.Durable.
func (s *starter) prepareDatabase(ctx context.Context, userName, password, address string) error {
	conn, err := pgx.Connect(ctx, postgresURL(userName, password, address, "postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))

	if s.cfg.Durable {
		var durable bool
		const query = `SELECT current_setting('fsync') = 'on' AND current_setting('synchronous_commit') <> 'off'`
		if err := conn.QueryRow(ctx, query).Scan(&durable); err != nil {
			return err
		}
		if !durable {
			return errors.New("the server does not sync its commits")
		}
	}
	for _, name := range slices.Concat([]string{testDatabase}, s.cfg.Databases) {
		var exists bool
		if err := conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_database WHERE datname = $1)`, name).Scan(&exists); err != nil {
			return err
		}
		if exists {
			continue
		}
		if _, err := conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize()); err != nil {
			return err
		}
	}
	return nil
}

// postgresSettings are the server settings that differ from the defaults.
func (s *starter) postgresSettings() []string {
	settings := []string{
		"max_connections=300", // packages are tested side by side, each with pools
		"shared_buffers=128MB",
		"max_wal_size=2GB",
		"log_min_messages=warning",
	}
	if !s.cfg.Durable {
		settings = append(settings, "fsync=off", "synchronous_commit=off", "full_page_writes=off")
	}
	args := make([]string, 0, 2*len(settings))
	for _, setting := range settings {
		args = append(args, "-c", setting)
	}
	return args
}

func postgresLocal(ctx context.Context, s *starter) (string, error) {
	initdb, ok := s.findProgram([]string{"initdb"}, postgresFolders)
	if !ok {
		return "", errors.New("no initdb in PATH or where packages put it")
	}
	initdb, err := filepath.EvalSymlinks(initdb)
	if err != nil {
		return "", fmt.Errorf("initdb: %w", err)
	}
	// The server must be of initdb's version, so it is taken from beside it.
	program := filepath.Join(filepath.Dir(initdb), "postgres")
	if _, err := os.Stat(program); err != nil {
		return "", fmt.Errorf("no postgres beside %s", initdb)
	}

	dir, err := s.folder("postgres")
	if err != nil {
		return "", err
	}
	data, password := filepath.Join(dir, "data"), rand.Text()
	passwordFile := filepath.Join(dir, "password")
	if err := s.writeFile(passwordFile, password+"\n"); err != nil {
		return "", err
	}
	// A plain password keeps other users of the machine out and, over the
	// loopback, costs nothing at each of the many connections tests make.
	args := []string{"-D", data, "-U", "flows", "-A", "password", "--pwfile", passwordFile, "-E", "UTF8", "--locale=C", "--lc-ctype=" + utf8Locale()}
	if !s.cfg.Durable {
		args = append(args, "--no-sync")
	}
	if err := s.run(ctx, dir, initdb, args...); err != nil {
		return "", err
	}

	address, err := s.serve(ctx, func(port string) (*server, error) {
		args := []string{"-D", data, "-p", port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="}
		args = append(args, s.postgresSettings()...)
		// SIGQUIT: end at once without a checkpoint; the data is thrown away.
		return s.launch("postgres", dir, syscall.SIGQUIT, program, args...)
	}, func(ctx context.Context, address string) error {
		return pingPostgres(ctx, postgresURL("flows", password, address, "postgres"))
	})
	if err != nil {
		return "", err
	}
	if err := s.prepareDatabase(ctx, "flows", password, address); err != nil {
		return "", fmt.Errorf("prepare the database: %w", err)
	}
	s.logf("postgres: started %s on %s (%s)", program, address, s.durability())
	return postgresURL("flows", password, address, testDatabase), nil
}

// utf8Locale names the locale in which letters beyond ASCII have a case, as in
// the databases people make; every system has it without installing locales.
func utf8Locale() string {
	if runtime.GOOS == "darwin" {
		return "UTF-8"
	}
	return "C.UTF-8"
}

func (s *starter) durability() string {
	if s.cfg.Durable {
		return "durable"
	}
	return "fast, not durable"
}

// serve launches a server on a free port and waits until it answers. It tries
// again when the server ends at once: another program may have taken the port.
func (s *starter) serve(ctx context.Context, launch func(port string) (*server, error), ping func(ctx context.Context, address string) error) (string, error) {
	var err error
	for range 3 {
		var port string
		if port, err = freePort(ctx); err != nil {
			return "", err
		}
		var srv *server
		if srv, err = launch(port); err != nil {
			return "", err
		}
		address := net.JoinHostPort("127.0.0.1", port)
		if err = srv.waitReady(ctx, func(ctx context.Context) error { return ping(ctx, address) }); err == nil {
			return address, nil
		}
		if ctx.Err() != nil {
			break
		}
	}
	return "", err
}

func postgresDocker(ctx context.Context, s *starter) (string, error) {
	password := rand.Text()
	run := []string{"-e", "POSTGRES_USER=flows", "-e", "POSTGRES_PASSWORD=" + password, "postgres:16-alpine", "postgres"}
	address, err := s.container(ctx, "5432", append(run, s.postgresSettings()...), func(ctx context.Context, address string) error {
		return pingPostgres(ctx, postgresURL("flows", password, address, "postgres"))
	})
	if err != nil {
		return "", err
	}
	if err := s.prepareDatabase(ctx, "flows", password, address); err != nil {
		return "", fmt.Errorf("prepare the database: %w", err)
	}
	s.logf("postgres: container of postgres:16-alpine on %s (%s)", address, s.durability())
	return postgresURL("flows", password, address, testDatabase), nil
}
