// Command withservices runs another command with the servers that the tests
// need, and stops afterwards what it started:
//
//	withservices [flags] -- go test -race ./...
//	withservices [flags] -env-file .services/env
//
// The second form, without a command, prints where the servers are and keeps
// them until it is interrupted. The exit code is the command's own; 1 when the
// services could not be had; 128 and the signal's number after a signal.
//
// It knows only internal/testkit/services, and how to run a command.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"github.com/10ex/flows/internal/testkit/services"
)

func main() {
	// The channel holds a few: a second Ctrl-C must not get lost.
	signals := make(chan os.Signal, 4)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	os.Exit(run(os.Args[1:], os.Environ(), signals, os.Stdout, os.Stderr))
}

// options are the parsed flags.
type options struct {
	services services.Config
	envFile  string
	command  []string
}

func parse(args []string, stderr *os.File) (options, error) {
	flags := flag.NewFlagSet("withservices", flag.ContinueOnError)
	flags.SetOutput(stderr)
	need := flags.String("need", "postgres,redis", "services to get: postgres, redis, chromium, cc")
	from := flags.String("from", join(services.AllSources()), "sources to try, in order")
	fsync := flags.String("fsync", "off", "on: servers started here keep what they acknowledged, as in production; off: fast")
	databases := flags.String("databases", "", "databases to create beside the tests' own, in a PostgreSQL started here")
	envFile := flags.String("env-file", "", "also write the variables to this file, to be read by a shell")
	if err := flags.Parse(args); err != nil {
		return options{}, err
	}
	if *fsync != "on" && *fsync != "off" {
		return options{}, fmt.Errorf("-fsync=%s: want on or off", *fsync)
	}
	o := options{
		services: services.Config{
			Need:      split[services.Kind](*need),
			From:      split[services.Source](*from),
			Durable:   *fsync == "on",
			Databases: split[string](*databases),
			Log:       stderr,
		},
		envFile: *envFile,
		command: flags.Args(),
	}
	for _, source := range o.services.From {
		if !slices.Contains(services.AllSources(), source) {
			return options{}, fmt.Errorf("-from: %q is none of %s", source, join(services.AllSources()))
		}
	}
	return o, nil
}

func split[T ~string](list string) []T {
	var items []T
	for item := range strings.SplitSeq(list, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, T(item))
		}
	}
	return items
}

func join[T ~string](items []T) string {
	var b strings.Builder
	for i, item := range items {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(string(item))
	}
	return b.String()
}

// run does the whole job and returns the exit code.
func run(args, environ []string, signals <-chan os.Signal, stdout, stderr *os.File) int {
	o, err := parse(args, stderr)
	if err != nil {
		fmt.Fprintln(stderr, "withservices:", err)
		return 2
	}

	o.services.Getenv = func(name string) string { return variable(environ, name) }
	set, code := start(o.services, signals, stderr)
	if set == nil {
		return code
	}
	defer set.Stop()

	if !report(set, stderr) && variable(environ, "CI") == "true" {
		fmt.Fprintln(stderr, "withservices: CI=true and services are missing: nothing was run")
		return 1
	}
	if o.envFile != "" {
		if err := writeEnvFile(o.envFile, set, o.services.Databases); err != nil {
			fmt.Fprintln(stderr, "withservices:", err)
			return 1
		}
		defer os.Remove(o.envFile)
	}
	if len(o.command) == 0 {
		fmt.Fprint(stdout, exports(set, o.services.Databases))
		fmt.Fprintln(stderr, "withservices: running until interrupted (Ctrl-C)")
		<-signals
		return 0
	}
	if isMissing(set, services.CC) && slices.Contains(o.command, "-race") {
		fmt.Fprintln(stderr, "withservices: NO RACE DETECTOR: it needs a C compiler; running without -race")
		o.command = slices.DeleteFunc(o.command, func(arg string) bool { return arg == "-race" })
	}
	return runCommand(o.command, set.Environ(environ), signals, stderr)
}

// start gets the services, and gives up when a signal comes.
func start(cfg services.Config, signals <-chan os.Signal, stderr *os.File) (*services.Set, int) {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)

	type result struct {
		set *services.Set
		err error
	}
	done := make(chan result, 1)
	go func() {
		set, err := services.Start(ctx, cfg)
		done <- result{set, err}
	}()

	select {
	case r := <-done:
		if r.err != nil {
			fmt.Fprintln(stderr, "withservices:", r.err)
			return nil, 1
		}
		return r.set, 0
	case sig := <-signals:
		cancel(fmt.Errorf("stopped by %s", sig))
		if r := <-done; r.set != nil {
			r.set.Stop()
		}
		return nil, signalCode(sig)
	}
}

func isMissing(set *services.Set, kind services.Kind) bool {
	return slices.ContainsFunc(set.Missing, func(m services.Missing) bool { return m.Kind == kind })
}

// report says plainly what is missing, and returns whether nothing is.
func report(set *services.Set, stderr *os.File) bool {
	for _, m := range set.Missing {
		fmt.Fprintf(stderr, "withservices: NO %s: what needs it will not run.\n", strings.ToUpper(string(m.Kind)))
		for _, reason := range m.Reasons {
			fmt.Fprintf(stderr, "    %s\n", reason)
		}
		fmt.Fprintf(stderr, "    To name one yourself, set %s.\n", services.Variable(m.Kind))
	}
	return len(set.Missing) == 0
}

// variable returns the value of an environment variable, or "".
func variable(environ []string, name string) string {
	for _, kv := range slices.Backward(environ) { // the last one counts, as for os/exec
		if value, ok := strings.CutPrefix(kv, name+"="); ok {
			return value
		}
	}
	return ""
}

func signalCode(sig os.Signal) int {
	if s, ok := sig.(syscall.Signal); ok {
		return 128 + int(s)
	}
	return 1
}
