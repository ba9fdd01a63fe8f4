package api

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"sync"

	"github.com/danielgtaylor/huma/v2"

	"github.com/10ex/flows/models"
)

// ownErrors makes huma write our problems. huma keeps its maker of errors in
// package variables, so this is done once a process; ours needs nothing of a
// particular API.
var ownErrors = sync.OnceFunc(func() {
	huma.NewError = func(status int, msg string, errs ...error) huma.StatusError {
		return fromHuma(nil, status, msg, errs...)
	}
	huma.NewErrorWithContext = fromHuma
})

// fromHuma turns a refusal by huma into ours. Only its places and the texts of its
// own rules are used: others may repeat what the client sent.
func fromHuma(ctx huma.Context, status int, _ string, errs ...error) huma.StatusError {
	p := ofStatus(status)
	for _, err := range errs {
		var detail *huma.ErrorDetail
		if errors.As(err, &detail) && p.Status == http.StatusUnprocessableEntity {
			msg, typ := rule(detail)
			p.Errors = append(p.Errors, models.FieldError{Loc: locOf(detail.Location), Msg: msg, Type: typ})
		}
	}
	if ctx != nil {
		p.RequestID = requestID(ctx.Context())
	}
	return p
}

func rule(d *huma.ErrorDetail) (msg, typ string) {
	switch {
	case strings.HasPrefix(d.Message, "required "):
		return "is required", "missing"
	case strings.HasPrefix(d.Message, "expected number >") || strings.HasPrefix(d.Message, "expected number <") ||
		strings.HasPrefix(d.Message, "expected length"):
		return limitWords.Replace(d.Message), "limit"
	case strings.HasPrefix(d.Message, "expected value to be one of"):
		return "must be" + strings.ReplaceAll(strings.TrimPrefix(d.Message, "expected value to be"), `"`, ""), "enum"
	case d.Message == "invalid integer":
		return "must be a whole number", "type"
	case d.Message == "invalid boolean":
		return "must be true or false", "type"
	case strings.HasPrefix(d.Message, "invalid date/time"):
		return "must be a time as RFC 3339 has it", "format"
	}
	return "has a value that this field cannot hold", "invalid"
}

// limitWords says of a query what explain says of a body.
var limitWords = strings.NewReplacer(
	"expected number >= ", "must be at least ", "expected number <= ", "must be at most ",
	"expected length >= ", "must have at least this many characters: ", "expected length <= ", "must have at most this many characters: ",
)

// locOf reads huma's paths, such as query.limit and body.items[3].name.
func locOf(location string) []any {
	loc := []any{}
	for part := range strings.SplitSeq(location, ".") {
		name, rest, _ := strings.Cut(part, "[")
		if name != "" {
			loc = append(loc, name)
		}
		for rest != "" {
			var index string
			index, rest, _ = strings.Cut(rest, "]")
			if n, err := strconv.Atoi(index); err == nil {
				loc = append(loc, n)
			}
			rest = strings.TrimPrefix(rest, "[")
		}
	}
	return loc
}

func humaConfig(version string) huma.Config {
	format := huma.Format{
		Marshal: func(w io.Writer, v any) error {
			enc := json.NewEncoder(w)
			enc.SetEscapeHTML(false)
			return enc.Encode(v)
		},
		Unmarshal: json.Unmarshal,
	}
	return huma.Config{
		OpenAPI: &huma.OpenAPI{
			OpenAPI: "3.1.0",
			Info: &huma.Info{
				Title: "flows", Version: version,
				Description: "Durable flows of agents and connectors. Every operation but that for webhooks takes an API key as a bearer token.",
				License:     &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
			},
			Components: &huma.Components{
				Schemas: huma.NewMapRegistry("#/components/schemas/", schemaName),
				SecuritySchemes: map[string]*huma.SecurityScheme{
					securityName: {Type: "http", Scheme: "bearer", BearerFormat: "tnx_<prefix>_<secret>", Description: "An API key."}, //nolint:gosec // G101: the form of keys, and none itself
				},
			},
		},
		Formats:       map[string]huma.Format{"application/json": format, "json": format},
		DefaultFormat: "application/json",
	}
}

const securityName = "api_key"

// schemaName is what a type is called in the document: shapes have the names of
// what they describe.
func schemaName(t reflect.Type, hint string) string {
	return strings.TrimSuffix(huma.DefaultSchemaNamer(t, hint), "Shape")
}
