package connectors

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ParseTimeout reads a duration as the graph language writes it, such as 90s or
// 7d. It must be positive.
func ParseTimeout(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n uint64
		n, err = strconv.ParseUint(days, 10, 16)
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d <= 0 {
		return 0, fmt.Errorf("%q is not a duration such as 30s, 5m or 1d", s)
	}
	return d, nil
}
