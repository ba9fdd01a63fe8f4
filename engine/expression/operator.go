package expression

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"time"
)

// operator is one use of an operator in a source.
type operator struct {
	symbol      string
	offset      int
	left, right string // the operands as the user wrote them, where that is short
}

// operation is the meaning of an operator: what it takes, what it gives, how it is
// done. run says ok = false for operands it does not take.
type operation struct {
	verb  string
	types []operandTypes
	run   func(f *frame, a, b any) (result any, ok bool, err error)
}

type operandTypes struct{ left, right, result kinds }

// result gives what the operation can give for operands of these kinds, 0 if it
// takes none of them.
func (o operation) result(left, right kinds) kinds {
	var out kinds
	for _, t := range o.types {
		if t.left&left != 0 && t.right&right != 0 {
			out |= t.result
		}
	}
	return out
}

var ordered = []operandTypes{
	{isNumber, isNumber, isBool},
	{isText, isText, isBool},
	{isTime, isTime, isBool},
	{isDuration, isDuration, isBool},
}

var onlyNumbers = []operandTypes{{isNumber, isNumber, isNumber}}

var onlyText = []operandTypes{{isText | isNull, isText | isNull, isBool}}

var sameKind = func() []operandTypes {
	types := []operandTypes{{isNull, isAny, isBool}, {isAny, isNull, isBool}}
	for _, k := range kindWords {
		types = append(types, operandTypes{k.kind, k.kind, isBool})
	}
	return types
}()

// operations are the binary operators that are ours. The rest, && || and ??, need
// not look at their operands at once and are the machine's.
var operations = map[string]operation{
	"==": {"compare", sameKind, func(f *frame, a, b any) (any, bool, error) {
		eq, err := f.equal(a, b)
		return eq, true, err
	}},
	"!=": {"compare", sameKind, func(f *frame, a, b any) (any, bool, error) {
		eq, err := f.equal(a, b)
		return !eq, true, err
	}},
	"<":  {"compare", ordered, comparison(func(c int) bool { return c < 0 })},
	"<=": {"compare", ordered, comparison(func(c int) bool { return c <= 0 })},
	">":  {"compare", ordered, comparison(func(c int) bool { return c > 0 })},
	">=": {"compare", ordered, comparison(func(c int) bool { return c >= 0 })},
	"+": {"add", []operandTypes{
		{isNumber, isNumber, isNumber},
		{isText, isText, isText},
		{isTime, isDuration, isTime},
		{isDuration, isTime, isTime},
		{isDuration, isDuration, isDuration},
	}, add},
	"-": {"subtract", []operandTypes{
		{isNumber, isNumber, isNumber},
		{isTime, isTime, isDuration},
		{isTime, isDuration, isTime},
		{isDuration, isDuration, isDuration},
	}, subtract},
	"*": {"multiply", []operandTypes{
		{isNumber, isNumber, isNumber},
		{isNumber, isDuration, isDuration},
		{isDuration, isNumber, isDuration},
	}, multiply},
	"/":          {"divide", onlyNumbers, divide},
	"%":          {"divide", onlyNumbers, remainder},
	"**":         {"raise", onlyNumbers, power},
	"..":         {"count between", []operandTypes{{isNumber, isNumber, isList}}, span},
	"in":         {"look for", []operandTypes{{isAny, isList | isNull, isBool}, {isText, isObject, isBool}}, within},
	"contains":   {"search", onlyText, textTest(strings.Contains)},
	"startsWith": {"search", onlyText, textTest(strings.HasPrefix)},
	"endsWith":   {"search", onlyText, textTest(strings.HasSuffix)},
}

// call is what the virtual machine runs for the operator.
func (o operation) call(args ...any) (any, error) {
	f, use := args[0].(*frame), args[1].(*operator)
	v, ok, err := o.run(f, args[2], args[3])
	if err != nil {
		if errors.Is(err, errTooMuchWork) || errors.Is(err, errTooMuchMemory) || f.ctx.Err() != nil {
			return nil, err
		}
		return nil, faultf(use.offset, "%s", err)
	}
	if !ok {
		return nil, faultf(use.offset, "%s", use.mismatch(o, kindOf(args[2]), kindOf(args[3])))
	}
	return v, nil
}

