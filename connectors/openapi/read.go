package openapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/10ex/flows/connectors"
)

const (
	// maxValues bounds the values of a document, counted before and after aliases are
	// followed.
	maxValues = 2_000_000
	maxDepth  = 200
)

// read gives a document as values of encoding/json, with numbers as json.Number.
func read(raw []byte) (map[string]any, error) {
	raw = bytes.TrimPrefix(raw, []byte("\xef\xbb\xbf"))
	switch {
	case len(raw) > connectors.MaxDocument:
		return nil, refuse("is %d bytes, more than the %d allowed", len(raw), connectors.MaxDocument)
	case !utf8.Valid(raw):
		return nil, refuse("is not UTF-8")
	case marks(raw) > maxValues:
		// Counted first: a parser makes a hundred bytes of a comma.
		return nil, refuse("has more than %d values", maxValues)
	case depthOf(raw) > maxDepth:
		return nil, refuse("is nested deeper than %d levels", maxDepth)
	}
	var (
		document any
		err      error
	)
	if first := bytes.TrimLeft(raw, " \t\r\n"); len(first) > 0 && first[0] == '{' && json.Valid(raw) {
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		err = d.Decode(&document)
	} else {
		document, err = readYAML(raw)
	}
	if err != nil {
		return nil, err
	}
	root, ok := document.(map[string]any)
	if !ok {
		return nil, refuse("is not an OpenAPI document: it is no object")
	}
	return root, nil
}

// marks counts what separates values in JSON and YAML.
func marks(raw []byte) int {
	n := 0
	for _, c := range raw {
		switch c {
		case ',', '\n', '[', '{', '&', '*':
			n++
		}
	}
	return n
}

// depthOf is how deeply brackets are nested, at most. In YAML some stand in plain
// text, so it counts too many there, never too few.
func depthOf(raw []byte) int {
	open, deepest, inText := 0, 0, false
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '"':
			inText = !inText
		case c == '\\' && inText:
			i++
		case c == '\n':
			inText = false // text that goes on over lines is YAML; there the parser below counts
		case inText:
		case c == '{' || c == '[':
			open++
			deepest = max(deepest, open)
		case (c == '}' || c == ']') && open > 0:
			open--
		}
	}
	return deepest
}

func readYAML(raw []byte) (v any, err error) {
	defer func() {
		if recover() != nil { // the parser is not ours
			err = refuse("is neither valid JSON nor valid YAML")
		}
	}()
	var root yaml.Node
	if err := yaml.Unmarshal(raw, &root); err != nil {
		return nil, refuse("is neither valid JSON nor valid YAML")
	}
	if root.Kind != yaml.DocumentNode || len(root.Content) != 1 {
		return nil, refuse("is empty")
	}
	return (&yamlReader{}).value(root.Content[0], 0)
}

// yamlReader turns nodes into values. Aliases are followed and counted each time, so
// that one which doubles with every line comes to an end.
type yamlReader struct{ values int }

func (r *yamlReader) value(n *yaml.Node, depth int) (any, error) {
	if r.values++; r.values > maxValues {
		return nil, refuse("has more than %d values", maxValues)
	}
	if depth > maxDepth {
		return nil, refuse("is nested deeper than %d levels", maxDepth)
	}
	switch n.Kind {
	case yaml.AliasNode:
		return r.value(n.Alias, depth+1)
	case yaml.MappingNode:
		out := make(map[string]any, len(n.Content)/2)
		return out, r.mapping(n, out, depth)
	case yaml.SequenceNode:
		out := make([]any, len(n.Content))
		for i, one := range n.Content {
			var err error
			if out[i], err = r.value(one, depth+1); err != nil {
				return nil, err
			}
		}
		return out, nil
	case yaml.ScalarNode:
		return scalar(n), nil
	case yaml.DocumentNode:
	}
	return nil, refuse("is not valid YAML")
}

func (r *yamlReader) mapping(n *yaml.Node, out map[string]any, depth int) error {
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		v, err := r.value(value, depth+1)
		if err != nil {
			return err
		}
		if key.Tag == "!!merge" {
			if err := merge(out, v); err != nil {
				return err
			}
			continue
		}
		if key.Kind != yaml.ScalarNode {
			return refuse("has a key that is no text, in line %d", key.Line)
		}
		out[key.Value] = v
	}
	return nil
}

func merge(out map[string]any, v any) error {
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	for _, one := range list {
		m, ok := one.(map[string]any)
		if !ok {
			return refuse("merges something that is no object")
		}
		for key, v := range m {
			if _, own := out[key]; !own {
				out[key] = v
			}
		}
	}
	return nil
}

func scalar(n *yaml.Node) any {
	switch n.Tag {
	case "!!null":
		return nil
	case "!!bool":
		return strings.EqualFold(n.Value, "true")
	case "!!int":
		if json.Valid([]byte(n.Value)) {
			return json.Number(n.Value)
		}
		if i, err := strconv.ParseInt(strings.ReplaceAll(n.Value, "_", ""), 0, 64); err == nil {
			return json.Number(strconv.FormatInt(i, 10))
		}
	case "!!float":
		if json.Valid([]byte(n.Value)) {
			return json.Number(n.Value)
		}
		if f, err := strconv.ParseFloat(strings.ReplaceAll(n.Value, "_", ""), 64); err == nil && !math.IsInf(f, 0) && !math.IsNaN(f) {
			return json.Number(strconv.FormatFloat(f, 'f', -1, 64))
		}
	}
	return n.Value
}

func refuse(format string, args ...any) error {
	return connectors.Refuse("document", "the document %s", fmt.Sprintf(format, args...))
}
