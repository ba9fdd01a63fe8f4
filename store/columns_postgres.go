package store

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// column gives one field of every row, as an array argument.
func column[R, V any](rows []R, get func(R) V) []V {
	out := make([]V, len(rows))
	for i, r := range rows {
		out[i] = get(r)
	}
	return out
}

// field is a column of a table, with what sends that of many rows to the server.
type field[R any] struct {
	name string
	typ  string // of the array's items
	cast string // to the column's type, where it is another
	put  func(dst []byte, row *R) []byte
	// blank tells whether a row has nothing in it, and none how SQL writes that.
	blank func(*R) bool
	none  string
}

// nothing is how SQL writes the zero value of a type that is not a pointer.
var nothing = map[string]string{"text": "''", "int": "0", "bigint": "0", "bool": "false"}

func fieldOf[R any, V comparable](name, typ string, get func(*R) V) field[R] {
	var zero V
	none := "NULL"
	if reflect.TypeFor[V]().Kind() != reflect.Pointer {
		none = nothing[typ] // empty for types that are never rare
	}
	put := itemOf[V](typ)
	return field[R]{
		name: name, typ: typ, none: none, blank: func(r *R) bool { return get(r) == zero },
		put: func(dst []byte, r *R) []byte { return put(dst, get(r)) },
	}
}

func jsonField[R any](name, cast string, get func(*R) json.RawMessage) field[R] {
	return field[R]{
		name: name, typ: "text", cast: cast, none: "NULL", blank: func(r *R) bool { return get(r) == nil },
		put: func(dst []byte, r *R) []byte { return putJSON(dst, get(r)) },
	}
}

// array appends the column of n rows.
func (f field[R]) array(dst []byte, n int, row func(int) *R) []byte {
	dst = appendArray(dst, items[f.typ], n)
	for i := range n {
		dst = f.put(dst, row(i))
	}
	return dst
}

// statement writes rows. Its short form writes rows that have nothing in the columns
// of rare, as most have: every array costs the server and us, also one of NULLs.
type statement[R any] struct {
	full, short             string
	fields, rare, remaining []field[R]
}

// newStatement makes a statement of what text makes of fields. Of those in constant
// nothing is sent.
func newStatement[R any](fields []field[R], rare []string, text func(sent, constant []field[R]) string) statement[R] {
	s := statement[R]{fields: fields}
	for _, f := range fields {
		if slices.Contains(rare, f.name) {
			s.rare = append(s.rare, f)
		} else {
			s.remaining = append(s.remaining, f)
		}
	}
	if len(s.rare) != len(rare) {
		panic("store: a rare column is not one of the statement's")
	}
	s.full, s.short = text(fields, nil), text(s.remaining, s.rare)
	return s
}

// queue queues the statement for rows.
func (s statement[R]) queue(q *bunch, rows []*R) {
	if len(rows) == 0 {
		return
	}
	text, fields := s.short, s.remaining
	if slices.ContainsFunc(rows, s.unusual) {
		text, fields = s.full, s.fields
	}
	q.ask(nil, text, rowsOf(q, fields, rows)...)
}

func (s statement[R]) unusual(row *R) bool {
	return slices.ContainsFunc(s.rare, func(f field[R]) bool { return !f.blank(row) })
}

// only picks fields by name, in the order of the table.
func only[R any](fields []field[R], names []string) []field[R] {
	return slices.DeleteFunc(slices.Clone(fields), func(f field[R]) bool { return !slices.Contains(names, f.name) })
}

// source is the FROM clause that makes rows of the arrays, and the columns of it.
func source[R any](fields []field[R]) (from string, columns map[string]string) {
	args, names := make([]string, len(fields)), make([]string, len(fields))
	columns = make(map[string]string, len(fields))
	for i, f := range fields {
		args[i] = fmt.Sprintf("$%d::%s[]", i+1, f.typ)
		names[i] = f.name
		columns[f.name] = "data." + f.name
		if f.cast != "" {
			columns[f.name] += "::" + f.cast
		}
	}
	return fmt.Sprintf("unnest(%s) AS data (%s)", strings.Join(args, ", "), strings.Join(names, ", ")), columns
}

func insertInto[R any](table string, fields []field[R], rare []string) statement[R] {
	return newStatement(fields, rare, func(sent, constant []field[R]) string {
		from, columns := source(sent)
		var names, values []string
		for _, f := range sent {
			names, values = append(names, f.name), append(values, columns[f.name])
		}
		for _, f := range constant {
			names, values = append(names, f.name), append(values, f.none)
		}
		return fmt.Sprintf("INSERT INTO %s (%s) SELECT %s FROM %s", table, strings.Join(names, ", "), strings.Join(values, ", "), from)
	})
}

// updateOf updates by keys. Of kept a NULL leaves the column as it is.
func updateOf[R any](table string, fields []field[R], keys []string, kept string, rare []string) statement[R] {
	return newStatement(fields, rare, func(sent, constant []field[R]) string {
		from, columns := source(sent)
		var where, set []string
		for _, f := range sent {
			switch {
			case slices.Contains(keys, f.name):
				where = append(where, fmt.Sprintf("old.%[1]s = data.%[1]s", f.name))
			case f.name == kept:
				set = append(set, fmt.Sprintf("%[1]s = COALESCE(%[2]s, old.%[1]s)", f.name, columns[f.name]))
			default:
				set = append(set, fmt.Sprintf("%s = %s", f.name, columns[f.name]))
			}
		}
		for _, f := range constant {
			if f.name != kept {
				set = append(set, fmt.Sprintf("%s = %s", f.name, f.none))
			}
		}
		return fmt.Sprintf("UPDATE %s AS old SET %s FROM %s WHERE %s", table, strings.Join(set, ", "), from, strings.Join(where, " AND "))
	})
}
