package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// given reads JSON that stands on the command line, in a file whose name follows @, or,
// for -, on the standard input.
func (p *program) given(flag, value string) (json.RawMessage, error) {
	raw := []byte(value)
	name, isFile := strings.CutPrefix(value, "@")
	if value == "-" {
		name, isFile = "-", true
	}
	if isFile {
		var err error
		if raw, err = p.file(flag, name); err != nil {
			return nil, err
		}
	}
	if !json.Valid(raw) {
		return nil, fmt.Errorf("%s is not JSON: it must be JSON, @FILE or - for the standard input", flag)
	}
	return raw, nil
}

// maxGiven is how much is read of a file: more than any server takes.
const maxGiven = 64 << 20

// file reads a file, or the standard input for -.
func (p *program) file(flag, name string) ([]byte, error) {
	from := p.stdin
	if name != "-" {
		f, err := os.Open(name) //nolint:gosec // G304: whoever runs the program names it
		if err != nil {
			return nil, fmt.Errorf("%s: %w", flag, err)
		}
		defer f.Close()
		from = f
	}
	raw, err := io.ReadAll(io.LimitReader(from, maxGiven+1))
	switch {
	case err != nil:
		return nil, fmt.Errorf("%s: %w", flag, err)
	case len(raw) > maxGiven:
		return nil, fmt.Errorf("%s: %s is too long", flag, name)
	}
	return raw, nil
}

// words are name=value pairs whose value is JSON or, where it is not, text.
func words(flag string, pairs []string) (map[string]any, error) {
	out := map[string]any{}
	for _, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || name == "" {
			return nil, fmt.Errorf("%s is %q: it must be NAME=VALUE", flag, pair)
		}
		if json.Valid([]byte(value)) {
			out[name] = json.RawMessage(value)
		} else {
			out[name] = value
		}
	}
	return out, nil
}
