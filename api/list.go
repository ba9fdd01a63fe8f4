package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/10ex/flows/models"
	"github.com/10ex/flows/store"
)

// ListQuery is what every list understands.
type ListQuery struct {
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"Rows a page"`
	Cursor string `query:"cursor" maxLength:"1000" doc:"next_cursor of the page before"`
}

// page is a part of a list.
type page[T any] struct {
	Items      []T     `json:"items" nullable:"false"`
	NextCursor *string `json:"next_cursor" doc:"Where the next page begins; null on the last one"`
}

// cursor is a place in a list, opaque to clients.
type cursor struct {
	Version int    `json:"v"`
	List    []byte `json:"l"`
	After   string `json:"a"`
}

const cursorVersion = 2

func invalidCursor() *Problem {
	p := newProblem(http.StatusBadRequest, codeInvalidCursor, "The cursor is not one that this list gave.")
	p.Errors = []models.FieldError{{Loc: []any{"query", "cursor"}, Msg: "is not one that this list gave", Type: "invalid"}}
	return p
}

// listMark tells lists apart: a place in one means nothing in another, nor in the
// same one of another workspace. It keeps nobody out, for whatever a cursor says the
// store looks only at what the caller may see.
func listMark(ws models.WorkspaceID, list string) []byte {
	sum := sha256.Sum256([]byte(string(ws) + " " + list))
	return sum[:9]
}

func encodeCursor(ws models.WorkspaceID, list, after string) string {
	b, err := json.Marshal(cursor{cursorVersion, listMark(ws, list), after})
	if err != nil {
		panic("api: cursor: " + err.Error()) // strings always marshal
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// after reads the cursor; it is empty for the first page. Rows of the list stand at
// places that valid allows.
func (q ListQuery) after(ws models.WorkspaceID, list string, valid func(place string) bool) (string, error) {
	if q.Cursor == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(q.Cursor)
	var c cursor
	if err != nil || json.Unmarshal(b, &c) != nil || c.Version != cursorVersion || !bytes.Equal(c.List, listMark(ws, list)) || !valid(c.After) {
		return "", invalidCursor()
	}
	return c.After, nil
}

// order is what a list of rows is ordered by.
type order[Row any] struct {
	list  string // its name
	place func(Row) string
	valid func(place string) bool
}

// byID is the order of most lists.
func byID[Row any, ID ~string](list, prefix string, id func(Row) ID) order[Row] {
	return order[Row]{list,
		func(row Row) string { return string(id(row)) },
		func(place string) bool { return models.ValidID(prefix, place) },
	}
}

// byNumber is the order of lists whose rows are counted, or have a time since 1970.
// readNumber reads its places.
func byNumber[Row any](list string, number func(Row) int64) order[Row] {
	return order[Row]{list,
		func(row Row) string { return strconv.FormatInt(number(row), 10) },
		func(place string) bool { _, err := readNumber(place); return err == nil },
	}
}

func readNumber(place string) (int64, error) {
	n, err := strconv.ParseInt(place, 10, 64)
	if err != nil || n < 0 || strconv.FormatInt(n, 10) != place {
		return 0, fmt.Errorf("place %q: %w", place, models.ErrInvalid)
	}
	return n, nil
}

// readPage reads one page: one row more than asked for tells whether there is
// another.
func readPage[Row, Item any](
	ctx context.Context, q ListQuery, by order[Row], read func(store.Page) ([]Row, error), show func(Row) Item,
) (page[Item], error) {
	var out page[Item]
	after, err := q.after(workspace(ctx), by.list, by.valid)
	if err != nil {
		return out, err
	}
	rows, err := read(store.Page{Limit: q.Limit + 1, After: after})
	if _, ok := errors.AsType[*models.InvalidError](err); !ok && after != "" && errors.Is(err, models.ErrInvalid) {
		return out, invalidCursor() // nothing in this list could be in that place
	}
	if err != nil {
		return out, under(err, "query")
	}
	if len(rows) > q.Limit {
		rows = rows[:q.Limit]
		next := encodeCursor(workspace(ctx), by.list, by.place(rows[len(rows)-1]))
		out.NextCursor = &next
	}
	out.Items = make([]Item, len(rows))
	for i, row := range rows {
		out.Items[i] = show(row)
	}
	return out, nil
}
