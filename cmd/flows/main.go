// Command flows is the whole product in one binary: each role of it, everything
// at once, and what an operator does by hand.
//
// main.go has the commands, config.go the settings, app.go puts the parts together
// and says in which order they start and stop. It alone may import everything.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	_ "time/tzdata" // schedules name zones, and not every machine knows them

	"github.com/alecthomas/kong"

	"github.com/10ex/flows/internal/obs"
)

// version is set by the build.
var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	p := &program{env: processEnvironment(), stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr}
	os.Exit(p.main(ctx, os.Args[1:]))
}

// program is one call of the binary.
type program struct {
	env            environment
	stdin          io.Reader
	stdout, stderr io.Writer
}

// commands are the command line.
type commands struct {
	Dev         devCommand         `cmd:"" help:"Run everything in one process on embedded storage."`
	Serve       serveCommand       `cmd:"" help:"Run API, worker and scheduler in one process on PostgreSQL and Redis."`
	API         apiCommand         `cmd:"" help:"Run the API."                                                          name:"api"`
	Worker      workerCommand      `cmd:"" help:"Run a worker."`
	Scheduler   schedulerCommand   `cmd:"" help:"Run a scheduler."`
	Migrate     migrateCommand     `cmd:"" help:"Bring the database's schema up to date, or show where it stands."`
	Workspaces  workspacesCommand  `cmd:"" help:"Make workspaces."`
	Keys        keysCommand        `cmd:"" help:"Make API keys."`
	Encryption  encryptionCommand  `cmd:"" help:"Change the key that stored secrets are encrypted with."`
	Settings    settingsCommand    `cmd:"" help:"List the settings, which are variables of the environment."`
	MCP         mcpCommand         `cmd:"" help:"Speak MCP over the standard streams, for agents: the tools of the server at TENEX_API_BASE." name:"mcp"`
	Workflows   workflowsCommand   `cmd:"" group:"client" help:"List, show, make, export and archive workflows."`
	Runs        runsCommand        `cmd:"" group:"client" help:"Start, follow, explain and control runs."`
	Triggers    triggersCommand    `cmd:"" group:"client" help:"List and show triggers."`
	Events      eventsCommand      `cmd:"" group:"client" help:"Send, list and show events."`
	Templates   templatesCommand   `cmd:"" group:"client" help:"List and show templates, and make workflows of them."`
	Connectors  connectorsCommand  `cmd:"" group:"client" help:"List connectors."`
	Connections connectionsCommand `cmd:"" group:"client" help:"List connections."`
	Agents      agentsCommand      `cmd:"" group:"client" help:"List agents."`
	Whoami      whoamiCommand      `cmd:"" group:"client" help:"Tell whose key TENEX_API_KEY is."`
	Healthcheck healthcheckCommand `cmd:"" help:"Ask a server whether it is ready; for container health checks."`
	Version     versionCommand     `cmd:"" help:"Print the version."`
}

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// main runs one command and returns its exit code.
func (p *program) main(ctx context.Context, args []string) (code int) {
	var c commands
	exited := -1
	parser, err := kong.New(&c,
		kong.Name("flows"),
		kong.Description("Durable flows of agents and connectors. Settings are variables of the environment: see flows settings."),
		kong.Writers(p.stdout, p.stderr),
		kong.Exit(func(code int) { exited = code; panic(exitNow{}) }),
		kong.ExplicitGroups([]kong.Group{{
			Key: "client", Title: "Commands for clients of the server at TENEX_API_BASE, with the key TENEX_API_KEY:",
		}}),
		kong.Vars{"scopes": scopeNames()},
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(p),
	)
	if err != nil {
		panic(err) // the commands above do not fit together
	}
	defer func() {
		if r := recover(); r != nil {
			if _, ok := r.(exitNow); !ok {
				panic(r)
			}
			code = exited
		}
	}()
	parsed, err := parser.Parse(args)
	if err != nil {
		fmt.Fprintf(p.stderr, "flows: %v\nTry 'flows --help'.\n", err)
		return exitUsage
	}
	if err := parsed.Run(); err != nil {
		for line := range strings.SplitSeq(err.Error(), "\n") { // a line for each that was joined
			fmt.Fprintf(p.stderr, "flows: %s\n", line)
		}
		return exitFailed
	}
	return exitOK
}

// exitNow carries kong's wish to end the process out of it.
type exitNow struct{}

// config reads the settings.
func (p *program) config() (config, error) { return readConfig(p.env) }

func (p *program) logger(c config) *slog.Logger {
	return obs.NewLogger(p.stderr, c.LogLevel, c.LogJSON)
}

// print writes v as one line of JSON.
func (p *program) print(v any) error { return json.NewEncoder(p.stdout).Encode(v) }

type versionCommand struct{}

// Run prints the version.
func (versionCommand) Run(p *program) error {
	return p.print(struct {
		Version string `json:"version"`
		Commit  string `json:"commit"`
		Go      string `json:"go"`
	}{version, commit(), runtime.Version()})
}

// commit is what the binary was built from, as far as the build knows.
func commit() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				return s.Value
			}
		}
	}
	return "unknown"
}

type settingsCommand struct{}

// Run lists the settings.
func (settingsCommand) Run(p *program) error {
	for _, s := range settings {
		line := struct {
			Name    string `json:"name"`
			Does    string `json:"does"`
			Allowed string `json:"allowed"`
			Default string `json:"default,omitempty"`
			File    string `json:"file,omitempty"`
		}{Name: s.name, Does: s.does, Allowed: s.allowed, Default: s.initial}
		if s.secret {
			line.File = s.name + "_FILE"
		}
		if err := p.print(line); err != nil {
			return err
		}
	}
	return nil
}

// errNeeds says that a command cannot do with embedded storage.
func errNeeds(command, name string) error {
	return fmt.Errorf("flows %s needs %s: only flows dev runs on embedded storage, which other processes cannot share", command, name)
}

// shared checks that a role which others work beside has stores that can be shared.
func (c config) shared(command string) error {
	var errs []error
	if c.DatabaseURL == "" {
		errs = append(errs, errNeeds(command, "FLOWS_DATABASE_URL"))
	}
	if c.RedisURL == "" {
		errs = append(errs, errNeeds(command, "FLOWS_REDIS_URL"))
	}
	if c.EncryptionKey == nil {
		errs = append(errs, errNoEncryptionKey(command))
	}
	return errors.Join(errs...)
}