// mismatch says why the operator does not take operands of these kinds.
func (o *operator) mismatch(op operation, left, right kinds) string {
	text := fmt.Sprintf("%s cannot %s %s and %s", o.symbol, op.verb, operand(o.left, left), operand(o.right, right))
	switch {
	case o.symbol == "+" && left|right == isText|isNumber:
		return text + "; make the number text with string(…)"
	case o.symbol == "contains" && left == isList:
		return text + "; for lists write x in list"
	case o.symbol == "in" && right == isText:
		return text + "; for text write text contains x"
	case left|right == isTime|isText:
		return text + "; make the text a time with date(…)"
	case left == isNull && o.left != "":
		return text + fmt.Sprintf("; give it a fallback, as in (%s ?? 0)", o.left)
	case right == isNull && o.right != "":
		return text + fmt.Sprintf("; give it a fallback, as in (%s ?? 0)", o.right)
	}
	return text
}

// operand names a value by how it was written, if that is short, and what it is.
func operand(label string, k kinds) string {
	if label == "" {
		return k.String()
	}
	return label + " (" + k.String() + ")"
}

var (
	errOverflow   = errors.New("the result is too large for a whole number")
	errZero       = errors.New("a number cannot be divided by 0")
	errLongTime   = errors.New("the result is not a time between the years 1 and 9999")
	errLongLength = errors.New("the result is too long a duration")
)

func comparison(holds func(int) bool) func(*frame, any, any) (any, bool, error) {
	return func(f *frame, a, b any) (any, bool, error) {
		c, ok, err := f.order(a, b)
		return holds(c), ok, err
	}
}

func textTest(holds func(s, part string) bool) func(*frame, any, any) (any, bool, error) {
	return func(f *frame, a, b any) (any, bool, error) {
		s, sText := a.(string)
		part, partText := b.(string)
		if sText && partText {
			return holds(s, part), true, f.spendText(2 * len(s))
		}
		return false, (a == nil || sText) && (b == nil || partText), nil
	}
}

func add(f *frame, a, b any) (any, bool, error) {
	switch a := a.(type) {
	case string:
		if b, ok := b.(string); ok {
			if err := f.grow(len(a) + len(b)); err != nil {
				return nil, true, err
			}
			return a + b, true, nil
		}
	case time.Time:
		if b, ok := b.(time.Duration); ok {
			v, err := addTime(a, b)
			return v, true, err
		}
	case time.Duration:
		switch b := b.(type) {
		case time.Time:
			v, err := addTime(b, a)
			return v, true, err
		case time.Duration:
			return durations(a, b, addInts)
		}
	}
	return arithmetic(a, b, addInts, func(a, b float64) float64 { return a + b })
}

func subtract(_ *frame, a, b any) (any, bool, error) {
	switch a := a.(type) {
	case time.Time:
		switch b := b.(type) {
		case time.Time:
			return a.Sub(b), true, nil
		case time.Duration:
			v, err := addTime(a, -b)
			return v, true, err
		}
	case time.Duration:
		if b, ok := b.(time.Duration); ok {
			return durations(a, b, subtractInts)
		}
	}
	return arithmetic(a, b, subtractInts, func(a, b float64) float64 { return a - b })
}

func multiply(_ *frame, a, b any) (any, bool, error) {
	if d, ok := b.(time.Duration); ok {
		a, b = d, a
	}
	if d, ok := a.(time.Duration); ok {
		switch b := b.(type) {
		case int:
			return durations(d, time.Duration(b), multiplyInts)
		case float64:
			v, err := length(float64(d) * b)
			return v, true, err
		}
		return nil, false, nil
	}
	return arithmetic(a, b, multiplyInts, func(a, b float64) float64 { return a * b })
}

func divide(_ *frame, a, b any) (any, bool, error) {
	if i, ok := a.(int); ok {
		if j, ok := b.(int); ok && j != 0 && j != -1 && i%j == 0 {
			return i / j, true, nil // exact, also above 2^53
		}
	}
	x, xOK := asFloat(a)
	y, yOK := asFloat(b)
	if !xOK || !yOK {
		return nil, false, nil
	}
	if y == 0 {
		return nil, true, errZero
	}
	v, err := finite(x / y)
	return v, true, err
}

