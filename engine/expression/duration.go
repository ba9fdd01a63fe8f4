package expression

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// MaxDuration is the longest duration that can be written.
const MaxDuration = 10 * 365 * day

const day = 24 * time.Hour

var units = []struct {
	name string
	size time.Duration
}{
	{"d", day},
	{"h", time.Hour},
	{"m", time.Minute},
	{"s", time.Second},
	{"ms", time.Millisecond},
	{"us", time.Microsecond},
	{"ns", time.Nanosecond},
}

var (
	errDurationForm  = errors.New(`a duration is numbers with units d, h, m, s or ms, such as 90s, 24h or 1d12h`)
	errDurationSign  = errors.New("a duration must be longer than nothing")
	errDurationRange = fmt.Errorf("a duration must not be longer than %dd", MaxDuration/day)
)

// ParseDuration reads a duration such as 90s, 24h, 7d or 1d12h: Go's notation and
// d for 24 hours. It must be more than nothing and at most MaxDuration.
func ParseDuration(s string) (time.Duration, error) {
	if s == "" || len(s) > 64 {
		return 0, errDurationForm
	}
	var total float64 // nanoseconds; the range is checked before it becomes whole
	var whole time.Duration
	for rest := s; rest != ""; {
		amount, unit, after, ok := leadingAmount(rest)
		if !ok {
			return 0, errDurationForm
		}
		rest = after
		total += amount * float64(unit)
		if total > float64(MaxDuration) {
			return 0, errDurationRange
		}
		if amount == math.Trunc(amount) {
			whole += time.Duration(amount) * unit
		} else {
			whole += time.Duration(math.Round(amount * float64(unit)))
		}
	}
	switch {
	case whole <= 0:
		return 0, errDurationSign
	case whole > MaxDuration:
		return 0, errDurationRange
	}
	return whole, nil
}

// leadingAmount takes one number and its unit off the front of s.
func leadingAmount(s string) (amount float64, unit time.Duration, rest string, ok bool) {
	n := 0
	for n < len(s) && (s[n] >= '0' && s[n] <= '9' || s[n] == '.') {
		n++
	}
	amount, err := strconv.ParseFloat(s[:n], 64)
	if err != nil {
		return 0, 0, "", false
	}
	rest = s[n:]
	letters := 0
	for letters < len(rest) && rest[letters] != '.' && (rest[letters] < '0' || rest[letters] > '9') {
		letters++
	}
	name := rest[:letters]
	if name == "µs" || name == "μs" {
		name = "us"
	}
	for _, u := range units {
		if u.name == name {
			return amount, u.size, rest[letters:], true
		}
	}
	return 0, 0, "", false
}

// FormatDuration writes d the way ParseDuration reads it, in the fewest words:
// 36 hours are 1d12h.
func FormatDuration(d time.Duration) string {
	if d == 0 {
		return "0s"
	}
	var b strings.Builder
	left := uint64(d)
	if d < 0 {
		b.WriteByte('-')
		left = -left
	}
	for _, u := range units {
		if n := left / uint64(u.size); n > 0 {
			b.WriteString(strconv.FormatUint(n, 10))
			b.WriteString(u.name)
			left -= n * uint64(u.size)
		}
	}
	return b.String()
}
