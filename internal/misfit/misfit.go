package misfit

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/10ex/flows/models"
)

// NotBlank is the pattern of text that is either empty or more than blanks.
const NotBlank = `^$|\S`

// List gives what is wrong with a value, in the order of places. These begin with at,
// and their steps into lists are numbers.
func List(err *jsonschema.ValidationError, value any, at ...any) []models.FieldError {
	found := flatten(err, value, at, nil)
	slices.SortStableFunc(found, func(a, b models.FieldError) int {
		return strings.Compare(fmt.Sprint(a.Loc), fmt.Sprint(b.Loc))
	})
	return found
}

// flatten gives the errors that say something of their own.
func flatten(e *jsonschema.ValidationError, root any, at []any, into []models.FieldError) []models.FieldError {
	add := func(name, msg, typ string) {
		loc := place(root, at, e.InstanceLocation)
		if name != "" {
			loc = append(loc, name)
		}
		into = append(into, models.FieldError{Loc: loc, Msg: msg, Type: typ})
	}
	switch k := e.ErrorKind.(type) {
	case *kind.Required:
		for _, name := range k.Missing {
			add(name, "is required", "missing")
		}
		return into
	case *kind.DependentRequired:
		for _, name := range k.Missing {
			add(name, "is required beside "+k.Prop, "missing")
		}
		return into
	case *kind.AdditionalProperties:
		slices.Sort(k.Properties)
		for _, name := range k.Properties {
			add(name, "is not a known field", "unknown_field")
		}
		return into
	case *kind.AnyOf, *kind.OneOf:
		// Of several forms each has complaints of its own, and which was meant is not
		// known. Where the other one is null, it is.
		if forms := slices.DeleteFunc(slices.Clone(e.Causes), wantsNull); len(forms) == 1 && len(e.Causes) > 1 {
			return flatten(forms[0], root, at, into)
		}
		add("", "does not have one of the allowed forms", "invalid")
		return into
	}
	if len(e.Causes) == 0 {
		msg, typ := explain(e.ErrorKind)
		add("", msg, typ)
		return into
	}
	for _, cause := range e.Causes {
		into = flatten(cause, root, at, into)
	}
	return into
}

// wantsNull tells whether all that is wrong is that there is something.
func wantsNull(e *jsonschema.ValidationError) bool {
	for len(e.Causes) == 1 {
		e = e.Causes[0]
	}
	k, ok := e.ErrorKind.(*kind.Type)
	return ok && len(e.Causes) == 0 && len(k.Want) == 1 && k.Want[0] == "null"
}

// place turns a path into one whose steps into lists are numbers.
func place(root any, at []any, path []string) []any {
	loc := slices.Clone(at)
	if loc == nil {
		loc = []any{}
	}
	for _, name := range path {
		switch v := root.(type) {
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(v) {
				return loc // the library names places that exist
			}
			loc = append(loc, i)
			root = v[i]
		case map[string]any:
			loc = append(loc, name)
			root = v[name]
		default:
			loc = append(loc, name)
		}
	}
	return loc
}

func explain(k jsonschema.ErrorKind) (msg, typ string) {
	switch k := k.(type) {
	case *kind.Type:
		return "must be " + strings.Join(k.Want, " or "), "type"
	case *kind.Enum:
		return "must be one of " + words(k.Want), "enum"
	case *kind.Const:
		return "must be " + fmt.Sprint(k.Want), "enum"
	case *kind.Pattern:
		if k.Want == NotBlank {
			return "must not be blank", "pattern"
		}
		return "must match " + k.Want, "pattern"
	case *kind.Format:
		return "must be a valid " + k.Want, "format"
	case *kind.MinLength:
		return "must have at least " + count(k.Want, "character"), "limit"
	case *kind.MaxLength:
		return "must have at most " + count(k.Want, "character"), "limit"
	case *kind.MinItems:
		return "must have at least " + count(k.Want, "item"), "limit"
	case *kind.MaxItems:
		return "must have at most " + count(k.Want, "item"), "limit"
	case *kind.UniqueItems:
		return "must not have the same item twice", "limit"
	case *kind.MinProperties:
		return "must have at least " + count(k.Want, "member"), "limit"
	case *kind.MaxProperties:
		return "must have at most " + count(k.Want, "member"), "limit"
	case *kind.Minimum:
		return "must be at least " + number(k.Want), "limit"
	case *kind.Maximum:
		return "must be at most " + number(k.Want), "limit"
	case *kind.ExclusiveMinimum:
		return "must be more than " + number(k.Want), "limit"
	case *kind.ExclusiveMaximum:
		return "must be less than " + number(k.Want), "limit"
	case *kind.MultipleOf:
		return "must be a multiple of " + number(k.Want), "limit"
	}
	return "is not allowed", "invalid"
}

func number(r *big.Rat) string {
	f, _ := r.Float64()
	return strconv.FormatFloat(f, 'f', -1, 64)
}

// count says how many, as people do.
func count(n int, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return strconv.Itoa(n) + " " + noun
}

func words(list []any) string {
	out := make([]string, len(list))
	for i, w := range list {
		out[i] = fmt.Sprint(w)
	}
	return strings.Join(out, ", ")
}
