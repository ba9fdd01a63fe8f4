package expression

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"time"
	"unicode/utf8"
)

var conversionFunctions = []*function{
	{
		Builtin: Builtin{"string", "conversion", "string(value)", "value as text, as {{ }} inside other text would put it"},
		params:  []kinds{isAny}, result: isText,
		run: func(f *frame, args []any) (any, error) { return f.textOf(args[0]) },
	},
	{
		Builtin: Builtin{"int", "conversion", "int(value)", "a number, or text with a number, as whole number; the fraction is dropped"},
		params:  []kinds{isNumber | isText}, result: isNumber,
		run: func(_ *frame, args []any) (any, error) {
			v, err := toNumber(args[0])
			if err != nil {
				return nil, err
			}
			if x, ok := v.(float64); ok {
				if x = math.Trunc(x); math.Abs(x) >= 1<<63 {
					return nil, errOverflow
				}
				return int(x), nil
			}
			return v, nil
		},
	},
	{
		Builtin: Builtin{"float", "conversion", "float(value)", "a number, or text with a number, as number"},
		params:  []kinds{isNumber | isText}, result: isNumber,
		run: func(_ *frame, args []any) (any, error) { return toNumber(args[0]) },
	},
	{
		Builtin: Builtin{"type", "conversion", "type(value)", `"null", "boolean", "number", "string", "array", "object", "time" or "duration"`},
		params:  []kinds{isAny}, result: isText,
		run: func(_ *frame, args []any) (any, error) {
			switch args[0].(type) {
			case nil:
				return "null", nil
			case bool:
				return "boolean", nil
			case string:
				return "string", nil
			case []any:
				return "array", nil
			case map[string]any:
				return "object", nil
			case time.Time:
				return "time", nil
			case time.Duration:
				return "duration", nil
			}
			return "number", nil
		},
	},
	{
		Builtin: Builtin{"toJSON", "conversion", "toJSON(value)", "value as JSON text, fields in order"},
		params:  []kinds{isAny}, result: isText,
		run: func(f *frame, args []any) (any, error) {
			v, err := f.plainValue(args[0])
			if err != nil {
				return nil, err
			}
			b, err := encode(v)
			if err != nil {
				return nil, err
			}
			return string(b), f.grow(len(b))
		},
	},
	{
		Builtin: Builtin{"fromJSON", "conversion", "fromJSON(text)", "the value that JSON text stands for"},
		params:  []kinds{isText}, result: isAny,
		run: func(f *frame, args []any) (any, error) {
			s := args[0].(string)
			if strings.TrimSpace(s) == "" {
				return nil, errNotJSON
			}
			// A decoded value takes several times the room of its text.
			if err := f.grow(8 * len(s)); err != nil {
				return nil, err
			}
			return Decode(json.RawMessage(s))
		},
	},
	{
		Builtin: Builtin{"toBase64", "conversion", "toBase64(text)", "text in base64"},
		params:  []kinds{isText}, result: isText,
		run: func(f *frame, args []any) (any, error) {
			s := args[0].(string)
			if err := f.grow(2 * len(s)); err != nil {
				return nil, err
			}
			return base64.StdEncoding.EncodeToString([]byte(s)), nil
		},
	},
	{
		Builtin: Builtin{"fromBase64", "conversion", "fromBase64(text)", "the text that base64 stands for"},
		params:  []kinds{isText}, result: isText,
		run: func(f *frame, args []any) (any, error) {
			s := args[0].(string)
			if err := f.grow(len(s)); err != nil {
				return nil, err
			}
			b, err := base64.StdEncoding.DecodeString(s)
			if err != nil || !utf8.Valid(b) {
				return nil, errors.New("this is not text in base64")
			}
			return string(b), nil
		},
	},
}

func toNumber(v any) (any, error) {
	s, ok := v.(string)
	if !ok {
		return v, nil
	}
	s = strings.TrimSpace(s)
	if s == "" || len(s) > 64 || strings.ContainsAny(s, "xXpPnNiI_") {
		return nil, errors.New("this text is not a number")
	}
	n, err := number(s)
	if err != nil {
		return nil, errors.New("this text is not a number")
	}
	return n, nil
}
