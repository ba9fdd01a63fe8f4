package connectors

import (
	"bytes"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/10ex/flows/connectors/dialect"
)

// checkFuel is how many schemas one check may look at. A schema of a few lines can
// ask for more of them than there are seconds. Looking at one takes longer the deeper
// it lies, so there is a limit of time as well.
const (
	checkFuel = 1_000_000
	checkTime = 4 * time.Second
)

var errOutOfFuel = errors.New("the check takes too long")

// meter counts the schemas a check looks at. There is one check at a time: the
// validator tells a schema nothing about who asks.
type meter struct {
	mu    sync.Mutex
	left  int
	until time.Time
}

func (m *meter) burn(any) error {
	if m.left--; m.left < 0 || m.left%1024 == 0 && time.Now().After(m.until) {
		panic(errOutOfFuel) // the only way out of the validator
	}
	return nil
}

// fuelFormat is the name of the format by which every schema burns fuel: formats are
// checked before anything a schema contains.
const fuelFormat = "flows-fuel"

// CompileForeignSchema is CompileSchema for a schema that came out of package dialect
// and was written by somebody else: a check of it is stopped when it takes too long.
func CompileForeignSchema(raw json.RawMessage) (*Schema, error) {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, errors.New("schema is not JSON")
	}
	var all []map[string]any
	dialect.Each(doc, func(s map[string]any) { all = append(all, s) })
	for _, s := range all {
		if own, ok := s["format"]; ok {
			list, _ := s["allOf"].([]any)
			s["allOf"] = append(list, map[string]any{"format": own})
		}
		s["format"] = fuelFormat
	}
	m := &meter{}
	s, err := compileSchema(doc, func(c *jsonschema.Compiler) {
		c.RegisterFormat(&jsonschema.Format{Name: fuelFormat, Validate: m.burn})
	})
	if err != nil {
		return nil, err
	}
	s.meter = m
	return s, nil
}

// validate runs the validator under the meter, if there is one.
func (s *Schema) validate(v any) (err error) {
	if s.meter == nil {
		return s.compiled.Validate(v)
	}
	s.meter.mu.Lock()
	defer s.meter.mu.Unlock()
	s.meter.left, s.meter.until = checkFuel, time.Now().Add(checkTime)
	defer func() {
		if p := recover(); p != nil {
			if p != any(errOutOfFuel) {
				panic(p)
			}
			err = errOutOfFuel
		}
	}()
	return s.compiled.Validate(v)
}
