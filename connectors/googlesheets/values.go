package googlesheets

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"

	"github.com/10ex/flows/connectors/rest"
)

// written is what was asked for with one of the actions that write.
type written struct {
	sheet
	Range  string                     `json:"range"`
	Values json.RawMessage            `json:"values"`
	Row    map[string]json.RawMessage `json:"row"`
	Column string                     `json:"column"`
	Raw    bool                       `json:"raw"`
}

func (in written) option() string {
	if in.Raw {
		return "RAW"
	}
	return "USER_ENTERED"
}

// updates is how Sheets tells what it wrote.
type updates struct {
	Range string `json:"updatedRange"`
	Rows  int    `json:"updatedRows"`
	Cells int    `json:"updatedCells"`
}

func (u updates) output() (json.RawMessage, error) {
	return rest.Marshal(map[string]any{"range": u.Range, "rows": u.Rows, "cells": u.Cells})
}

func appendRow(ctx context.Context, s *rest.Session) (json.RawMessage, error) {
	var in written
	if err := s.Input(&in); err != nil {
		return nil, err
	}
	row := in.Values
	if in.Row != nil {
		t, err := readTable(ctx, s, in.sheet, in.Range)
		if err != nil {
			return nil, err
		}
		if row, err = t.line(in.Row); err != nil {
			return nil, err
		}
	}
	u, err := in.append(ctx, s, []json.RawMessage{row})
	if err != nil {
		return nil, err
	}
	return u.output()
}

func appendRows(ctx context.Context, s *rest.Session) (json.RawMessage, error) {
	var in written
	if err := s.Input(&in); err != nil {
		return nil, err
	}
	u, err := in.append(ctx, s, in.Values)
	if err != nil {
		return nil, err
	}
	return u.output()
}

func (in written) append(ctx context.Context, s *rest.Session, rows any) (updates, error) {
	path, err := in.path(s, in.Range, ":append")
	if err != nil {
		return updates{}, err
	}
	a, err := s.Send(ctx, rest.Call{
		Method: http.MethodPost, Path: path, Body: map[string]any{"values": rows},
		Query: url.Values{"valueInputOption": {in.option()}, "insertDataOption": {"INSERT_ROWS"}},
	})
	if err != nil {
		return updates{}, err
	}
	var out struct {
		Updates updates `json:"updates"`
	}
	err = decodeInto(a, &out, &out.Updates)
	return out.Updates, err
}

// decodeInto reads an answer that has to hold what was written.
func decodeInto(a rest.Answer, into any, u *updates) error {
	if err := a.Decode(into); err != nil {
		return err
	}
	if u.Range == "" {
		return rest.Unexpected("updatedRange")
	}
	return nil
}

func updateRange(ctx context.Context, s *rest.Session) (json.RawMessage, error) {
	var in written
	if err := s.Input(&in); err != nil {
		return nil, err
	}
	u, err := in.update(ctx, s, in.Range, in.Values)
	if err != nil {
		return nil, err
	}
	return u.output()
}

func (in written) update(ctx context.Context, s *rest.Session, cells string, rows any) (updates, error) {
	path, err := in.path(s, cells, "")
	if err != nil {
		return updates{}, err
	}
	a, err := s.Send(ctx, rest.Call{
		Method: http.MethodPut, Path: path, Body: map[string]any{"values": rows}, Query: url.Values{"valueInputOption": {in.option()}},
	})
	if err != nil {
		return updates{}, err
	}
	var u updates
	err = decodeInto(a, &u, &u)
	return u, err
}

func clearRange(ctx context.Context, s *rest.Session) (json.RawMessage, error) {
	var in written
	if err := s.Input(&in); err != nil {
		return nil, err
	}
	path, err := in.path(s, in.Range, ":clear")
	if err != nil {
		return nil, err
	}
	a, err := s.Send(ctx, rest.Call{Method: http.MethodPost, Path: path, Body: struct{}{}})
	if err != nil {
		return nil, err
	}
	var out struct {
		Range string `json:"clearedRange"`
	}
	if err := a.Decode(&out); err != nil {
		return nil, err
	}
	return rest.Marshal(map[string]any{"range": out.Range})
}

func readRange(ctx context.Context, s *rest.Session) (json.RawMessage, error) {
	in := struct {
		sheet
		Range     string `json:"range"`
		Formatted bool   `json:"formatted"`
		Header    *bool  `json:"header"`
	}{}
	if err := s.Input(&in); err != nil {
		return nil, err
	}
	t, err := readValues(ctx, s, in.sheet, in.Range, in.Formatted)
	if err != nil {
		return nil, err
	}
	rows := []map[string]json.RawMessage{}
	if in.Header == nil || *in.Header {
		for i := 1; i < len(t.Values); i++ {
			rows = append(rows, t.named(i))
		}
	}
	return rest.Marshal(map[string]any{"range": t.Range, "values": t.Values, "rows": rows})
}

func lookupRow(ctx context.Context, s *rest.Session) (json.RawMessage, error) {
	in := struct {
		sheet
		Range  string          `json:"range"`
		Column string          `json:"column"`
		Value  json.RawMessage `json:"value"`
	}{}
	if err := s.Input(&in); err != nil {
		return nil, err
	}
	t, err := readTable(ctx, s, in.sheet, in.Range)
	if err != nil {
		return nil, err
	}
	i, err := t.find(in.Column, in.Value)
	switch {
	case err != nil:
		return nil, err
	case i == 0:
		return rest.Marshal(map[string]any{"found": false, "number": nil, "row": nil})
	}
	return rest.Marshal(map[string]any{"found": true, "number": t.first() + i, "row": t.named(i)})
}

func upsertRow(ctx context.Context, s *rest.Session) (json.RawMessage, error) {
	var in written
	if err := s.Input(&in); err != nil {
		return nil, err
	}
	value, ok := in.Row[in.Column]
	if !ok || text(value) == "" {
		return nil, rest.Invalid("row: has no value for the column %q", in.Column)
	}
	t, err := readTable(ctx, s, in.sheet, in.Range)
	if err != nil {
		return nil, err
	}
	i, err := t.find(in.Column, value)
	if err != nil {
		return nil, err
	}
	line, err := t.line(in.Row)
	if err != nil {
		return nil, err
	}
	var u updates
	if i == 0 {
		u, err = in.append(ctx, s, []json.RawMessage{line})
	} else {
		u, err = in.update(ctx, s, t.cells(i), []json.RawMessage{line})
	}
	if err != nil {
		return nil, err
	}
	return rest.Marshal(map[string]any{"range": u.Range, "created": i == 0})
}
