// Command bench measures how fast runs go, beside what the queue alone can do in
// the same minutes on the same machine, and prints ratios: the only figures that
// mean something elsewhere.
//
// It needs FLOWS_TEST_DATABASE_URL and FLOWS_TEST_REDIS_URL, as `make bench` sets
// them, and builds and starts the binary it measures. It may import anything.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/pprof"
	"strings"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() error {
	only := flag.String("only", "", "comma-separated scenarios to run: engine, served; empty: all")
	scale := flag.Float64("scale", 1, "multiplies the amount of work of every scenario")
	profile := flag.String("cpuprofile", "", "file to write a CPU profile of this process to, for -only engine")
	flag.Parse()
	if *profile != "" {
		f, err := os.Create(*profile)
		if err != nil {
			return err
		}
		if err := pprof.StartCPUProfile(f); err != nil {
			return err
		}
		defer pprof.StopCPUProfile()
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	b := &bench{scale: *scale, only: map[string]bool{}}
	for s := range strings.SplitSeq(*only, ",") {
		if s != "" {
			b.only[s] = true
		}
	}
	return b.run(ctx)
}
