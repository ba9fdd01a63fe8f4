package engine

import (
	"encoding/json"
	"time"

	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// stepKey names a row of a run: a step, or one iteration of it.
type stepKey struct {
	id        string
	iteration int
}

func theStep(id string) stepKey { return stepKey{id, models.NoIteration} }

func keyOf(s *models.Step) stepKey { return stepKey{s.StepID, s.Iteration} }

// snapshot is what is known of a run while a plan is made. Rows that were looked
// for and not found are in steps as nil. A plan never changes a snapshot; apply
// does, between plans.
type snapshot struct {
	run   *models.Run
	steps map[stepKey]*models.Step
	// complete means that a row not in steps does not exist.
	complete bool
	// openKnown means that every row that has not ended is in steps.
	openKnown bool
	// iterations are the steps over a list all of whose iterations are in steps.
	iterations map[string]bool
	// oversized are the steps over a list whose outputs are too large together to
	// be read. They are in iterations as well.
	oversized map[string]bool
	// havePayload tells an empty payload from one not read.
	havePayload bool
	// slot and gather are what stands behind the keys of the run, where what happens
	// depends on it.
	slot, gather *store.Slot

	decoded map[stepKey]any // outputs
	payload any
	// event is what trigger.event is, once haveEvent says that it was looked for: nil
	// where it has been pruned.
	event     map[string]any
	haveEvent bool
}

func newSnapshot(run *models.Run) *snapshot {
	return &snapshot{run: run, steps: map[stepKey]*models.Step{}, iterations: map[string]bool{}, oversized: map[string]bool{}, decoded: map[stepKey]any{}}
}

// apply makes the snapshot what the plan makes of the rows.
func (s *snapshot) apply(p *plan) {
	if p.run != nil {
		payload := s.run.Payload
		s.run = p.run
		if s.run.Payload == nil {
			s.run.Payload = payload
		}
	}
	for k, row := range p.steps {
		if row.Input == nil && s.steps[k] != nil {
			row.Input = s.steps[k].Input
		}
		s.steps[k] = row
		delete(s.decoded, k)
	}
}

// needs is what has to be read before a plan can be made.
type needs struct {
	steps      map[stepKey]bool
	payload    bool
	event      bool
	open       bool
	iterations map[string]bool
}

func (n *needs) empty() bool {
	return len(n.steps) == 0 && !n.payload && !n.event && !n.open && len(n.iterations) == 0
}

// plan is what follows from something that happened. Rows in it are copies, with
// all their fields.
type plan struct {
	run     *models.Run // nil: unchanged
	newRun  bool
	steps   map[stepKey]*models.Step
	created map[stepKey]bool // of steps: the ones without a row so far
	order   []stepKey        // of steps, by first change: the same plan reads the same
	inputs  map[stepKey]bool // of steps: the ones whose input was filled in

	attempts    []*models.StepAttempt
	events      []*models.RunEvent
	newWaits    []*models.Wait
	closedWaits []string // places, as abandoned
	abandoned   []string // steps that wait no longer for a run, which is to be cancelled
	deliveries  []Delivery
	told        []*models.Event // what the bus hears; ids come later
	toldAfter   int64           // the last line of the log before it

	// folded is the definition of the start that the run took in, if it did.
	folded *definition

	// refused is why nothing follows: a claim that came second, a wait that is not
	// due. It is not an error.
	refused string
	// claimed is the row a claim won.
	claimed *models.Step
}

// rules are the settings a plan depends on.
type rules struct {
	lease      time.Duration
	redeliver  time.Duration
	horizon    time.Duration
	maxCrashes int
}

// happening is something that happened to a run.
type happening interface{ happening() }

type (
	// runStarts creates the run. Earlier are the steps of the run to go on from,
	// and from the step to start with; both are empty for a run from the start.
	runStarts struct {
		run     *models.Run
		earlier []*models.Step
		from    string
	}
	// stepClaimed is a worker taking a queued step.
	stepClaimed struct {
		key     stepKey
		attempt int
		worker  string
		token   string
	}
	// stepFinished is a worker's result. A nil failure means success.
	stepFinished struct {
		key        stepKey
		token      string
		output     json.RawMessage
		usage      json.RawMessage
		failure    *models.StepError
		retryAfter time.Duration
		unknown    bool // whether the other side acted, see FinishRequest
		// await is the run whose end a success is to wait for; empty: none.
		await models.RunID
	}
	// effectBegins is a worker about to touch the outside. Repeatable says that to do
	// so twice is as good as once.
	effectBegins struct {
		key        stepKey
		token      string
		repeatable bool
	}
	// leaseReturned is a worker handing a step back unfinished, to begin again after a
	// while where there is one. Why is in words.
	leaseReturned struct {
		key   stepKey
		token string
		after time.Duration
		why   string
	}
	// leaseOver is a worker that gave no sign of life.
	leaseOver struct{ key stepKey }
	// deliveryLost is a queued step nobody claimed.
	deliveryLost struct{ key stepKey }
	// waitDue is a wait whose time has come.
	waitDue struct{ key stepKey }
	// eventArrived are events that a wait may end with, the first that it is for.
	eventArrived struct {
		key    stepKey
		events []*candidate
	}
	// runAwaited is how a run is that a step waits for the end of; nil: it is gone.
	runAwaited struct {
		key stepKey
		run *models.Run
	}
	// decided is a person's answer to an approval.
	decided struct {
		key      stepKey
		decision Decision
	}
	// nothingOpen is a run of which no step seems to be open.
	nothingOpen struct{}
	// runLetIn is a run whose turn may have come. Earlier is as in runStarts.
	runLetIn struct{ earlier []*models.Step }
	// runFolded is a start that becomes part of a run that has not begun.
	runFolded struct {
		start *models.Run
		def   *definition
	}
	// runDue is the time a run wanted to be looked at.
	runDue     struct{}
	runPaused  struct{}
	runResumed struct{}
	// runCancelled is somebody's wish, or that of a later run where by is one.
	runCancelled struct{ by models.RunID }
)

func (runStarts) happening()     {}
func (stepClaimed) happening()   {}
func (stepFinished) happening()  {}
func (effectBegins) happening()  {}
func (leaseReturned) happening() {}
func (leaseOver) happening()     {}
func (deliveryLost) happening()  {}
func (waitDue) happening()       {}
func (eventArrived) happening()  {}
func (runAwaited) happening()    {}
func (decided) happening()       {}
func (nothingOpen) happening()   {}
func (runLetIn) happening()      {}
func (runFolded) happening()     {}
func (runDue) happening()        {}
func (runPaused) happening()     {}
func (runResumed) happening()    {}
func (runCancelled) happening()  {}

// advance tells what follows when h has happened to the run in s. It is pure: the
// same arguments give the same plan. If s does not hold what has to be known,
// it says what to read instead; the caller reads it and asks again. An error is
// a refusal the caller of the engine should hear of, or a fault of the data.
func advance(d *definition, s *snapshot, h happening, now time.Time, r rules) (*plan, *needs, error) {
	w := &walk{
		def: d, snap: s, now: now, rules: r,
		plan: &plan{steps: map[stepKey]*models.Step{}, created: map[stepKey]bool{}, inputs: map[stepKey]bool{}},
		need: needs{steps: map[stepKey]bool{}, iterations: map[string]bool{}},
	}
	err := w.happen(h)
	switch {
	case !w.need.empty():
		return nil, &w.need, nil
	case err != nil:
		return nil, nil, err
	}
	return w.plan, nil, nil
}
