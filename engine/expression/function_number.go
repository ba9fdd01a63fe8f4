package expression

import (
	"errors"
	"math"
	"slices"
)

var numberFunctions = []*function{
	{
		Builtin: Builtin{"abs", "numbers", "abs(number)", "number without its sign"},
		params:  []kinds{isNumber}, result: isNumber,
		run: func(_ *frame, args []any) (any, error) {
			if x, _ := asFloat(args[0]); x >= 0 {
				return args[0], nil
			}
			v, _, err := negate(args[0])
			return v, err
		},
	},
	{
		Builtin: Builtin{"ceil", "numbers", "ceil(number)", "the next whole number upwards"},
		params:  []kinds{isNumber}, result: isNumber, run: rounded(math.Ceil),
	},
	{
		Builtin: Builtin{"floor", "numbers", "floor(number)", "the next whole number downwards"},
		params:  []kinds{isNumber}, result: isNumber, run: rounded(math.Floor),
	},
	{
		Builtin: Builtin{"round", "numbers", "round(number, digits?)", "the nearest number with so many digits after the point (0 to 15, default 0); halves go away from zero"},
		params:  []kinds{isNumber, isNumber}, optional: 1, result: isNumber, run: round,
	},
	{
		Builtin: Builtin{"min", "numbers", "min(list) or min(a, b, …)", "the smallest number; null for an empty list"},
		params:  []kinds{isNumber | isList}, variadic: true, result: isNumber | isNull, run: extreme(-1),
	},
	{
		Builtin: Builtin{"max", "numbers", "max(list) or max(a, b, …)", "the largest number; null for an empty list"},
		params:  []kinds{isNumber | isList}, variadic: true, result: isNumber | isNull, run: extreme(1),
	},
	{
		Builtin: Builtin{"mean", "numbers", "mean(list)", "the average of a list of numbers; null for an empty list"},
		params:  []kinds{isList}, result: isNumber | isNull, run: mean,
	},
	{
		Builtin: Builtin{"median", "numbers", "median(list)", "the middle of a list of numbers; null for an empty list"},
		params:  []kinds{isList}, result: isNumber | isNull, run: median,
	},
}

var errNotNumbers = errors.New("the list holds something that is not a number")

func rounded(to func(float64) float64) func(*frame, []any) (any, error) {
	return func(_ *frame, args []any) (any, error) {
		if x, ok := args[0].(float64); ok {
			return finite(to(x))
		}
		return args[0], nil
	}
}

func round(_ *frame, args []any) (any, error) {
	digits, err := intArgument(args, 1, 0)
	if err != nil {
		return nil, err
	}
	if digits < 0 || digits > 15 {
		return nil, errors.New("digits must be 0 to 15")
	}
	x, ok := args[0].(float64)
	if !ok {
		return args[0], nil
	}
	scale := math.Pow10(digits)
	if math.Abs(x) >= 1<<53/scale {
		return x, nil // it has no digits to round away
	}
	return finite(math.Round(x*scale) / scale)
}

// extreme finds the smallest (sign -1) or largest (sign 1) number.
func extreme(sign int) func(*frame, []any) (any, error) {
	return func(f *frame, args []any) (any, error) {
		list := args
		if l, ok := args[0].([]any); ok {
			if len(args) > 1 {
				return nil, errors.New("give either one list or numbers")
			}
			list = l
		}
		var best any
		for _, v := range list {
			if err := f.spend(1); err != nil {
				return nil, err
			}
			if kindOf(v) != isNumber {
				return nil, errNotNumbers
			}
			if best == nil {
				best = v
			} else if c, _, _ := f.order(v, best); c == sign {
				best = v
			}
		}
		return best, nil
	}
}

func floats(f *frame, list []any) ([]float64, error) {
	if err := f.growList(len(list)); err != nil {
		return nil, err
	}
	out := make([]float64, len(list))
	for i, v := range list {
		x, ok := asFloat(v)
		if !ok {
			return nil, errNotNumbers
		}
		out[i] = x
	}
	return out, nil
}

func mean(f *frame, args []any) (any, error) {
	numbers, err := floats(f, args[0].([]any))
	if err != nil || len(numbers) == 0 {
		return nil, err
	}
	sum := 0.0
	for _, x := range numbers {
		sum += x
	}
	return finite(sum / float64(len(numbers)))
}

func median(f *frame, args []any) (any, error) {
	numbers, err := floats(f, args[0].([]any))
	if err != nil || len(numbers) == 0 {
		return nil, err
	}
	if err := f.spend(4 * len(numbers)); err != nil {
		return nil, err
	}
	slices.Sort(numbers)
	middle := len(numbers) / 2
	if len(numbers)%2 == 1 {
		return finite(numbers[middle])
	}
	return finite(numbers[middle-1]/2 + numbers[middle]/2)
}

// sum adds up a list of numbers or durations; the sum of nothing is 0.
func sum(f *frame, list []any) (any, error) {
	var total any = 0
	for i, v := range list {
		if err := f.spend(2); err != nil {
			return nil, err
		}
		if k := kindOf(v); k != isNumber && k != isDuration {
			return nil, errors.New("the list holds something that is not a number")
		}
		if i == 0 {
			total = v
			continue
		}
		next, ok, err := add(f, total, v)
		if err != nil {
			return nil, err
		}
		if !ok {
			return nil, errors.New("the list mixes numbers and durations")
		}
		total = next
	}
	return total, nil
}
