package expression

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"unicode/utf8"
)

var listFunctions = []*function{
	{
		Builtin: Builtin{"len", "lists and objects", "len(value)", "number of items of a list, fields of an object or characters of a text"},
		params:  []kinds{isList | isObject | isText}, result: isNumber,
		run: func(f *frame, args []any) (any, error) {
			switch v := args[0].(type) {
			case []any:
				return len(v), nil
			case map[string]any:
				return len(v), nil
			}
			s := args[0].(string)
			return utf8.RuneCountInString(s), f.spendText(len(s))
		},
	},
	{
		Builtin: Builtin{"first", "lists and objects", "first(list)", "the first item; null for an empty list"},
		params:  []kinds{isList}, result: isAny,
		run: func(_ *frame, args []any) (any, error) {
			if list := args[0].([]any); len(list) > 0 {
				return list[0], nil
			}
			return nil, nil //nolint:nilnil // null is a value
		},
	},
	{
		Builtin: Builtin{"last", "lists and objects", "last(list)", "the last item; null for an empty list"},
		params:  []kinds{isList}, result: isAny,
		run: func(_ *frame, args []any) (any, error) {
			if list := args[0].([]any); len(list) > 0 {
				return list[len(list)-1], nil
			}
			return nil, nil //nolint:nilnil // null is a value
		},
	},
	{
		Builtin: Builtin{"take", "lists and objects", "take(list, n)", "the first n items, or all if there are fewer"},
		params:  []kinds{isList, isNumber}, result: isList,
		run: func(_ *frame, args []any) (any, error) {
			list := args[0].([]any)
			n, err := intArgument(args, 1, 0)
			if err != nil {
				return nil, err
			}
			return list[:max(0, min(n, len(list)))], nil
		},
	},
	{
		Builtin: Builtin{"reverse", "lists and objects", "reverse(list)", "the items in the opposite order"},
		params:  []kinds{isList}, result: isList,
		run: func(f *frame, args []any) (any, error) {
			list, err := copyList(f, args[0].([]any))
			slices.Reverse(list)
			return list, err
		},
	},
	{
		Builtin: Builtin{"sort", "lists and objects", `sort(list, order?)`, `a list of numbers, texts, times or durations in order; order is "asc" (default) or "desc"`},
		params:  []kinds{isList, isText}, optional: 1, result: isList,
		run: func(f *frame, args []any) (any, error) {
			list := args[0].([]any)
			return sorted(f, list, list, textArgument(args, 1, "asc"))
		},
	},
	{
		Builtin: Builtin{"uniq", "lists and objects", "uniq(list)", "the items without repeats, in order of first appearance"},
		params:  []kinds{isList}, result: isList, run: uniq,
	},
	{
		Builtin: Builtin{"concat", "lists and objects", "concat(list, list, …)", "one list of all items"},
		params:  []kinds{isList}, variadic: true, result: isList,
		run: func(f *frame, args []any) (any, error) {
			n := 0
			for _, a := range args {
				n += len(a.([]any))
			}
			if err := f.growList(n); err != nil {
				return nil, err
			}
			all := make([]any, 0, n)
			for _, a := range args {
				all = append(all, a.([]any)...)
			}
			return all, nil
		},
	},
	{
		Builtin: Builtin{"flatten", "lists and objects", "flatten(list)", "one list with the items of all lists in it, however deep"},
		params:  []kinds{isList}, result: isList,
		run: func(f *frame, args []any) (any, error) {
			return flatten(f, []any{}, args[0].([]any))
		},
	},
	{
		Builtin: Builtin{"keys", "lists and objects", "keys(object)", "the names of the fields, in order"},
		params:  []kinds{isObject}, result: isList,
		run: func(f *frame, args []any) (any, error) {
			names, err := fieldNames(f, args[0].(map[string]any))
			list := make([]any, len(names))
			for i, n := range names {
				list[i] = n
			}
			return list, err
		},
	},
	{
		Builtin: Builtin{"values", "lists and objects", "values(object)", "the values of the fields, in the order of their names"},
		params:  []kinds{isObject}, result: isList,
		run: func(f *frame, args []any) (any, error) {
			m := args[0].(map[string]any)
			names, err := fieldNames(f, m)
			list := make([]any, len(names))
			for i, n := range names {
				list[i] = m[n]
			}
			return list, err
		},
	},
	{
		Builtin: Builtin{"merge", "lists and objects", "merge(object, object, …)", "one object with the fields of all; later ones win; null counts as empty"},
		params:  []kinds{isObject | isNull}, variadic: true, result: isObject,
		run: func(f *frame, args []any) (any, error) {
			out := map[string]any{}
			for _, a := range args {
				m, _ := a.(map[string]any)
				if err := f.growList(4 * len(m)); err != nil {
					return nil, err
				}
				maps.Copy(out, m)
			}
			return out, nil
		},
	},
}

