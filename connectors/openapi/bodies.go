package openapi

import (
	"maps"
	"mime"
	"slices"
	"strings"

	"github.com/10ex/flows/connectors"
)

// formOf says how a body of a media type is written; empty for one that cannot be.
func formOf(media string) form {
	name, _, err := mime.ParseMediaType(media)
	switch {
	case err != nil:
		return ""
	case connectors.IsJSON(media):
		return formJSON
	case name == "*/*" || name == "application/*":
		return formJSON
	case name == "application/x-www-form-urlencoded":
		return formURL
	case name == "multipart/form-data":
		return formMultipart
	case strings.HasPrefix(name, "text/") || strings.HasSuffix(name, "xml") || strings.HasSuffix(name, "yaml"):
		return formText
	}
	return formBytes
}

// preference is the order in which the media types of a body are chosen.
var preference = []form{formJSON, formURL, formMultipart, formText, formBytes}

func (c *compiler) body(op *operation, p place, in *input) error {
	raw, err := c.object(p.op["requestBody"])
	if err != nil || raw == nil {
		return err
	}
	content, _ := raw["content"].(map[string]any)
	var chosen string
	best := len(preference)
	for _, media := range slices.Sorted(maps.Keys(content)) {
		if i := slices.Index(preference, formOf(media)); i >= 0 && i < best {
			chosen, best = media, i
		}
	}
	if chosen == "" {
		return nil
	}
	b := &body{Media: chosen, Form: preference[best]}
	if strings.Contains(chosen, "*") {
		b.Media = "application/json"
	}
	m, _ := content[chosen].(map[string]any)
	var schema any
	switch b.Form {
	case formText:
		schema = map[string]any{"type": "string"}
	case formBytes:
		schema = map[string]any{"type": "string", "contentEncoding": "base64", "description": "The bytes in base64."}
	case formURL, formMultipart:
		if schema, err = c.formSchema(b, m); err != nil {
			return err
		}
	case formJSON:
		if schema, err = c.schemas.Schema(m["schema"]); err != nil {
			return err
		}
	}
	name := in.field("body", "content")
	if name != "body" { // a parameter has the name: the body is the more usual one
		in.properties[name] = in.properties["body"]
		for i := range op.Params {
			if op.Params[i].Field == "body" {
				op.Params[i].Field = name
			}
		}
		for i := range in.required {
			if in.required[i] == "body" {
				in.required[i] = name
			}
		}
	}
	in.properties["body"] = withDescription(schema, text(raw["description"]))
	if flag(raw["required"], false) {
		in.required = append(in.required, "body")
	}
	op.Body = b
	return nil
}

// formSchema reads a form, whose fields say in encoding how they are written.
func (c *compiler) formSchema(b *body, media map[string]any) (any, error) {
	described, err := c.object(media["schema"])
	if err != nil {
		return nil, err
	}
	converted, err := c.schemas.Schema(described)
	if err != nil {
		return nil, err
	}
	schema, ok := converted.(map[string]any)
	if !ok {
		schema = map[string]any{}
	}
	if schema["type"] == nil && schema["allOf"] == nil && schema["anyOf"] == nil && schema["oneOf"] == nil {
		schema["type"] = "object"
	}
	encoding, _ := media["encoding"].(map[string]any)
	for name, e := range encoding {
		how, _ := e.(map[string]any)
		style := text(how["style"])
		b.set(name, part{Style: style, Explode: flag(how["explode"], style == "" || style == "form"), Media: text(how["contentType"])})
	}
	if b.Form != formMultipart {
		return schema, nil
	}
	properties, _ := described["properties"].(map[string]any)
	shown, _ := schema["properties"].(map[string]any)
	for name := range properties {
		field, err := c.object(properties[name])
		if err != nil {
			return nil, err
		}
		list := false
		if items, ok := field["items"].(map[string]any); ok && field["type"] == "array" {
			if field, err = c.object(items); err != nil {
				return nil, err
			}
			list = true
		}
		media := text(field["contentMediaType"])
		if field["format"] != "binary" && media != "application/octet-stream" {
			continue
		}
		p := b.Parts[name]
		p.File = true
		b.set(name, p)
		shown[name] = fileSchema
		if list {
			shown[name] = map[string]any{"type": "array", "items": fileSchema}
		}
	}
	return schema, nil
}

func (b *body) set(name string, p part) {
	if b.Parts == nil {
		b.Parts = map[string]part{}
	}
	b.Parts[name] = p
}

// fileSchema is what a file in a form is given as.
var fileSchema = map[string]any{
	"description": "The text of the file, or its bytes in base64.",
	"type":        []any{"string", "object"},
	"properties": map[string]any{
		"filename":     map[string]any{"type": "string", "maxLength": 255},
		"content_type": map[string]any{"type": "string", "maxLength": 255},
		"base64":       map[string]any{"type": "string"},
	},
	"required": []any{"base64"}, "additionalProperties": false,
}

// output describes what an action gives: the answer of the statuses of success.
func (c *compiler) output(op *operation, raw map[string]any) (map[string]any, error) {
	responses, _ := raw["responses"].(map[string]any)
	var bodies []any
	var accept []string
	for _, status := range slices.Sorted(maps.Keys(responses)) {
		if len(status) != 3 || status[0] != '2' {
			continue
		}
		r, err := c.object(responses[status])
		if err != nil {
			return nil, err
		}
		content, _ := r["content"].(map[string]any)
		if len(content) == 0 {
			bodies = append(bodies, map[string]any{"type": "null"})
		}
		for _, media := range slices.Sorted(maps.Keys(content)) {
			if strings.Contains(media, "*") {
				media = ""
			}
			if media != "" && !slices.Contains(accept, media) {
				accept = append(accept, media)
			}
			if !connectors.IsJSON(media) {
				continue
			}
			m, _ := content[media].(map[string]any)
			schema, err := c.schemas.Schema(m["schema"])
			if err != nil {
				return nil, err
			}
			bodies = append(bodies, schema)
		}
	}
	slices.SortStableFunc(accept, func(a, b string) int {
		return slices.Index(preference, formOf(a)) - slices.Index(preference, formOf(b))
	})
	op.Accept = clip(strings.Join(accept, ", "), 300)
	var answered any = map[string]any{}
	switch len(bodies) {
	case 0:
	case 1:
		answered = bodies[0]
	default:
		answered = map[string]any{"anyOf": bodies}
	}
	return map[string]any{
		"type": "object",
		"properties": map[string]any{
			"status":  map[string]any{"type": "integer"},
			"headers": map[string]any{"type": "object", "additionalProperties": map[string]any{"type": "string"}},
			"body":    answered,
		},
		"required": []any{"status", "headers", "body"},
	}, nil
}
