package expression

import (
	"errors"
	"slices"
)

// loop is a builtin that evaluates its second argument for every item of its first.
type loop struct {
	Builtin
	condition bool // the second argument must be true or false
	form      loopForm
	least     int // arguments it needs
	most      int
	result    kinds
}

type loopForm int

const (
	// loopNative is done by the virtual machine.
	loopNative loopForm = iota
	// loopValues is done by us on the list of what the second argument gave.
	loopValues
	// loopPairs is done by us on the list of items with what the argument gave. The
	// machine's own findLast leaves values behind that break the call around it.
	loopPairs
)

var loops = []*loop{
	{Builtin{"filter", "loops", "filter(list, condition)", "the items for which condition holds"}, true, loopNative, 2, 2, isList},
	{Builtin{"map", "loops", "map(list, value)", "value for every item"}, false, loopNative, 2, 2, isList},
	{Builtin{"any", "loops", "any(list, condition)", "whether condition holds for at least one item"}, true, loopNative, 2, 2, isBool},
	{Builtin{"all", "loops", "all(list, condition)", "whether condition holds for every item; true for an empty list"}, true, loopNative, 2, 2, isBool},
	{Builtin{"none", "loops", "none(list, condition)", "whether condition holds for no item"}, true, loopNative, 2, 2, isBool},
	{Builtin{"one", "loops", "one(list, condition)", "whether condition holds for exactly one item"}, true, loopNative, 2, 2, isBool},
	{Builtin{"count", "loops", "count(list, condition)", "for how many items condition holds"}, true, loopNative, 2, 2, isNumber},
	{Builtin{"find", "loops", "find(list, condition)", "the first item for which condition holds, or null"}, true, loopNative, 2, 2, isAny},
	{Builtin{"findLast", "loops", "findLast(list, condition)", "the last item for which condition holds, or null"}, true, loopPairs, 2, 2, isAny},
	{Builtin{"findIndex", "loops", "findIndex(list, condition)", "the position of that first item, or null"}, true, loopNative, 2, 2, isNumber | isNull},
	{Builtin{"findLastIndex", "loops", "findLastIndex(list, condition)", "the position of that last item, or null"}, true, loopPairs, 2, 2, isNumber | isNull},
	{Builtin{"sum", "loops", "sum(list, value?)", "the sum of a list of numbers or durations, or of value for every item; 0 for an empty list"}, false, loopValues, 1, 2, isNumber | isDuration},
	{Builtin{"sortBy", "loops", "sortBy(list, value, order?)", `the items in the order of value; order is "asc" (default) or "desc"`}, false, loopPairs, 2, 3, isList},
	{Builtin{"groupBy", "loops", "groupBy(list, value)", "an object with the lists of items that have the same value, by the text of value"}, false, loopPairs, 2, 2, isObject},
}

var loopsByName = func() map[string]*loop {
	m := map[string]*loop{}
	for _, l := range loops {
		m[l.Name] = l
	}
	return m
}()

// iterated is the list of one loop in a source.
type iterated struct {
	name   string
	offset int
	label  string
}

// callList checks the list of a loop before it starts.
func callList(args ...any) (any, error) {
	f, use := args[0].(*frame), args[1].(*iterated)
	list, ok := args[2].([]any)
	switch {
	case !ok && args[2] == nil && use.label != "":
		return nil, faultf(use.offset, "%s needs a list, but %s is null; give it a fallback, as in (%s ?? [])", use.name, use.label, use.label)
	case !ok:
		return nil, faultf(use.offset, "%s needs a list, not %s", use.name, operand(use.label, kindOf(args[2])))
	case len(list) > MaxItems:
		return nil, faultf(use.offset, "%s takes at most %d items, and the list has %d", use.name, MaxItems, len(list))
	}
	return list, f.spend(loopCost)
}

// turn is the body of one loop in a source.
type turn struct {
	name      string
	offset    int
	label     string
	cost      int
	condition bool
}

// callTurn pays for one turn of a loop and checks what its body gave.
func callTurn(args ...any) (any, error) {
	f, use, v := args[0].(*frame), args[1].(*turn), args[2]
	if use.condition {
		if _, ok := v.(bool); !ok {
			return nil, faultf(use.offset, "%s", notBool("the condition of "+use.name, use.label, kindOf(v)))
		}
	}
	return v, f.spend(use.cost)
}

// truth is a place in a source where true or false must stand.
type truth struct {
	where  string
	offset int
	label  string
}

// callTruth checks such a place.
func callTruth(args ...any) (any, error) {
	use, v := args[0].(*truth), args[1]
	if _, ok := v.(bool); !ok {
		return nil, faultf(use.offset, "%s", notBool(use.where, use.label, kindOf(v)))
	}
	return v, nil
}

func notBool(where, label string, got kinds) string {
	text := where + " must be true or false, not " + operand(label, got)
	if got == isNull && label != "" {
		return text + "; give it a fallback, as in (" + label + " ?? false)"
	}
	if got != isNull && label != "" {
		return text + "; compare it with something"
	}
	return text
}

// callLoop finishes the loops that are ours.
func callLoop(args ...any) (any, error) {
	f, use, list := args[0].(*frame), args[1].(*iterated), args[2].([]any)
	var v any
	var err error
	switch use.name {
	case "sum":
		v, err = sum(f, list)
	case "findLast":
		if i := lastTrue(list); i >= 0 {
			v = list[i].([]any)[0]
		}
	case "findLastIndex":
		if i := lastTrue(list); i >= 0 {
			v = i
		}
	case "groupBy":
		v, err = groupBy(f, list)
	case "sortBy":
		order := any("asc")
		if len(args) > 3 {
			order = args[3]
		}
		v, err = sortBy(f, list, order)
	}
	if err != nil {
		if errors.Is(err, errTooMuchWork) || errors.Is(err, errTooMuchMemory) || f.ctx.Err() != nil {
			return nil, err
		}
		return nil, faultf(use.offset, "%s: %s", use.name, err)
	}
	return v, nil
}

// lastTrue is the position of the last pair whose value is true, or -1.
func lastTrue(pairs []any) int {
	for i, p := range slices.Backward(pairs) {
		if p.([]any)[1] == true {
			return i
		}
	}
	return -1
}

func groupBy(f *frame, pairs []any) (any, error) {
	groups := map[string]any{}
	for _, p := range pairs {
		item, value := p.([]any)[0], p.([]any)[1]
		switch kindOf(value) {
		case isNull, isBool, isNumber, isText:
		case isList, isObject, isTime, isDuration:
			return nil, errors.New("the value must be text, a number, true, false or null")
		}
		name, err := f.textOf(value)
		if err != nil {
			return nil, err
		}
		if value == nil {
			name = "null"
		}
		if err := f.growList(4); err != nil {
			return nil, err
		}
		group, _ := groups[name].([]any)
		groups[name] = append(group, item)
	}
	return groups, nil
}

func sortBy(f *frame, pairs []any, order any) (any, error) {
	direction, ok := order.(string)
	if !ok {
		return nil, errors.New(`the order is "asc" or "desc"`)
	}
	if err := f.growList(2 * len(pairs)); err != nil {
		return nil, err
	}
	items, values := make([]any, len(pairs)), make([]any, len(pairs))
	for i, p := range pairs {
		items[i], values[i] = p.([]any)[0], p.([]any)[1]
	}
	return sorted(f, items, values, direction)
}