func copyList(f *frame, list []any) ([]any, error) {
	if err := f.growList(len(list)); err != nil {
		return nil, err
	}
	return slices.Clone(list), nil
}

// sorted gives list ordered by keys, which belong to the items one by one.
func sorted(f *frame, list, keys []any, direction string) ([]any, error) {
	sign := 1
	switch direction {
	case "asc":
	case "desc":
		sign = -1
	default:
		return nil, errors.New(`the order is "asc" or "desc"`)
	}
	if len(list) > MaxItems {
		return nil, errLongList
	}
	if err := f.growList(3 * len(list)); err != nil {
		return nil, err
	}
	at := make([]int, len(list))
	for i := range at {
		at[i] = i
	}
	if len(keys) == 1 {
		if _, ok, _ := f.order(keys[0], keys[0]); !ok {
			return nil, unordered(keys[0], keys[0])
		}
	}
	var failed error
	slices.SortStableFunc(at, func(i, j int) int {
		if failed != nil {
			return 0
		}
		if failed = f.spend(2); failed != nil {
			return 0
		}
		c, ok, err := f.order(keys[i], keys[j])
		if failed = err; !ok {
			failed = unordered(keys[i], keys[j])
		}
		return sign * c
	})
	if failed != nil {
		return nil, failed
	}
	out := make([]any, len(list))
	for i, from := range at {
		out[i] = list[from]
	}
	return out, nil
}

func unordered(a, b any) error {
	if k := kindOf(a); k == kindOf(b) {
		return fmt.Errorf("%s cannot be put in order", k)
	}
	return fmt.Errorf("%s and %s cannot be put in order", kindOf(a), kindOf(b))
}

var errLongList = fmt.Errorf("the list is longer than %d items", MaxItems)

func uniq(f *frame, args []any) (any, error) {
	list := args[0].([]any)
	if err := f.growList(2 * len(list)); err != nil {
		return nil, err
	}
	out := []any{}
	seen := make(map[any]bool, len(list)) // whole numbers, texts and bools
	var others []any                      // all else is compared one by one
	for _, v := range list {
		switch v.(type) {
		case nil, bool, int, string:
			if seen[v] {
				continue
			}
			seen[v] = true
		default:
			known, _, err := within(f, v, others)
			if err != nil {
				return nil, err
			}
			if known == true {
				continue
			}
			others = append(others, v)
		}
		out = append(out, v)
	}
	return out, nil
}

func flatten(f *frame, out, list []any) ([]any, error) {
	for _, v := range list {
		if err := f.growList(2); err != nil {
			return nil, err
		}
		inner, ok := v.([]any)
		if !ok {
			out = append(out, v)
			continue
		}
		var err error
		if out, err = flatten(f, out, inner); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func fieldNames(f *frame, m map[string]any) ([]string, error) {
	if err := f.growList(4 * len(m)); err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(m)), nil
}
