package expression

import (
	"errors"
	"fmt"
	"strconv"
)

// Builtin describes a function of the language, for its reference page.
type Builtin struct {
	Name, Group, Signature, Summary string
}

// Builtins are the functions of the language in the order of its reference page.
// There are no others: what is not listed does not compile.
func Builtins() []Builtin {
	var list []Builtin
	for _, f := range functions {
		list = append(list, f.Builtin)
	}
	for _, l := range loops {
		list = append(list, l.Builtin)
	}
	return list
}

// function is a builtin that takes values.
type function struct {
	Builtin
	params   []kinds // the last one stands for all further arguments of a variadic function
	optional int     // how many of params may be left out
	variadic bool
	result   kinds
	run      func(f *frame, args []any) (any, error)
}

// use is one call of a function in a source.
type use struct {
	*function
	offset int
	labels []string // the arguments as the user wrote them, where that is short
}

func (fn *function) param(i int) kinds {
	return fn.params[min(i, len(fn.params)-1)]
}

// arity says what is wrong with a number of arguments, or "".
func (fn *function) arity(n int) string {
	least, most := len(fn.params)-fn.optional, len(fn.params)
	switch {
	case n < least, n > most && !fn.variadic:
		return fmt.Sprintf("%s is written %s", fn.Name, fn.Signature)
	}
	return ""
}

// mismatch says that argument i is of the wrong kind.
func (u *use) mismatch(i int, got kinds) string {
	if got == isNull && u.labels[i] != "" {
		return fmt.Sprintf("%s needs %s, but %s is null", u.Name, u.param(i), u.labels[i])
	}
	return fmt.Sprintf("%s needs %s, not %s", u.Name, u.param(i), operand(u.labels[i], got))
}

// callFunction is what the virtual machine runs for every call of a function.
func callFunction(args ...any) (any, error) {
	f, u := args[0].(*frame), args[1].(*use)
	args = args[2:]
	for i, a := range args {
		if k := kindOf(a); k&u.param(i) == 0 {
			return nil, faultf(u.offset, "%s", u.mismatch(i, k))
		}
	}
	v, err := u.run(f, args)
	if err != nil {
		if errors.Is(err, errTooMuchWork) || errors.Is(err, errTooMuchMemory) || f.ctx.Err() != nil {
			return nil, err
		}
		return nil, faultf(u.offset, "%s: %s", u.Name, err)
	}
	return v, nil
}

// functions are listed by group, in the order of the reference page.
var functions = concat(textFunctions, numberFunctions, listFunctions, conversionFunctions, timeFunctions)

func concat(groups ...[]*function) []*function {
	var all []*function
	for _, g := range groups {
		all = append(all, g...)
	}
	return all
}

var functionsByName = func() map[string]*function {
	m := map[string]*function{}
	for _, f := range functions {
		m[f.Name] = f
	}
	return m
}()

// refused are names of the grammar that are no functions of the language, with why.
var refused = map[string]string{
	"now":    "there is no clock in expressions, so now() does not exist; compare with times of the payload, the event or run.created_at",
	"reduce": "reduce does not exist; use sum, count, min, max or join",
	"repeat": "repeat does not exist",
	"get":    "get does not exist; write object[key]",
	"env":    "there is no environment in expressions",
	"$env":   "there is no environment in expressions",
}

func textArgument(args []any, i int, fallback string) string {
	if i < len(args) {
		return args[i].(string)
	}
	return fallback
}

func intArgument(args []any, i, fallback int) (int, error) {
	if i >= len(args) {
		return fallback, nil
	}
	n, ok := wholeNumber(args[i])
	if !ok {
		return 0, fmt.Errorf("argument %s must be a whole number", strconv.Itoa(i+1))
	}
	return n, nil
}
