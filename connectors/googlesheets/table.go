package googlesheets

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/rest"
)

// Codes of tables that are not as the step has it.
const (
	codeNoHeader      = "no_header"
	codeUnknownColumn = "unknown_column"
)

// table is a range as it was read. Its first row names the columns.
type table struct {
	Range  string              `json:"range"`
	Values [][]json.RawMessage `json:"values"`
}

func readValues(ctx context.Context, s *rest.Session, in sheet, cells string, formatted bool) (*table, error) {
	path, err := in.path(s, cells, "")
	if err != nil {
		return nil, err
	}
	option := "UNFORMATTED_VALUE"
	if formatted {
		option = "FORMATTED_VALUE"
	}
	a, err := s.Send(ctx, rest.Call{Method: http.MethodGet, Path: path, Read: true, Query: url.Values{
		"majorDimension": {"ROWS"}, "valueRenderOption": {option}, "dateTimeRenderOption": {"FORMATTED_STRING"},
	}})
	if err != nil {
		return nil, err
	}
	t := table{}
	if err := a.Decode(&t); err != nil {
		return nil, err
	}
	if t.Range == "" {
		return nil, rest.Unexpected("range")
	}
	if t.Values == nil {
		t.Values = [][]json.RawMessage{}
	}
	return &t, nil
}

// readTable reads a range that has to have a first row.
func readTable(ctx context.Context, s *rest.Session, in sheet, cells string) (*table, error) {
	t, err := readValues(ctx, s, in, cells, false)
	if err == nil && len(t.Values) == 0 {
		return nil, connectors.Permanent(codeNoHeader, "the range is empty: its first row has to name the columns")
	}
	return t, err
}

// columns gives the names of the columns, of which some may be empty.
func (t *table) columns() []string {
	names := make([]string, len(t.Values[0]))
	for i, cell := range t.Values[0] {
		names[i] = text(cell)
	}
	return names
}

// column gives the place of a column.
func (t *table) column(name string) (int, error) {
	for i, have := range t.columns() {
		if have != "" && have == strings.TrimSpace(name) {
			return i, nil
		}
	}
	return 0, connectors.Permanent(codeUnknownColumn, "the first row of the range names no column %q", name)
}

// named gives a row by the names of the columns. Every column that has a name is in it.
func (t *table) named(i int) map[string]json.RawMessage {
	row := map[string]json.RawMessage{}
	for c, name := range t.columns() {
		if _, twice := row[name]; name == "" || twice {
			continue
		}
		row[name] = json.RawMessage("null")
		if c < len(t.Values[i]) && text(t.Values[i][c]) != "" {
			row[name] = t.Values[i][c]
		}
	}
	return row
}

// line puts values that are given by name in the order of the columns. Null leaves a
// cell as it is.
func (t *table) line(row map[string]json.RawMessage) (json.RawMessage, error) {
	cells := make([]json.RawMessage, len(t.Values[0]))
	for i := range cells {
		cells[i] = json.RawMessage("null")
	}
	for name, value := range row {
		c, err := t.column(name)
		if err != nil {
			return nil, err
		}
		cells[c] = value
	}
	return rest.Marshal(cells)
}

// find gives the first row that has a value in a column, 0 if none has.
func (t *table) find(column string, value json.RawMessage) (int, error) {
	c, err := t.column(column)
	if err != nil {
		return 0, err
	}
	want := text(value)
	for i := 1; i < len(t.Values); i++ {
		if row := t.Values[i]; c < len(row) && strings.EqualFold(text(row[c]), want) {
			return i, nil
		}
	}
	return 0, nil
}

// text is a cell as text.
func text(cell json.RawMessage) string {
	var s string
	if json.Unmarshal(cell, &s) == nil {
		return strings.TrimSpace(s)
	}
	return string(cell)
}

// place takes a range apart: the sheet, and the column and the row of its first cell.
var place = regexp.MustCompile(`^(?:(.*)!)?\$?([A-Za-z]*)\$?([0-9]*)(?::.*)?$`)

// first is the number of the first row that was read.
func (t *table) first() int {
	if m := place.FindStringSubmatch(t.Range); m != nil {
		if n, err := strconv.Atoi(m[3]); err == nil {
			return n
		}
	}
	return 1
}

// cells names the cell in which a row of the table begins.
func (t *table) cells(i int) string {
	sheet, column := "", "A"
	if m := place.FindStringSubmatch(t.Range); m != nil {
		if m[1] != "" {
			sheet = m[1] + "!"
		}
		if m[2] != "" {
			column = m[2]
		}
	}
	return fmt.Sprintf("%s%s%d", sheet, column, t.first()+i)
}
