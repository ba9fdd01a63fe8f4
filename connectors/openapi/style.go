package openapi

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
)

// escape writes one piece of a value; which characters need it depends on the place.
type escape func(string) string

func plain(s string) string { return s }

// strict leaves only what may stand anywhere in an address.
func strict(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// reserved leaves also what has a meaning in a query but for & and #, which would end
// the value, and + and %, which would become something else.
func reserved(s string) string {
	var out strings.Builder
	for _, c := range []byte(s) {
		if strings.IndexByte(":/?[]@!$'()*,;=-._~", c) >= 0 || c >= '0' && c <= '9' || c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' {
			out.WriteByte(c)
			continue
		}
		fmt.Fprintf(&out, "%%%02X", c)
	}
	return out.String()
}

// inPath writes a parameter into the path.
func (p param) inPath(v any) (string, error) {
	var out string
	switch p.Style {
	case "label":
		separator := ","
		if p.Explode {
			separator = "."
		}
		out = "." + p.joined(v, strict, separator)
	case "matrix":
		out = p.matrix(v)
	default:
		out = p.simple(v, strict)
	}
	// An empty segment, and dots alone, would name another path.
	if out == "" || strings.Trim(out, ".") == "" {
		return "", invalid(p.Field + " must not be empty or dots alone")
	}
	return out, nil
}

func (p param) matrix(v any) string {
	name := ";" + strict(p.Name)
	switch v := v.(type) {
	case []any:
		if p.Explode {
			var out strings.Builder
			for _, one := range v {
				out.WriteString(name + "=" + strict(plainText(one)))
			}
			return out.String()
		}
	case map[string]any:
		if p.Explode {
			var out strings.Builder
			for _, key := range slices.Sorted(maps.Keys(v)) {
				out.WriteString(";" + strict(key) + "=" + strict(plainText(v[key])))
			}
			return out.String()
		}
	}
	return name + "=" + p.joined(v, strict, ",")
}

// simple writes a value as a list with commas.
func (p param) simple(v any, esc escape) string {
	if p.JSON {
		return esc(asJSON(v))
	}
	return p.joined(v, esc, ",")
}

// joined writes lists and objects with a separator between their parts.
func (p param) joined(v any, esc escape, separator string) string {
	var parts []string
	switch v := v.(type) {
	case []any:
		for _, one := range v {
			parts = append(parts, esc(plainText(one)))
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if p.Explode {
				parts = append(parts, esc(key)+"="+esc(plainText(v[key])))
				continue
			}
			parts = append(parts, esc(key), esc(plainText(v[key])))
		}
	default:
		return esc(plainText(v))
	}
	return strings.Join(parts, separator)
}

// inQuery writes a parameter as pairs of a query.
func (p param) inQuery(v any) []string {
	esc := strict
	if p.Reserved {
		esc = reserved
	}
	pair := func(name, value string) string { return strict(name) + "=" + value }
	if p.JSON {
		return []string{pair(p.Name, esc(asJSON(v)))}
	}
	if p.Style == "deepObject" {
		return deep(strict(p.Name), v, esc, nil)
	}
	separator := map[string]string{"spaceDelimited": "%20", "pipeDelimited": "%7C"}[p.Style]
	switch v := v.(type) {
	case []any:
		if !p.Explode {
			if separator == "" {
				separator = ","
			}
			return []string{pair(p.Name, p.joined(v, esc, separator))}
		}
		out := make([]string, 0, len(v))
		for _, one := range v {
			if one != nil {
				out = append(out, pair(p.Name, esc(plainText(one))))
			}
		}
		return out
	case map[string]any:
		if !p.Explode {
			if separator == "" {
				separator = ","
			}
			return []string{pair(p.Name, p.joined(v, esc, separator))}
		}
		var out []string
		for _, key := range slices.Sorted(maps.Keys(v)) {
			if v[key] != nil {
				out = append(out, pair(key, esc(plainText(v[key]))))
			}
		}
		return out
	}
	return []string{pair(p.Name, esc(plainText(v)))}
}

// deep writes an object as name[key]=value, at any depth; the standard leaves more
// than one level open, and this is how servers read it.
func deep(name string, v any, esc escape, out []string) []string {
	switch v := v.(type) {
	case nil:
		return out
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			out = deep(name+"["+strict(key)+"]", v[key], esc, out)
		}
		return out
	case []any:
		for i, one := range v {
			out = deep(fmt.Sprintf("%s[%d]", name, i), one, esc, out)
		}
		return out
	}
	return append(out, name+"="+esc(plainText(v)))
}

// plainText writes a value as text; what is more than one value becomes JSON.
func plainText(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case json.Number:
		return v.String()
	case bool:
		return fmt.Sprint(v)
	}
	return asJSON(v)
}

func asJSON(v any) string {
	raw, err := json.Marshal(v)
	if err != nil {
		return "" // it came from JSON
	}
	return string(raw)
}

func isObject(v any) bool { _, ok := v.(map[string]any); return ok }

func holdsObjects(v any) bool {
	list, _ := v.([]any)
	return slices.ContainsFunc(list, func(one any) bool {
		_, isList := one.([]any)
		return isList || isObject(one)
	})
}
