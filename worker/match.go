package worker

import (
	"context"
	"maps"
	"math"
	"sync"
	"time"

	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/tasks"
)

// MatchFunc brings events of a workspace to whoever listens for them. It may be
// called twice for the same event. An error tells that some have to come again.
type MatchFunc func(ctx context.Context, ws models.WorkspaceID, events ...models.EventID) error

const (
	// matchRunners is how many workspaces are served side by side. They share a
	// database, so more of them would only wait for each other.
	matchRunners = 8
	// matchLimit bounds the events that wait here. The sweep finds the rest.
	matchLimit = 100_000
	// matchTimeout bounds a batch.
	matchTimeout = time.Minute
	// loadFor is in which time the events of a workspace count for a half, and to
	// nothing soon. One with more than loudFrom times as many as the others have on
	// average rests after each batch, for restShare times as long as it took, though not
	// longer than restLimit: what its events start has to be carried out, too, and takes
	// the machine from all. A busy machine takes longer, and so rests longer.
	loadFor   = time.Second
	loudFrom  = 2
	restShare = 3
	restLimit = time.Second
)

// matches holds events that are to be matched, and lets workspaces take turns:
// one with many events waits behind none but its own. Losing what is held here
// costs time only, for the sweep asks again.
type matches struct {
	mu    sync.Mutex
	lines map[models.WorkspaceID]*matchLine
	turns []*matchLine // those with events, none of them in hand, in order
	held  int
	loads map[models.WorkspaceID]load // what workspaces had matched just now
	kept  int                         // how many there were when those of long ago were forgotten
	some  *sync.Cond                  // turns has grown, or it is over
	over  bool
}

// load is how many events a workspace had, those of long ago counting for less.
type load struct {
	events float64
	at     time.Time
}

func (l load) by(now time.Time) float64 {
	return l.events * math.Exp2(-float64(now.Sub(l.at))/float64(loadFor))
}

// matchLine is the events of a workspace, in the order in which they came.
type matchLine struct {
	ws     models.WorkspaceID
	events []models.EventID
	known  map[models.EventID]bool // those in events
	inHand bool
}

func newMatches() *matches {
	m := &matches{lines: map[models.WorkspaceID]*matchLine{}, loads: map[models.WorkspaceID]load{}, kept: 64}
	m.some = sync.NewCond(&m.mu)
	return m
}

// add puts an event in its workspace's line, unless it is there. It is false where
// there is no room, or no time.
func (m *matches) add(ws models.WorkspaceID, event models.EventID) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	l := m.lines[ws]
	switch {
	case l != nil && l.known[event]:
		return true
	case m.over, m.held >= matchLimit:
		return false
	case l == nil:
		l = &matchLine{ws: ws, known: map[models.EventID]bool{}}
		m.lines[ws] = l
	}
	l.events = append(l.events, event)
	l.known[event] = true
	m.held++
	if len(l.events) == 1 && !l.inHand {
		m.turns = append(m.turns, l)
		m.some.Signal()
	}
	return true
}

// take waits for events and gives those of the workspace whose turn it is, which is
// the caller's alone until done. It gives nil when it is over.
func (m *matches) take() (l *matchLine, events []models.EventID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for len(m.turns) == 0 && !m.over {
		m.some.Wait()
	}
	if m.over {
		return nil, nil
	}
	l, m.turns = m.turns[0], m.turns[1:]
	n := min(len(l.events), tasks.MatchTogether)
	events, l.events = l.events[:n:n], l.events[n:]
	for _, e := range events {
		delete(l.known, e)
	}
	m.held -= n
	l.inHand = true
	m.count(l.ws, n)
	return l, events
}

// done ends the turn of a workspace, in which its events took that long. With more of
// them it stands at the end again; one that is louder than others, after a rest.
func (m *matches) done(l *matchLine, took time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.loud(l.ws) {
		m.again(l)
		return
	}
	time.AfterFunc(min(restShare*took, restLimit), func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.again(l)
	})
}

// again lets a workspace stand in line, if it has events.
func (m *matches) again(l *matchLine) {
	l.inHand = false
	if len(l.events) == 0 {
		delete(m.lines, l.ws)
		return
	}
	m.turns = append(m.turns, l)
	m.some.Signal()
}

// loud tells whether a workspace has so many more events than the others which have
// some just now.
func (m *matches) loud(ws models.WorkspaceID) bool {
	now := time.Now()
	var others float64
	n := 0
	for other, l := range m.loads {
		if has := l.by(now); other != ws && has >= 1 {
			others += has
			n++
		}
	}
	return n > 0 && m.loads[ws].by(now) > loudFrom*others/float64(n)
}

// count notes that a workspace has events.
func (m *matches) count(ws models.WorkspaceID, n int) {
	now := time.Now()
	m.loads[ws] = load{m.loads[ws].by(now) + float64(n), now}
	if len(m.loads) < 2*m.kept {
		return
	}
	maps.DeleteFunc(m.loads, func(_ models.WorkspaceID, l load) bool { return l.by(now) < 1 })
	m.kept = max(len(m.loads), 64)
}

// stop lets every take return nil.
func (m *matches) stop() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.over = true
	m.some.Broadcast()
}

// offerMatch takes events to be matched, soon and together with others. It is false
// where it has not taken all.
func (w *Worker) offerMatch(j tasks.Job) bool {
	ws := models.WorkspaceID(j.Workspace)
	taken := w.matches.add(ws, models.EventID(j.ID))
	for _, id := range j.More {
		taken = w.matches.add(ws, models.EventID(id)) && taken
	}
	return taken
}

// runMatches matches what is held until the worker stops. The end of ctx cuts off
// what is in hand then.
func (w *Worker) runMatches(ctx context.Context) {
	for {
		line, events := w.matches.take()
		if line == nil {
			return
		}
		start := time.Now()
		if w.begin() {
			w.match(ctx, line.ws, events)
			w.jobs.Done()
		}
		w.matches.done(line, time.Since(start))
	}
}

func (w *Worker) match(ctx context.Context, ws models.WorkspaceID, events []models.EventID) {
	ctx, stop := context.WithTimeout(obs.With(ctx, obs.Workspace(ws)), matchTimeout)
	defer stop()
	start := time.Now()
	err := w.deps.Match(ctx, ws, events...)
	w.metrics.matched(len(events), err, start)
	if err != nil {
		w.log.WarnContext(ctx, "events could not be matched, the sweep takes them up again", obs.Err(err), obs.Count(len(events)))
	}
}