func remainder(_ *frame, a, b any) (any, bool, error) {
	x, xOK := wholeNumber(a)
	y, yOK := wholeNumber(b)
	switch {
	case kindOf(a) != isNumber || kindOf(b) != isNumber:
		return nil, false, nil
	case !xOK || !yOK:
		return nil, true, errors.New("% takes whole numbers only")
	case y == 0:
		return nil, true, errZero
	case y == -1:
		return 0, true, nil
	}
	return x % y, true, nil
}

func power(_ *frame, a, b any) (any, bool, error) {
	x, xOK := asFloat(a)
	y, yOK := asFloat(b)
	if !xOK || !yOK {
		return nil, false, nil
	}
	v, err := finite(math.Pow(x, y))
	return v, true, err
}

// span lists the whole numbers from a to b, both included.
func span(f *frame, a, b any) (any, bool, error) {
	from, fromOK := wholeNumber(a)
	to, toOK := wholeNumber(b)
	switch {
	case kindOf(a) != isNumber || kindOf(b) != isNumber:
		return nil, false, nil
	case !fromOK || !toOK:
		return nil, true, errors.New(".. takes whole numbers only")
	case to < from:
		return []any{}, true, nil
	case uint(to)-uint(from) >= MaxItems:
		return nil, true, fmt.Errorf("the range is longer than %d items", MaxItems)
	}
	n := to - from + 1
	if err := f.growList(n); err != nil {
		return nil, true, err
	}
	list := make([]any, n)
	for i := range list {
		list[i] = from + i
	}
	return list, true, nil
}

func within(f *frame, a, b any) (any, bool, error) {
	switch b := b.(type) {
	case nil:
		return false, true, nil
	case []any:
		for _, e := range b {
			if err := f.spend(1); err != nil {
				return nil, true, err
			}
			if eq, err := f.equal(e, a); eq || err != nil {
				return eq, true, err
			}
		}
		return false, true, nil
	case map[string]any:
		if name, ok := a.(string); ok {
			_, has := b[name]
			return has, true, nil
		}
	}
	return nil, false, nil
}

// arithmetic does whole numbers exactly or not at all, everything else in floats.
func arithmetic(a, b any, ints func(a, b int) (int, bool), floats func(a, b float64) float64) (any, bool, error) {
	if i, ok := a.(int); ok {
		if j, ok := b.(int); ok {
			v, fits := ints(i, j)
			if !fits {
				return nil, true, errOverflow
			}
			return v, true, nil
		}
	}
	x, xOK := asFloat(a)
	y, yOK := asFloat(b)
	if !xOK || !yOK {
		return nil, false, nil
	}
	v, err := finite(floats(x, y))
	return v, true, err
}

func addInts(a, b int) (int, bool) {
	c := a + b
	return c, (c > a) == (b > 0)
}

func subtractInts(a, b int) (int, bool) {
	c := a - b
	return c, (c < a) == (b > 0)
}

func multiplyInts(a, b int) (int, bool) {
	if a == 0 || b == 0 {
		return 0, true
	}
	if a == -1 && b == math.MinInt || b == -1 && a == math.MinInt {
		return 0, false
	}
	c := a * b
	return c, c/b == a
}

func durations(a, b time.Duration, ints func(a, b int) (int, bool)) (any, bool, error) {
	v, fits := ints(int(a), int(b))
	if !fits {
		return nil, true, errLongLength
	}
	return time.Duration(v), true, nil
}

func asFloat(v any) (float64, bool) {
	switch v := v.(type) {
	case int:
		return float64(v), true
	case float64:
		return v, true
	}
	return 0, false
}

// finite gives a number as the language keeps it: whole numbers as int.
func finite(x float64) (any, error) {
	v, err := wholeOrFloat(x)
	if err != nil {
		return nil, errNotFinite
	}
	return v, nil
}

func addTime(t time.Time, d time.Duration) (any, error) {
	t = t.Add(d)
	if t.Year() < 1 || t.Year() > 9999 {
		return nil, errLongTime
	}
	return t, nil
}

// length gives a duration of so many nanoseconds.
func length(ns float64) (any, error) {
	if math.IsNaN(ns) || math.Abs(ns) >= 1<<62 {
		return nil, errLongLength
	}
	return time.Duration(ns), nil
}

func negate(v any) (any, bool, error) {
	switch v := v.(type) {
	case int:
		if v == math.MinInt {
			return nil, true, errOverflow
		}
		return -v, true, nil
	case float64:
		return -v, true, nil
	case time.Duration:
		return -v, true, nil
	}
	return nil, false, nil
}
