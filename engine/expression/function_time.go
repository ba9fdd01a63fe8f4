package expression

import (
	"errors"
	"math"
	"time"
)

var timeFunctions = []*function{
	{
		Builtin: Builtin{"date", "times", "date(value)", "the time that text (2026-01-31 or RFC 3339) or a number of seconds since 1970 stands for"},
		params:  []kinds{isText | isNumber | isTime}, result: isTime,
		run: func(_ *frame, args []any) (any, error) {
			switch v := args[0].(type) {
			case time.Time:
				return v, nil
			case string:
				if t, ok := parseTime(v); ok {
					return t, nil
				}
				return nil, errors.New("this text is neither a date such as 2026-01-31 nor a time such as 2026-01-31T09:00:00Z")
			}
			x, _ := asFloat(args[0])
			// Between the years 1 and 9999.
			if x < -62135596800 || x >= 253402300800 {
				return nil, errLongTime
			}
			whole, fraction := math.Modf(x)
			return time.Unix(int64(whole), int64(math.Round(fraction*1e6))*1e3).UTC(), nil
		},
	},
	{
		Builtin: Builtin{"duration", "times", "duration(text)", "the length of time that text such as 90s, 24h or 7d stands for"},
		params:  []kinds{isText}, result: isDuration,
		run: func(_ *frame, args []any) (any, error) {
			d, err := ParseDuration(args[0].(string))
			if err != nil {
				return nil, err
			}
			return d, nil
		},
	},
	{
		Builtin: Builtin{"unix", "times", "unix(time)", "seconds since 1970"},
		params:  []kinds{isTime}, result: isNumber,
		run: func(_ *frame, args []any) (any, error) {
			t := args[0].(time.Time)
			if t.Nanosecond() == 0 {
				return int(t.Unix()), nil
			}
			return finite(float64(t.UnixMicro()) / 1e6)
		},
	},
	{
		Builtin: Builtin{"seconds", "times", "seconds(duration)", "length in seconds"},
		params:  []kinds{isDuration}, result: isNumber,
		run: func(_ *frame, args []any) (any, error) {
			d := args[0].(time.Duration)
			if d%time.Second == 0 {
				return int(d / time.Second), nil
			}
			return finite(d.Seconds())
		},
	},
}
