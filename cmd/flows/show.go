package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"unicode"
)

// shown is how commands for clients show what they were answered.
type shown struct {
	Output string `default:"table" enum:"json,table" help:"json as the API has it, or a table." placeholder:"json|table" short:"o"`
}

// column is a column of a table: a heading and the path to a field.
type column struct{ heading, field string }

// columns reads "HEADING field" pairs.
func columns(pairs ...string) []column {
	out := make([]column, 0, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		out = append(out, column{pairs[i], pairs[i+1]})
	}
	return out
}

// list shows a page of a list.
func (s shown) list(p *program, raw json.RawMessage, cols []column) error {
	if s.Output == "json" {
		return p.printRaw(raw)
	}
	var page struct {
		Items []map[string]any `json:"items"`
		Next  *string          `json:"next_cursor"`
	}
	if err := json.Unmarshal(raw, &page); err != nil {
		return err
	}
	if err := writeTable(p.stdout, page.Items, cols); err != nil {
		return err
	}
	if page.Next != nil {
		fmt.Fprintln(p.stderr, "There are more. --limit 0 shows all.")
	}
	return nil
}

// one shows one thing: a line for each field.
func (s shown) one(p *program, raw json.RawMessage, cols []column) error {
	if s.Output == "json" {
		return p.printRaw(raw)
	}
	var item map[string]any
	if err := json.Unmarshal(raw, &item); err != nil {
		return err
	}
	w := tabwriter.NewWriter(p.stdout, 0, 0, 2, ' ', 0)
	for _, c := range cols {
		if v := cell(item, c.field); v != "" {
			fmt.Fprintf(w, "%s\t%s\n", c.heading, v)
		}
	}
	return w.Flush()
}

func writeTable(to io.Writer, items []map[string]any, cols []column) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	line := func(text func(column) string) {
		cells := make([]string, len(cols))
		for i, c := range cols {
			cells[i] = text(c)
		}
		fmt.Fprintln(w, strings.TrimRight(strings.Join(cells, "\t"), "\t"))
	}
	line(func(c column) string { return c.heading })
	for _, item := range items {
		line(func(c column) string {
			if v := cell(item, c.field); v != "" {
				return v
			}
			return "-"
		})
	}
	return w.Flush()
}

// cell is a field as text. Its path is separated by dots; of several paths, separated
// by bars, the first one that leads to something counts.
func cell(item map[string]any, field string) string {
	for path := range strings.SplitSeq(field, "|") {
		var v any = item
		for name := range strings.SplitSeq(path, ".") {
			m, _ := v.(map[string]any)
			v = m[name]
		}
		if text := valueText(v); text != "" {
			return text
		}
	}
	return ""
}

func valueText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return brief(plain(v))
	case []any:
		words := make([]string, len(v))
		for i, one := range v {
			words[i] = valueText(one)
		}
		return brief(strings.Join(words, ","))
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return "?" // never: it was decoded from JSON
	}
	return brief(plain(strings.TrimSpace(b.String())))
}

// maxCell is how many characters of a field a table shows.
const maxCell = 100

func brief(s string) string {
	if r := []rune(s); len(r) > maxCell {
		return string(r[:maxCell-1]) + "…"
	}
	return s
}

// plain takes out of a text what would do something to a terminal.
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t' || r == '\r':
			return ' '
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r):
			return -1
		}
		return r
	}, s)
}

// printRaw writes JSON as it came, on one line.
func (p *program) printRaw(raw json.RawMessage) error {
	var line bytes.Buffer
	if err := json.Compact(&line, raw); err != nil {
		return err
	}
	line.WriteByte('\n')
	_, err := p.stdout.Write(line.Bytes())
	return err
}
