package acceptance_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// tenantUnderLoad is a workspace that sends events, each of them twice in no order.
type tenantUnderLoad struct {
	*client
	id, workflow string
}

// steadily sends n events at a steady pace over a time, in requests of so many. Half
// of them are repeats.
func (c tenantUnderLoad) steadily(name string, n, batch int, over time.Duration) (fresh int, err error) {
	order := make([]int, n)
	for i := range order {
		order[i] = i / 2
	}
	pick := rand.New(rand.NewPCG(uint64(n), 1))
	pick.Shuffle(n, func(i, j int) { order[i], order[j] = order[j], order[i] })
	tick := time.NewTicker(over * time.Duration(batch) / time.Duration(n))
	defer tick.Stop()
	var (
		mu sync.Mutex
		wg sync.WaitGroup
	)
	slots := make(chan struct{}, 4) // who is refused nothing sends no more than so many requests at once
	for from := 0; from < n; from += batch {
		<-tick.C
		var events []news
		for _, i := range order[from:min(from+batch, n)] {
			events = append(events, news{ID: fmt.Sprintf("%s-%d", name, i), Type: "lead.created", Data: map[string]int{"n": i}})
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			got, failure := c.publishAll(events)
			mu.Lock()
			defer mu.Unlock()
			fresh += got
			if err == nil {
				err = failure
			}
		})
	}
	wg.Wait()
	return fresh, err
}

// One workspace sends four of five events. Each event starts one run however often it
// is sent, and the others' runs start about as soon as without it.
func TestAFloodOfEventsStartsEachRunOnceAndHoldsUpNobodyElse(t *testing.T) {
	t.Parallel()
	if !haveServers() {
		return
	}
	alone(t)
	var (
		events = sized(1_000, 20_000)
		over   = time.Duration(sized(2, 20)) * time.Second
		quiet  = events / 25 // of each of four: a fifth in all
	)
	// floor is what nobody calls a delay: below it the machine's other work decides, of
	// which there is much while the whole suite runs.
	floor := time.Duration(sized(500, 50)) * time.Millisecond
	f := newFleet(t, "plain")
	tenants := make([]tenantUnderLoad, 5)
	for i := range tenants {
		id, c := f.tenant(t, f.url)
		c.http = f.http
		tenants[i] = tenantUnderLoad{c, id, c.workflow(t, chain(set("a", `{"n":"{{ payload.n }}"}`)))}
		c.subscribe(t, fmt.Sprintf(`{"type":"event","event_type":"lead.*","filter":"event.data.n >= 0","workflow_id":%q}`, tenants[i].workflow))
	}
	loud, calm := tenants[0], tenants[1:]
	f.startAll(t, 2, 2)

	// round lets all send, and gives how long it took until runs of the calm ones began.
	round := func(name string, senders []tenantUnderLoad) spread {
		begun := time.Now()
		errs := make([]error, len(senders))
		fresh := make([]int, len(senders))
		var wg sync.WaitGroup
		for i, c := range senders {
			wg.Go(func() {
				if c.id == loud.id {
					fresh[i], errs[i] = c.steadily(name, events-4*quiet, 40, over)
				} else {
					fresh[i], errs[i] = c.steadily(name, quiet, 4, over)
				}
			})
		}
		wg.Wait()
		sent := time.Since(begun)
		total := 0
		for i, c := range senders {
			require.NoError(t, errs[i])
			want := quiet / 2
			if c.id == loud.id {
				want = (events - 4*quiet) / 2
			}
			require.Equal(t, want, fresh[i], "an event is new once")
			total += want
		}
		waitFor(t, endLimit, "the end of all runs", func() bool {
			return f.number(t, `SELECT count(*) FROM events WHERE external_id LIKE $1 AND attend_at IS NOT NULL`, name+"-%") == 0 &&
				f.number(t, `SELECT count(*) FROM runs WHERE finished_at IS NULL`) == 0
		})
		t.Logf("%s: %d events, sent in %s, all had ended after %s", name, 2*total, sent.Round(time.Millisecond), time.Since(begun).Round(time.Millisecond))
		for i, c := range senders {
			require.Equal(t, fresh[i], f.number(t, `SELECT count(*) FROM runs AS r JOIN events AS e ON e.workspace_id = r.workspace_id AND e.id = r.event_id
				WHERE r.workflow_id = $1 AND r.status = 'completed' AND e.external_id LIKE $2`, c.workflow, name+"-%"), "each event started one run")
		}
		of := func(what string) spread {
			return f.latencies(t, `SELECT extract(epoch FROM `+what+`)::float8 FROM runs AS r
				JOIN events AS e ON e.workspace_id = r.workspace_id AND e.id = r.event_id
				WHERE r.workspace_id <> $1 AND e.external_id LIKE $2`, loud.id, name+"-%")
		}
		t.Logf("%s: calm runs are made %s after their event, and begin %s after that", name, of("r.created_at - e.received_at"), of("r.started_at - r.created_at"))
		return of("r.started_at - e.received_at")
	}
	// A machine that has other things to do is busier at one time than at another: what
	// is compared was measured in the same minute, and a second time if need be.
	fair := false
	for n := 1; n <= 3 && !fair; n++ {
		before := round(fmt.Sprintf("before-%d", n), calm)
		during := round(fmt.Sprintf("during-%d", n), tenants)
		t.Logf("start of a calm workspace's run after its event, before: %s", before)
		t.Logf("start of a calm workspace's run after its event, during: %s", during)
		fair = during.at(50) <= max(2*before.at(50), floor) && during.at(99) <= max(2*before.at(99), 4*floor)
	}
	require.True(t, fair, "a flood delays others to no more than twice of what is usual")
	for _, c := range tenants {
		distinct := f.number(t, `SELECT count(DISTINCT external_id) FROM events WHERE workspace_id = $1 AND source = 'api'`, c.id)
		require.Equal(t, distinct, f.number(t, `SELECT count(*) FROM runs WHERE workspace_id = $1`, c.id))
	}
	f.requireNothingLeft(t)
	f.requireNoErrors(t)
}
