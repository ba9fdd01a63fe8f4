package expression

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"

	"github.com/expr-lang/expr/ast"
)

// callLoad reads a path from the data of the evaluation.
func callLoad(args ...any) (any, error) {
	f, p := args[0].(*frame), args[1].(*path)
	return p.read(f, f.vars[p.root], args[2:])
}

// callPath reads a path from the value of another expression.
func callPath(args ...any) (any, error) {
	return args[1].(*path).read(args[0].(*frame), args[2], args[3:])
}

// callNegate does + and - before a value.
func callNegate(args ...any) (any, error) {
	use, v := args[1].(*operator), args[2]
	if use.symbol == "+" {
		if k := kindOf(v); k&(isNumber|isDuration) != 0 {
			return v, nil
		}
	} else if n, ok, err := negate(v); err != nil {
		return nil, faultf(use.offset, "%s", err)
	} else if ok {
		return n, nil
	}
	return nil, faultf(use.offset, "%s needs a number, not %s", use.symbol, operand(use.left, kindOf(v)))
}

// callSlice cuts a list or a text.
func callSlice(args ...any) (any, error) {
	f, use := args[0].(*frame), args[1].(*operator)
	bounds := func(n int) (from, to int, err error) {
		from, to = 0, n
		for i, b := range []*int{&from, &to} {
			v := args[3+i]
			if v == nil {
				continue
			}
			at, ok := wholeNumber(v)
			if !ok {
				return 0, 0, faultf(use.offset, "[from:to] takes whole numbers, not %s", kindOf(v))
			}
			if at < 0 {
				at += n
			}
			*b = max(0, min(at, n))
		}
		return min(from, to), to, nil
	}
	switch v := args[2].(type) {
	case []any:
		from, to, err := bounds(len(v))
		if err != nil {
			return nil, err
		}
		return v[from:to:to], nil
	case string:
		if err := f.grow(4 * len(v)); err != nil {
			return nil, err
		}
		runes := []rune(v)
		from, to, err := bounds(len(runes))
		if err != nil {
			return nil, err
		}
		return string(runes[from:to]), nil
	}
	return nil, faultf(use.offset, "only lists and text can be cut with [from:to], not %s", operand(use.left, kindOf(args[2])))
}

// callName checks the computed name of a field.
func callName(args ...any) (any, error) {
	use, v := args[1].(*operator), args[2]
	if _, ok := v.(string); !ok {
		return nil, faultf(use.offset, "the name of a field must be text, not %s", operand(use.left, kindOf(v)))
	}
	return v, nil
}

// pattern is one use of matches in a source.
type pattern struct {
	operator
	expression *regexp.Regexp
	size       int
}

// matches rewrites a match against a regular expression, which must be written out,
// so that its size is known.
func (r *rewriter) matches(n *ast.BinaryNode) (ast.Node, kinds) {
	offset := n.Location().From
	left, k := r.rewrite(n.Left)
	if k&(isText|isNull) == 0 {
		return r.fail(offset, "matches looks at text, not %s", operand(label(n.Left), k))
	}
	literal, ok := n.Right.(*ast.StringNode)
	if !ok {
		return r.fail(n.Right.Location().From, "write the pattern of matches in quotes")
	}
	r.nodes++
	re, size, err := compilePattern(literal.Value)
	if err != nil {
		return r.fail(literal.Location().From, "%s", err)
	}
	place := &pattern{operator{symbol: "matches", offset: offset, left: label(n.Left)}, re, size}
	return call(vmMatches, offset, place, left), isBool
}

func compilePattern(text string) (*regexp.Regexp, int, error) {
	tooLarge := fmt.Errorf("the pattern is too large (at most %d characters, and repeats count)", maxPattern)
	if len(text) > maxPattern {
		return nil, 0, tooLarge
	}
	parsed, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		if bad, ok := errors.AsType[*syntax.Error](err); ok {
			return nil, 0, fmt.Errorf("the pattern is not a regular expression (RE2): %s in %s", bad.Code, abridge(bad.Expr, 40))
		}
		return nil, 0, errors.New("the pattern is not a regular expression (RE2)")
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil || len(program.Inst) > maxPatternSize {
		return nil, 0, tooLarge
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, 0, errors.New("the pattern is not a regular expression (RE2)")
	}
	return re, len(program.Inst), nil
}

// callMatches matches a text against a regular expression.
func callMatches(args ...any) (any, error) {
	f, use := args[0].(*frame), args[1].(*pattern)
	switch v := args[2].(type) {
	case nil:
		return false, nil
	case string:
		// A byte costs up to one step for every instruction.
		if err := f.spend(1 + len(v)*(1+use.size/4)/4); err != nil {
			return nil, err
		}
		return use.expression.MatchString(v), nil
	}
	return nil, faultf(use.offset, "matches looks at text, not %s", operand(use.left, kindOf(args[2])))
}
