package trace

import (
	"encoding/binary"
	"fmt"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Sampler is a way to pick the traces that are kept.
type Sampler string

// The samplers, under the names OpenTelemetry gives them. Those based on parents
// obey the caller of a request; runs begin their own traces and have no parent.
const (
	AlwaysOn             Sampler = "always_on"
	AlwaysOff            Sampler = "always_off"
	Ratio                Sampler = "traceidratio"
	ParentBasedAlwaysOn  Sampler = "parentbased_always_on"
	ParentBasedAlwaysOff Sampler = "parentbased_always_off"
	ParentBasedRatio     Sampler = "parentbased_traceidratio"
)

// Samplers lists all there are.
var Samplers = []Sampler{AlwaysOn, AlwaysOff, Ratio, ParentBasedAlwaysOn, ParentBasedAlwaysOff, ParentBasedRatio}

// samplers gives what decides on traces that begin here, and on all.
func (cfg Config) samplers() (roots, all sdk.Sampler, err error) {
	switch cfg.Sampler {
	case AlwaysOn, ParentBasedAlwaysOn, "":
		roots = sdk.AlwaysSample()
	case AlwaysOff, ParentBasedAlwaysOff:
		roots = sdk.NeverSample()
	case Ratio, ParentBasedRatio:
		roots = ratio(cfg.Ratio)
	default:
		return nil, nil, fmt.Errorf("trace Sampler %q: not one of %v", cfg.Sampler, Samplers)
	}
	switch cfg.Sampler {
	case AlwaysOn, AlwaysOff, Ratio:
		return roots, roots, nil
	case ParentBasedAlwaysOn, ParentBasedAlwaysOff, ParentBasedRatio, "":
	}
	return roots, sdk.ParentBased(roots), nil
}

// ratio keeps a part of all traces. It looks at the last 56 bits of the id, which
// are those that W3C Trace Context calls random. The SDK's own looks at the 64
// before the end, whose first two are fixed in the ids of runs: of these it would
// keep none below one half and all from three quarters on.
type ratio float64

// randomBits is how many bits of an id are random.
const randomBits = 56

// ShouldSample decides on one trace, the same way in every process.
func (r ratio) ShouldSample(p sdk.SamplingParameters) sdk.SamplingResult {
	random := binary.BigEndian.Uint64(p.TraceID[8:]) & (1<<randomBits - 1)
	decision := sdk.Drop
	if float64(random) < float64(r)*(1<<randomBits) {
		decision = sdk.RecordAndSample
	}
	return sdk.SamplingResult{Decision: decision, Tracestate: trace.SpanContextFromContext(p.ParentContext).TraceState()}
}

// Description names the sampler.
func (r ratio) Description() string { return fmt.Sprintf("ratio{%v}", float64(r)) }
