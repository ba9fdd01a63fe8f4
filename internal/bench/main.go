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
	"strings"
)

func main() {
	only := flag.String("only", "", "comma-separated scenarios to run: raw, linear, fan, idle, growth, engine; empty: all")
	scale := flag.Float64("scale", 1, "multiplies the amount of work of every scenario")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	b := &bench{scale: *scale, only: map[string]bool{}}
	for _, s := range strings.Split(*only, ",") {
		if s != "" {
			b.only[s] = true
		}
	}
	if err := b.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}
