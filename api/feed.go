package api

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/10ex/flows/internal/deltas"
	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

const (
	// feedTail is how many of the newest events of a watched run are kept in
	// memory. Who is further behind reads the database.
	feedTail = 256
	// feedPage is how many events are read at once.
	feedPage = 200
	// feedPoll is how often a watched run is looked at when nobody says that it
	// has grown.
	feedPoll = 2 * time.Second
)

// feeds reads the logs of watched runs: one reader a run, however many watch it.
// The log in the database is the truth; what is kept here only saves reading it
// again. It may be used concurrently.
type feeds struct {
	store *store.Store
	hub   Watcher
	log   *slog.Logger
	// How often things happen, for tests to change before the first watcher.
	poll, heartbeat, flushPatience time.Duration

	ctx  context.Context //nolint:containedctx // it ends with the API: readers belong to no request
	stop context.CancelFunc
	wg   sync.WaitGroup

	mu   sync.Mutex
	open map[store.RunRef]*feed
}

// feed is the log of one watched run, from some point on.
type feed struct {
	ref      store.RunRef
	watchers int // guarded by feeds.mu
	stop     context.CancelFunc

	mu    sync.Mutex
	tail  []*models.RunEvent // the newest events, without gaps
	last  int64              // seq of the newest event read
	grown chan struct{}      // closed when the tail grows, and replaced
}

func newFeeds(s *store.Store, hub Watcher, log *slog.Logger) *feeds {
	f := &feeds{store: s, hub: hub, log: log, poll: feedPoll, heartbeat: heartbeat, flushPatience: flushPatience, open: map[store.RunRef]*feed{}}
	f.ctx, f.stop = context.WithCancel(context.Background())
	return f
}

// close ends every reader and waits for them.
func (f *feeds) close() {
	f.stop()
	f.wg.Wait()
}

// join gives the feed of a run to one more watcher, who has seen after. leave
// ends that, and may be called twice.
func (f *feeds) join(ref store.RunRef, after int64) (fd *feed, leave func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fd = f.open[ref]
	if fd == nil {
		ctx, stop := context.WithCancel(f.ctx)
		fd = &feed{ref: ref, stop: stop, last: after, grown: make(chan struct{})}
		f.open[ref] = fd
		f.wg.Go(func() { f.read(ctx, fd) })
	}
	fd.watchers++
	return fd, sync.OnceFunc(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		if fd.watchers--; fd.watchers == 0 {
			delete(f.open, ref)
			fd.stop()
		}
	})
}

// read follows the log of a run until its end or the last watcher's.
func (f *feeds) read(ctx context.Context, fd *feed) {
	grown, stop := f.hub.Watch(fd.ref) // before the first look, so that nothing falls between
	defer stop()
	tick := time.NewTicker(f.poll)
	defer tick.Stop()
	for {
		ended, err := f.catchUp(ctx, fd)
		if ctx.Err() != nil || ended {
			return
		}
		if err != nil { // the next tick looks again
			f.log.WarnContext(ctx, "log of a watched run is not read", obs.Run(fd.ref.Run), obs.Err(err))
		}
		select {
		case <-ctx.Done():
			return
		case <-grown:
		case <-tick.C:
		}
	}
}

func (f *feeds) catchUp(ctx context.Context, fd *feed) (ended bool, err error) {
	for {
		events, err := f.page(ctx, fd.ref, fd.position())
		if err != nil {
			return false, err
		}
		if fd.grow(events) {
			return true, nil
		}
		if len(events) < feedPage {
			return false, nil
		}
	}
}

func (f *feeds) page(ctx context.Context, ref store.RunRef, after int64) ([]*models.RunEvent, error) {
	return f.store.For(ref.Workspace).RunEvents(ctx, ref.Run, after, feedPage)
}

func (fd *feed) position() int64 {
	fd.mu.Lock()
	defer fd.mu.Unlock()
	return fd.last
}

// grow adds events to the tail and tells whether they end the log.
func (fd *feed) grow(events []*models.RunEvent) (ended bool) {
	if len(events) == 0 {
		return false
	}
	fd.mu.Lock()
	defer fd.mu.Unlock()
	fd.tail = append(fd.tail, events...)
	if over := len(fd.tail) - feedTail; over > 0 {
		fd.tail = slices.Clone(fd.tail[over:])
	}
	newest := events[len(events)-1]
	fd.last = newest.Seq
	close(fd.grown)
	fd.grown = make(chan struct{})
	return newest.Type.Terminal()
}

// since gives the events after a seq that are kept. Where there are none, grown
// tells when to ask again; where some are no longer kept, behind is set.
func (fd *feed) since(after int64) (events []*models.RunEvent, grown <-chan struct{}, behind bool) {
	fd.mu.Lock()
	defer fd.mu.Unlock()
	if after >= fd.last {
		return nil, fd.grown, false
	}
	if len(fd.tail) == 0 || fd.tail[0].Seq > after+1 {
		return nil, fd.grown, true
	}
	at, _ := slices.BinarySearchFunc(fd.tail, after+1, func(e *models.RunEvent, seq int64) int { return int(e.Seq - seq) })
	return fd.tail[at:len(fd.tail):len(fd.tail)], fd.grown, false
}

// next gives the events that follow after, or what a model says before there are any.
// It waits until shutdown closes or beat ticks, and then gives nothing.
func (f *feeds) next(
	ctx context.Context, fd *feed, after int64, shutdown <-chan struct{}, beat <-chan time.Time, said <-chan deltas.Delta,
) ([]*models.RunEvent, *deltas.Delta, error) {
	for {
		events, grown, behind := fd.since(after)
		if behind {
			var err error
			if events, err = f.page(ctx, fd.ref, after); err != nil {
				return nil, nil, err
			}
		}
		if len(events) > 0 {
			return events, nil, nil
		}
		select {
		case d := <-said:
			return nil, &d, nil
		case <-grown:
		case <-beat:
			return nil, nil, nil
		case <-shutdown:
			return nil, nil, nil
		case <-f.ctx.Done():
			return nil, nil, f.ctx.Err()
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}
