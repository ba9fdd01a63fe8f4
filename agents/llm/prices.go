package llm

import (
	_ "embed" // the table of prices
	"encoding/json"
	"fmt"
	"math"
	"regexp"
)

// Price is what tokens cost, in US dollars per million of them.
type Price struct {
	Input float64 `json:"input"`
	// Cached is the price of input that the vendor had kept. Nil: that of Input.
	Cached *float64 `json:"cached,omitempty"`
	Output float64  `json:"output"`
}

//go:embed prices.json
var pricesFile []byte

// Prices is a table of prices by name of the model.
type Prices map[string]Price

// LoadPrices gives the table that comes with the program. Vendors change their prices
// when they like; an agent may have one of its own.
func LoadPrices() (Prices, error) {
	var file struct {
		Models Prices `json:"models"`
	}
	if err := json.Unmarshal(pricesFile, &file); err != nil {
		return nil, fmt.Errorf("prices.json: %w", err)
	}
	return file.Models, nil
}

// release is what vendors put behind the name of a model.
var release = regexp.MustCompile(`-(latest|\d{8}|\d{4}-\d{2}-\d{2})$`)

// Of gives the price of a model, also where its name carries a release.
func (p Prices) Of(model string) (Price, bool) {
	if price, ok := p[model]; ok {
		return price, true
	}
	price, ok := p[release.ReplaceAllString(model, "")]
	return price, ok
}

// Nano is a sum of money in billionths of a US dollar: small enough for a token, and
// exact however many are added.
type Nano = int64

// Dollar is one US dollar.
const Dollar Nano = 1_000_000_000

// Cost is what a turn costs, rounded up.
func (p Price) Cost(u Usage) Nano {
	cached := p.Input
	if p.Cached != nil {
		cached = *p.Cached
	}
	// Dollars per million tokens are thousands of nanos a token.
	sum := (float64(u.Input-u.Cached)*p.Input + float64(u.Cached)*cached + float64(u.Output)*p.Output) * 1000
	return Nano(math.Ceil(sum - 1e-6)) // what floats add to a whole number is no nano more
}

// Dollars is a sum in dollars, for people to read.
func Dollars(n Nano) float64 { return float64(n) / float64(Dollar) }

// Nanos is a sum of dollars, rounded down: a limit must not grow.
func Nanos(dollars float64) Nano { return Nano(math.Floor(dollars*float64(Dollar) + 1e-3)) }
