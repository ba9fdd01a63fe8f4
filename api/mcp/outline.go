package mcp

// refused fits a problem: instructions say what it has, once for all tools.
var refused = map[string]any{"required": []string{"code", "detail", "request_id"}}

// outline is the schema of a result: what the operation answers, or a problem. It
// names the members of the answer, and of the rows of a list, with their types, and
// says no more of what lies deeper than that it is an object: every client is given
// it for every tool, so that whole schemas would be most of what a model reads before
// its first call. All it says is true; where it is silent, the OpenAPI document is not.
func (d *document) outline(op *operation) any {
	if op.output == nil {
		return nil
	}
	return map[string]any{"type": "object", "anyOf": []any{d.brief(op.output, 0), refused}}
}

// describers tells which tool says what its answer is like, by the answer: one that
// reads where there is one. The others that give the same need not say it again.
func (d *document) describers(tools []tool) map[string]string {
	out := map[string]string{}
	for _, want := range []bool{true, false} {
		for _, t := range tools {
			op := d.operations[t.operation]
			if op == nil || (t.effect == reads) != want {
				continue
			}
			if _, have := out[op.answers()]; !have {
				out[op.answers()] = t.name
			}
		}
	}
	return out
}

// answers names what an operation gives.
func (o *operation) answers() string {
	if ref, ok := o.output["$ref"].(string); ok {
		return ref
	}
	return o.name
}

// rowsAt is how deep the rows of a list lie.
const rowsAt = 2

// brief says of a schema what an outline has room for.
func (d *document) brief(schema map[string]any, depth int) map[string]any {
	schema, ok := d.resolve(schema)
	if !ok {
		return map[string]any{}
	}
	if either, ok := schema["oneOf"].([]any); ok {
		return d.orNull(either, depth)
	}
	out := map[string]any{}
	for _, key := range []string{"type", "enum", "const"} {
		if v, ok := schema[key]; ok {
			out[key] = v
		}
	}
	if items, ok := schema["items"].(map[string]any); ok {
		if b := d.brief(items, depth+1); len(b) > 0 {
			out["items"] = b
		}
	}
	properties, ok := schema["properties"].(map[string]any)
	if !ok || depth != 0 && depth != rowsAt {
		return out
	}
	members := map[string]any{}
	for name, member := range properties {
		m, _ := member.(map[string]any)
		members[name] = d.brief(m, depth+1)
	}
	out["properties"] = members
	return out
}

// orNull is the brief form of a value that may be null. Of other choices it says
// nothing.
func (d *document) orNull(either []any, depth int) map[string]any {
	var value map[string]any
	null := false
	for _, choice := range either {
		c, _ := choice.(map[string]any)
		if c["type"] == "null" {
			null = true
			continue
		}
		value = c
	}
	if !null || len(either) != 2 {
		return map[string]any{}
	}
	out := d.brief(value, depth)
	typ, ok := out["type"].(string)
	if !ok || out["enum"] != nil {
		return map[string]any{}
	}
	out["type"] = []any{typ, "null"}
	return out
}
