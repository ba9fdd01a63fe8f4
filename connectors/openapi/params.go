package openapi

import (
	"slices"
	"strings"
)

// Parameters that are not the author's to set: the connection and the connector do.
var reservedHeaders = []string{"accept", "content-type", "authorization", "content-length", "host", "idempotency-key", "user-agent", "connection", "transfer-encoding"}

const maxParams = 200

// params reads the parameters of an operation; its own go before those of the path.
func (c *compiler) params(op *operation, p place, in *input) error {
	own, err := c.paramList(p.op["parameters"])
	if err != nil {
		return err
	}
	shared, err := c.paramList(p.item["parameters"])
	if err != nil {
		return err
	}
	all := slices.Clone(own)
	for _, s := range shared {
		if !slices.ContainsFunc(own, func(o map[string]any) bool { return o["name"] == s["name"] && o["in"] == s["in"] }) {
			all = append(all, s)
		}
	}
	if len(all) > maxParams {
		return refuse("has an operation with more than %d parameters", maxParams)
	}
	// Path parameters first: where names collide, theirs stay as they are.
	slices.SortStableFunc(all, func(a, b map[string]any) int { return strings.Compare(order(a), order(b)) })
	for _, raw := range all {
		if err := c.param(op, raw, in); err != nil {
			return err
		}
	}
	for _, name := range serverVariable.FindAllStringSubmatch(p.path, -1) {
		if !slices.ContainsFunc(op.Params, func(p param) bool { return p.In == "path" && p.Name == name[1] }) {
			// Documents forget some.
			field := in.field(name[1], "path")
			in.properties[field] = map[string]any{"type": []any{"string", "number"}}
			in.required = append(in.required, field)
			op.Params = append(op.Params, param{Field: field, Name: name[1], In: "path", Style: "simple"})
		}
	}
	return nil
}

func order(p map[string]any) string {
	switch p["in"] {
	case "path":
		return "1"
	case "query":
		return "2"
	case "header":
		return "3"
	}
	return "4"
}

func (c *compiler) paramList(v any) ([]map[string]any, error) {
	list, _ := v.([]any)
	var out []map[string]any
	for _, one := range list {
		p, err := c.object(one)
		if err != nil {
			return nil, err
		}
		name, place := text(p["name"]), text(p["in"])
		if name == "" || !slices.Contains([]string{"path", "query", "header", "cookie"}, place) {
			continue
		}
		if place == "header" && slices.Contains(reservedHeaders, strings.ToLower(name)) || c.secrets[place+" "+name] {
			continue
		}
		out = append(out, p)
	}
	return out, nil
}

func (c *compiler) param(op *operation, raw map[string]any, in *input) error {
	p := param{Name: text(raw["name"]), In: text(raw["in"]), Style: text(raw["style"]), Reserved: flag(raw["allowReserved"], false)}
	p.Reserved = p.Reserved && p.In == "query" // elsewhere it could bring a cookie or a segment of its own
	if p.In == "path" && !strings.Contains(op.Path, "{"+p.Name+"}") {
		return nil
	}
	if p.Style == "" {
		p.Style = map[string]string{"path": "simple", "header": "simple", "query": "form", "cookie": "form"}[p.In]
	}
	p.Explode = flag(raw["explode"], p.Style == "form")
	described := raw["schema"]
	if content, ok := raw["content"].(map[string]any); ok && described == nil {
		for _, media := range content { // there is exactly one
			m, _ := media.(map[string]any)
			described, p.JSON = m["schema"], true
		}
	}
	schema, err := c.schemas.Schema(described)
	if err != nil {
		return err
	}
	p.Field = in.field(p.Name, p.In)
	in.properties[p.Field] = withDescription(schema, text(raw["description"]))
	if p.In == "path" || flag(raw["required"], false) {
		in.required = append(in.required, p.Field)
	}
	op.Params = append(op.Params, p)
	return nil
}

func withDescription(schema any, description string) any {
	s, ok := schema.(map[string]any)
	switch {
	case description == "":
		return schema
	case !ok || s["$ref"] != nil:
		return map[string]any{"description": clip(description, 600), "allOf": []any{schema}}
	}
	s["description"] = clip(description, 600)
	return s
}
