package expression

import (
	"strings"
	"unicode/utf8"
)

var textFunctions = []*function{
	{
		Builtin: Builtin{"upper", "text", "upper(text)", "text in capital letters"},
		params:  []kinds{isText}, result: isText, run: mapText(strings.ToUpper),
	},
	{
		Builtin: Builtin{"lower", "text", "lower(text)", "text in small letters"},
		params:  []kinds{isText}, result: isText, run: mapText(strings.ToLower),
	},
	{
		Builtin: Builtin{"trim", "text", "trim(text, characters?)", "text without spaces, or the given characters, at both ends"},
		params:  []kinds{isText, isText}, optional: 1, result: isText,
		run: func(f *frame, args []any) (any, error) {
			s := args[0].(string)
			if len(args) == 1 {
				return strings.TrimSpace(s), f.spendText(len(s))
			}
			set := args[1].(string)
			return strings.Trim(s, set), f.spendText(len(s) * (1 + len(set)/8))
		},
	},
	{
		Builtin: Builtin{"trimPrefix", "text", "trimPrefix(text, start)", "text without start, if it begins with it"},
		params:  []kinds{isText, isText}, result: isText,
		run: func(_ *frame, args []any) (any, error) {
			return strings.TrimPrefix(args[0].(string), args[1].(string)), nil
		},
	},
	{
		Builtin: Builtin{"trimSuffix", "text", "trimSuffix(text, end)", "text without end, if it ends with it"},
		params:  []kinds{isText, isText}, result: isText,
		run: func(_ *frame, args []any) (any, error) {
			return strings.TrimSuffix(args[0].(string), args[1].(string)), nil
		},
	},
	{
		Builtin: Builtin{"split", "text", "split(text, separator)", "list of the parts of text between separators"},
		params:  []kinds{isText, isText}, result: isList, run: split,
	},
	{
		Builtin: Builtin{"join", "text", "join(list, separator?)", "the items as text, with separator between them"},
		params:  []kinds{isList, isText}, optional: 1, result: isText, run: join,
	},
	{
		Builtin: Builtin{"replace", "text", "replace(text, old, new)", "text with every old replaced by new"},
		params:  []kinds{isText, isText, isText}, result: isText, run: replace,
	},
	{
		Builtin: Builtin{"indexOf", "text", "indexOf(text, part)", "position of the first part in text, counted from 0; -1 if there is none"},
		params:  []kinds{isText, isText}, result: isNumber,
		run: func(f *frame, args []any) (any, error) {
			s := args[0].(string)
			i := strings.Index(s, args[1].(string))
			if i < 0 {
				return -1, f.spendText(2 * len(s))
			}
			return utf8.RuneCountInString(s[:i]), f.spendText(2 * len(s))
		},
	},
}

func mapText(m func(string) string) func(*frame, []any) (any, error) {
	return func(f *frame, args []any) (any, error) {
		s := args[0].(string)
		if err := f.grow(4 * len(s)); err != nil {
			return nil, err
		}
		return m(s), nil
	}
}

func split(f *frame, args []any) (any, error) {
	s, separator := args[0].(string), args[1].(string)
	n := strings.Count(s, separator) + 1
	if err := f.growList(n); err != nil {
		return nil, err
	}
	if err := f.spendText(2 * len(s)); err != nil {
		return nil, err
	}
	list := make([]any, 0, n)
	for part := range strings.SplitSeq(s, separator) {
		list = append(list, part)
	}
	return list, nil
}

func join(f *frame, args []any) (any, error) {
	separator := textArgument(args, 1, "")
	var b strings.Builder
	for i, e := range args[0].([]any) {
		s, err := f.textOf(e)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			b.WriteString(separator)
		}
		if err := f.grow(len(s) + len(separator)); err != nil {
			return nil, err
		}
		if err := f.spend(1); err != nil {
			return nil, err
		}
		b.WriteString(s)
	}
	return b.String(), nil
}

func replace(f *frame, args []any) (any, error) {
	s, from, to := args[0].(string), args[1].(string), args[2].(string)
	if err := f.spendText(2 * len(s)); err != nil {
		return nil, err
	}
	n := strings.Count(s, from)
	// The size is paid for before the text is built.
	if err := f.grow(len(s) + n*max(0, len(to)-len(from))); err != nil {
		return nil, err
	}
	if err := f.spend(n); err != nil {
		return nil, err
	}
	return strings.ReplaceAll(s, from, to), nil
}
