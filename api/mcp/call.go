package mcp

import (
	"bytes"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/10ex/flows/api"
)

// ask makes a request to the operation of the arguments. The faults are those that
// no place in a request could hold; all others are the operation's to find.
func (t *boundTool) ask(arguments json.RawMessage) (api.Call, []api.Fault) {
	call := api.Call{Operation: t.operation, Path: map[string]string{}, Query: url.Values{}, Header: map[string]string{}}
	given := map[string]json.RawMessage{}
	var faults []api.Fault
	blame := func(name, msg, typ string) { faults = append(faults, api.Fault{Loc: []any{name}, Msg: msg, Type: typ}) }
	if len(arguments) > 0 && json.Unmarshal(arguments, &given) != nil {
		faults = append(faults, api.Fault{Loc: []any{}, Msg: "must be an object", Type: "type"})
	}
	for name := range given {
		if _, known := t.takes[name]; !known {
			blame(name, "is not a known field", "unknown_field")
		}
	}
	members := map[string]json.RawMessage{}
	hasBody := false
	for name, a := range t.takes {
		value, ok := given[name]
		ok = ok && string(value) != "null"
		if a.to.in == "body" {
			hasBody = true
			if raw, there := given[name]; there {
				members[a.to.name] = raw
			}
			continue
		}
		if !ok {
			if a.to.in == "path" {
				blame(name, "is required", "missing")
			}
			continue
		}
		text, ok := textOf(value)
		switch {
		case !ok:
			blame(name, "must be text, a number, true or false, or a list of those", "type")
		case a.to.in == "path":
			call.Path[a.to.name] = text
		case a.to.in == "query":
			call.Query.Set(a.to.name, text)
		case a.to == prefer:
			call.Header[a.to.name] = "wait=" + text
			if n, err := strconv.Atoi(text); err != nil || n < 1 || n > longestWait {
				blame(name, "must be a whole number from 1 to "+strconv.Itoa(longestWait), "limit")
			}
		default:
			call.Header[a.to.name] = text
		}
	}
	if hasBody {
		call.Body = encode(members)
	}
	slices.SortFunc(faults, func(a, b api.Fault) int { return bytes.Compare(encode(a), encode(b)) })
	return call, faults
}

// textOf writes a value as paths, queries and headers hold it: a list with commas.
func textOf(raw json.RawMessage) (string, bool) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil {
		return "", false
	}
	list, ok := v.([]any)
	if !ok {
		list = []any{v}
	}
	words := make([]string, len(list))
	for i, item := range list {
		switch x := item.(type) {
		case string:
			words[i] = x
		case json.Number:
			words[i] = x.String()
		case bool:
			words[i] = strconv.FormatBool(x)
		default:
			return "", false
		}
	}
	return strings.Join(words, ","), true
}

// result makes a tool's result of an answer.
func (t *boundTool) result(answer *api.Answer) *mcp.CallToolResult {
	text := bytes.TrimSpace(answer.Body)
	switch {
	case !answer.OK():
		text = t.inArguments(text)
	case len(text) == 0:
		text = []byte(`{"done":true}`)
	}
	return &mcp.CallToolResult{
		IsError: !answer.OK(), StructuredContent: json.RawMessage(text), Content: []mcp.Content{&mcp.TextContent{Text: string(text)}},
	}
}

// inArguments names the places of a problem as the arguments they came from: who
// called the tool has never seen the request.
func (t *boundTool) inArguments(problem []byte) []byte {
	var p map[string]json.RawMessage
	var faults []api.Fault
	if json.Unmarshal(problem, &p) != nil || json.Unmarshal(p["errors"], &faults) != nil {
		return problem
	}
	for i, f := range faults {
		if len(f.Loc) == 1 && f.Loc[0] == "body" {
			faults[i].Loc = []any{}
		}
		if len(f.Loc) < 2 {
			continue
		}
		for name, a := range t.takes {
			if f.Loc[0] == a.to.in && f.Loc[1] == a.to.name {
				faults[i].Loc = append([]any{name}, f.Loc[2:]...)
				break
			}
		}
	}
	p["errors"] = encode(faults)
	return encode(p)
}

func encode(v any) []byte {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		panic("mcp: " + err.Error()) // JSON that was read, and texts, always marshal
	}
	return bytes.TrimSpace(b.Bytes())
}
