package connections

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/10ex/flows/connectors"
)

// limitsField is the field of a config that bounds how a connection is used.
const limitsField = "limits"

// usage is what stands in it.
type usage struct {
	Count       int    `json:"count"`
	Per         string `json:"per"`
	Concurrency int    `json:"concurrency"`
}

// longestPer bounds the time over which beginnings are counted.
const longestPer = 24 * time.Hour

func (u usage) limits() (connectors.Limits, error) {
	l := connectors.Limits{Count: u.Count, Concurrency: u.Concurrency}
	if u.Count == 0 {
		return l, nil
	}
	var err error
	if l.Per, err = connectors.ParseTimeout(u.Per); err == nil && l.Per > longestPer {
		err = errors.New("must be at most 1d")
	}
	return l, err
}

// withoutLimits gives what a config says about where secrets go.
func withoutLimits(config json.RawMessage) json.RawMessage {
	var fields map[string]json.RawMessage
	if json.Unmarshal(config, &fields) != nil {
		return config
	}
	delete(fields, limitsField)
	return encode(fields)
}
