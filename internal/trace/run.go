package trace

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/10ex/flows/internal/ids"
	"github.com/10ex/flows/internal/obs"
	"github.com/10ex/flows/models"
)

// Keys of attributes that no convention names.
const (
	keyWorkspace = attribute.Key("flows.workspace.id")
	keyRun       = attribute.Key("flows.run.id")
	keyWorkflow  = attribute.Key("flows.workflow.id")
	keyVersion   = attribute.Key("flows.workflow.version")
	keyTrigger   = attribute.Key("flows.trigger.type")
	keyStep      = attribute.Key("flows.step.id")
	keyType      = attribute.Key("flows.step.type")
	keyUses      = attribute.Key("flows.step.uses")
	keyAttempt   = attribute.Key("flows.step.attempt")
	keyIteration = attribute.Key("flows.step.iteration")
	keyOutcome   = attribute.Key("flows.step.outcome")
	keyRetryable = attribute.Key("flows.step.retryable")
)

// RunTraceID is the id of the trace of a run, as tools write it; empty for what is
// no id of a run.
func RunTraceID(run models.RunID) string {
	u, ok := ids.UUID(string(run))
	if !ok {
		return ""
	}
	return hex.EncodeToString(u[:])
}

// runSpan is the first span of a run's trace. Both of its ids follow from the
// run's, the latter from its random half, so each process can put spans below it.
func (t *Tracer) runSpan(run models.RunID) (trace.SpanContext, bool) {
	u, ok := ids.UUID(string(run))
	if !ok {
		return trace.SpanContext{}, false
	}
	cfg := trace.SpanContextConfig{TraceID: trace.TraceID(u), SpanID: trace.SpanID(u[8:])}
	if t.roots.ShouldSample(sdk.SamplingParameters{ParentContext: context.Background(), TraceID: cfg.TraceID}).Decision == sdk.RecordAndSample {
		cfg.TraceFlags = trace.FlagsSampled
	}
	sc := trace.NewSpanContext(cfg)
	return sc, sc.IsValid()
}

// Started begins the trace of a run that was made under ctx: with a span of no
// length, for nobody knows how many days the run will take. It and the span in ctx
// point at each other.
func (t *Tracer) Started(ctx context.Context, run *models.Run) {
	if t == nil || run == nil {
		return
	}
	sc, ok := t.runSpan(run.ID)
	if !ok {
		return
	}
	opts := []trace.SpanStartOption{
		trace.WithNewRoot(), trace.WithTimestamp(run.CreatedAt),
		trace.WithAttributes(
			keyWorkspace.String(string(run.WorkspaceID)), keyRun.String(string(run.ID)),
			keyWorkflow.String(string(run.WorkflowID)), keyVersion.Int(run.WorkflowVersion), keyTrigger.String(string(run.TriggerType)),
		),
	}
	cause := trace.SpanFromContext(ctx)
	if cause.SpanContext().IsValid() {
		cause.SetAttributes(keyRun.String(string(run.ID)), keyWorkflow.String(string(run.WorkflowID)))
		cause.AddLink(trace.Link{SpanContext: sc, Attributes: []attribute.KeyValue{keyRun.String(string(run.ID))}})
		opts = append(opts, trace.WithLinks(trace.Link{SpanContext: cause.SpanContext()}))
	}
	_, span := t.tracer.Start(context.WithValue(ctx, wantedKey{}, sc), "run", opts...)
	span.End(trace.WithTimestamp(run.CreatedAt))
}

// Step describes an attempt of a step.
type Step struct {
	Workspace models.WorkspaceID
	Run       models.RunID
	Workflow  models.WorkflowID
	Version   int
	Step      *models.GraphStep
	Iteration int // below 0 where the step is over no list
	Attempt   int
}

// uses names what does the work of a step.
func (s Step) uses() string {
	if s.Step.Type == models.StepTypeConnector {
		return s.Step.Connector + "." + s.Step.Action
	}
	return s.Step.Agent
}

// Step begins the span of an attempt, in the trace of its run. What is done under
// the context it gives belongs to it.
func (t *Tracer) Step(ctx context.Context, s Step) (context.Context, StepSpan) {
	if t == nil {
		return ctx, StepSpan{}
	}
	sc, ok := t.runSpan(s.Run)
	if !ok {
		return ctx, StepSpan{}
	}
	ctx = obs.With(ctx, slog.String(logTraceID, sc.TraceID().String()))
	ctx, span := t.tracer.Start(trace.ContextWithRemoteSpanContext(ctx, sc), string(s.Step.Type)+" "+s.uses())
	if span.IsRecording() {
		span.SetAttributes(
			keyWorkspace.String(string(s.Workspace)), keyRun.String(string(s.Run)),
			keyWorkflow.String(string(s.Workflow)), keyVersion.Int(s.Version),
			keyStep.String(s.Step.ID), keyType.String(string(s.Step.Type)), keyUses.String(s.uses()), keyAttempt.Int(s.Attempt),
		)
		if s.Iteration >= 0 {
			span.SetAttributes(keyIteration.Int(s.Iteration))
		}
	}
	return ctx, StepSpan{span}
}

// logTraceID is the key of the trace's id in lines of the log.
const logTraceID = "trace_id"

// StepSpan is the span of an attempt. The zero StepSpan is off.
type StepSpan struct{ span trace.Span }

// End says what came of the attempt. Of an error only the code is told: its message
// may repeat what a payload says.
func (s StepSpan) End(outcome string, failed *models.StepError) {
	if s.span == nil {
		return
	}
	s.span.SetAttributes(keyOutcome.String(outcome))
	if failed != nil {
		s.span.SetAttributes(semconv.ErrorTypeKey.String(failed.Code), keyRetryable.Bool(failed.Retryable))
		s.span.SetStatus(codes.Error, failed.Code)
	}
	s.span.End()
}

type wantedKey struct{}

// idGenerator makes random ids, and for the first span of a run those that are
// wanted.
type idGenerator struct{}

// NewIDs makes the ids of the first span of a trace.
func (g idGenerator) NewIDs(ctx context.Context) (id trace.TraceID, span trace.SpanID) {
	if sc, ok := ctx.Value(wantedKey{}).(trace.SpanContext); ok {
		return sc.TraceID(), sc.SpanID()
	}
	_, _ = rand.Read(id[:]) // never fails: documented in crypto/rand
	return id, g.NewSpanID(ctx, id)
}

// NewSpanID makes the id of another span.
func (idGenerator) NewSpanID(context.Context, trace.TraceID) (span trace.SpanID) {
	for !span.IsValid() {
		_, _ = rand.Read(span[:])
	}
	return span
}
