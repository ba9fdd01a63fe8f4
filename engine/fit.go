package engine

import (
	"encoding/json"

	"github.com/10ex/flows/models"
)

// FitSchema fills a schema's defaults into a value and checks it, as it is done
// with the payload of a run. What is wrong with the value is a
// *models.InvalidError whose places are relative to it; for a schema that is none,
// they begin with input_schema.
func FitSchema(schema, value json.RawMessage) (json.RawMessage, error) {
	c := &compiler{def: &definition{}}
	c.schema(schema)
	if len(c.errs) > 0 {
		return nil, &models.InvalidError{Fields: c.errs}
	}
	return c.def.checkPayload(value)
}

// CheckSchema tells what is wrong with a JSON Schema, as an *models.InvalidError whose
// places are relative to it.
func CheckSchema(schema json.RawMessage) error {
	c := &compiler{def: &definition{}}
	c.schema(schema)
	if len(c.errs) == 0 {
		return nil
	}
	for i := range c.errs {
		c.errs[i].Loc = c.errs[i].Loc[1:] // input_schema
	}
	return &models.InvalidError{Fields: c.errs}
}
