package store

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/10ex/flows/models"
)

// Tenant is what one workspace may see and do. Every statement it makes carries
// the workspace, so what belongs to another one is not found, as if it had never
// been. It may be used concurrently.
type Tenant struct {
	s  *Store
	ws models.WorkspaceID
}

// For gives the handle of a workspace. It does not ask whether there is one.
func (s *Store) For(ws models.WorkspaceID) *Tenant { return &Tenant{s: s, ws: ws} }

// Page is a part of a list, newest first. What a list is ordered by is unique
// and never changes, so pages neither skip nor repeat while rows arrive.
type Page struct {
	Limit int    // at most that many rows; 50 where it is 0
	After string // what the last row seen is ordered by, its id unless said otherwise; "" at the start
}

func (p Page) limit() int {
	if p.Limit <= 0 {
		return 50
	}
	return p.Limit
}

// mine restricts q to the workspace.
func (t *Tenant) mine(q *bun.SelectQuery) *bun.SelectQuery {
	return q.Where("?TableAlias.workspace_id = ?", t.ws)
}

// page reads a page of a list ordered by id into q's model.
func (t *Tenant) page(ctx context.Context, q *bun.SelectQuery, p Page) error {
	if err := checkText(p); err != nil {
		return err
	}
	if p.After != "" {
		q = q.Where("?TableAlias.id < ?", p.After)
	}
	return t.s.err(t.mine(q).OrderExpr("?TableAlias.id DESC").Limit(int64(p.limit())).Scan(ctx))
}

// alone runs fn, which is one statement that writes, outside of a transaction. On
// SQLite it waits for its turn as transactions do, see Store.write.
func (s *Store) alone(fn func(db bun.IDB) error) error {
	if s.dialect.embedded() {
		s.write.Lock()
		defer s.write.Unlock()
	}
	return s.err(fn(s.db))
}

// insert writes a new row; what names it for people goes into the conflict where
// it is not new.
func (s *Store) insert(ctx context.Context, db bun.IDB, row any, what string, name any) error {
	if err := checkText(row); err != nil {
		return err
	}
	_, err := db.NewInsert().Model(row).Exec(ctx)
	if err = s.err(err); errors.Is(err, models.ErrConflict) {
		return models.Conflict(models.CodeConflict, "%s %v exists already", what, name)
	}
	return err
}

// named puts the noun and its name in front of an error.
func named(what string, name any, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s %v: %w", what, name, err)
}

// checkText fails where a text in values holds the character NUL, which neither
// database keeps: PostgreSQL refuses it, and JSON would be changed on its way.
func checkText(values ...any) error {
	// In JSON there is one way to write it, however deep it lies.
	text, err := json.Marshal(values)
	if err != nil {
		return &models.InvalidError{Fields: []models.FieldError{{Loc: []any{}, Msg: "the value is not valid JSON", Type: "invalid"}}}
	}
	if !bytes.Equal(keepableJSON(text), text) {
		return &models.InvalidError{Fields: []models.FieldError{{Loc: []any{}, Msg: `text must not hold the character \u0000`, Type: "invalid"}}}
	}
	return nil
}
