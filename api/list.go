package api

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

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
	List    string `json:"l"` // a place in one list means nothing in another
	After   string `json:"a"`
}

const cursorVersion = 1

func invalidCursor() *Problem {
	return newProblem(http.StatusBadRequest, codeInvalidCursor, "The cursor is not one that this list gave.")
}

func encodeCursor(list, after string) string {
	b, err := json.Marshal(cursor{cursorVersion, list, after})
	if err != nil {
		panic("api: cursor: " + err.Error()) // strings always marshal
	}
	return base64.RawURLEncoding.EncodeToString(b)
}

// after reads the cursor; it is empty for the first page.
func (q ListQuery) after(list string) (string, error) {
	if q.Cursor == "" {
		return "", nil
	}
	b, err := base64.RawURLEncoding.DecodeString(q.Cursor)
	var c cursor
	if err != nil || json.Unmarshal(b, &c) != nil || c.Version != cursorVersion || c.List != list || c.After == "" || strings.ContainsRune(c.After, 0) {
		return "", invalidCursor()
	}
	return c.After, nil
}

// readPage reads one page: one row more than asked for tells whether there is
// another.
func readPage[Row, Item any](
	q ListQuery, list string, read func(store.Page) ([]Row, error), name func(Row) string, show func(Row) Item,
) (page[Item], error) {
	var out page[Item]
	after, err := q.after(list)
	if err != nil {
		return out, err
	}
	rows, err := read(store.Page{Limit: q.Limit + 1, After: after})
	if _, ok := errors.AsType[*models.InvalidError](err); !ok && after != "" && errors.Is(err, models.ErrInvalid) {
		err = invalidCursor() // nothing in this list could be in that place
	}
	if err != nil {
		return out, under(err, "query")
	}
	if len(rows) > q.Limit {
		rows = rows[:q.Limit]
		next := encodeCursor(list, name(rows[len(rows)-1]))
		out.NextCursor = &next
	}
	out.Items = make([]Item, len(rows))
	for i, row := range rows {
		out.Items[i] = show(row)
	}
	return out, nil
}
