package enginetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"

	"github.com/10ex/flows/models"
)

// ParseFlow reads a flow. It is either JSON: a graph, or an object with graph,
// input_schema, output and settings as a workflow has them; or it is a drawing, one line for
// a step or an edge:
//
//	enrich: agent {"agent": "prospector"}
//	route: branch
//	a+b -> c
//	enrich -> alert on error
//	route -> call when steps.enrich.output.score > 80
//	route -> cool default
//	output: {"score": "{{ steps.enrich.output.score }}"}
//
// The JSON behind a kind of step holds its other fields. A step that only edges
// name, and one of kind step, is action set of connector core, which gives its
// input as its output.
func ParseFlow(text string) (*models.Version, error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, "{") {
		return parseJSON([]byte(text))
	}
	d := drawing{v: &models.Version{Graph: &models.Graph{Edges: []models.Edge{}}}}
	for line := range strings.SplitSeq(text, "\n") {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "# ") {
			continue
		}
		if err := d.line(line); err != nil {
			return nil, fmt.Errorf("%q: %w", line, err)
		}
	}
	return d.v, nil
}

func parseJSON(text []byte) (*models.Version, error) {
	var top map[string]json.RawMessage
	if err := json.Unmarshal(text, &top); err != nil {
		return nil, err
	}
	v := &models.Version{}
	if _, ok := top["graph"]; !ok {
		return v, strict(text, &v.Graph)
	}
	for name, raw := range top {
		switch name {
		case "graph":
			if err := strict(raw, &v.Graph); err != nil {
				return nil, err
			}
		case "input_schema":
			v.InputSchema = raw
		case "output":
			v.Output = raw
		case "settings":
			v.Settings = raw
		default:
			return nil, fmt.Errorf("a flow has no %q", name)
		}
	}
	return v, nil
}

func strict(raw []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	return dec.Decode(into)
}

type drawing struct{ v *models.Version }

var (
	stepLine = regexp.MustCompile(`^([\w-]+): (\w+)(?: (\{.*\}))?$`)
	partLine = regexp.MustCompile(`^(output|input_schema|settings): (.+)$`)
	edgeLine = regexp.MustCompile(`^([\w+-]+) -> ([\w-]+)(?: (default)| on (\w+)| when (.+))?$`)
)

func (d *drawing) line(line string) error {
	if m := partLine.FindStringSubmatch(line); m != nil {
		if !json.Valid([]byte(m[2])) {
			return fmt.Errorf("%s is not JSON", m[1])
		}
		switch m[1] {
		case "output":
			d.v.Output = json.RawMessage(m[2])
		case "settings":
			d.v.Settings = json.RawMessage(m[2])
		default:
			d.v.InputSchema = json.RawMessage(m[2])
		}
		return nil
	}
	if m := stepLine.FindStringSubmatch(line); m != nil {
		return d.step(m[1], m[2], m[3])
	}
	edges := []string{line}
	if !strings.Contains(line, " when ") {
		edges = strings.Split(line, ", ")
	}
	for _, e := range edges {
		m := edgeLine.FindStringSubmatch(e)
		if m == nil {
			return fmt.Errorf("neither a step nor an edge")
		}
		for from := range strings.SplitSeq(m[1], "+") {
			d.v.Graph.Edges = append(d.v.Graph.Edges, models.Edge{
				From: d.named(from), To: d.named(m[2]), Default: m[3] != "", On: models.EdgeOn(m[4]), When: m[5],
			})
		}
	}
	return nil
}

func (d *drawing) step(id, kind, fields string) error {
	s := models.GraphStep{ID: id, Type: models.StepType(kind)}
	if kind == "step" {
		s = set(id)
	}
	if fields != "" {
		if err := strict([]byte(fields), &s); err != nil {
			return err
		}
	}
	for i, have := range d.v.Graph.Steps {
		if have.ID == id {
			d.v.Graph.Steps[i] = s
			return nil
		}
	}
	d.v.Graph.Steps = append(d.v.Graph.Steps, s)
	return nil
}

func (d *drawing) named(id string) string {
	for _, s := range d.v.Graph.Steps {
		if s.ID == id {
			return id
		}
	}
	d.v.Graph.Steps = append(d.v.Graph.Steps, set(id))
	return id
}

func set(id string) models.GraphStep {
	return models.GraphStep{ID: id, Type: models.StepTypeConnector, Connector: "core", Action: "set"}
}
