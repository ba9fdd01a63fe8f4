package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"text/tabwriter"
)

// bench runs scenarios and gathers a table.
type bench struct {
	scale    float64
	only     map[string]bool
	database string
	redis    string
	rows     []row
	servers  servers
	rawRates []float64
}

type row struct{ scenario, figure, value string }

func (b *bench) wanted(scenario string) bool { return len(b.only) == 0 || b.only[scenario] }

func (b *bench) addf(scenario, figure, format string, args ...any) {
	r := row{scenario, figure, fmt.Sprintf(format, args...)}
	b.rows = append(b.rows, r)
	fmt.Fprintf(os.Stderr, "%s: %s %s\n", r.scenario, r.figure, r.value)
}

func (b *bench) times(n int) int { return max(1, int(float64(n)*b.scale)) }

func (b *bench) run(ctx context.Context) error {
	b.database, b.redis = os.Getenv("FLOWS_TEST_DATABASE_URL"), os.Getenv("FLOWS_TEST_REDIS_URL")
	if b.database == "" || b.redis == "" {
		return errors.New("FLOWS_TEST_DATABASE_URL and FLOWS_TEST_REDIS_URL must be set: use make bench")
	}
	var err error
	if b.servers, err = findServers(ctx, b.database, b.redis); err != nil {
		return err
	}
	for _, s := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"engine", b.engineAlone},
		{"served", b.served},
	} {
		if b.wanted(s.name) {
			if err := s.run(ctx); err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
		}
	}
	b.print()
	return nil
}

func (b *bench) print() {
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, strings.Join([]string{"scenario", "figure", "value"}, "\t"))
	for _, r := range b.rows {
		fmt.Fprintln(w, strings.Join([]string{r.scenario, r.figure, r.value}, "\t"))
	}
	_ = w.Flush()
}
