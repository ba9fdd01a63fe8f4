package openapi

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"slices"
	"strings"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/internal/egress"
)

// maxAddress is how long the address of a request may be.
const maxAddress = 16 << 10

// request builds what is sent for an input that fits the schema.
func (op *operation) request(ctx context.Context, server string, raw json.RawMessage) (*http.Request, error) {
	var in map[string]any
	if len(raw) > 0 {
		d := json.NewDecoder(bytes.NewReader(raw))
		d.UseNumber()
		if err := d.Decode(&in); err != nil {
			return nil, invalid("the input is not an object")
		}
	}
	path := op.Path
	var (
		query   []string
		headers = map[string]string{}
		cookies []string
	)
	for _, p := range op.Params {
		v, given := in[p.Field]
		if !given || v == nil {
			if p.In == "path" {
				return nil, invalid(p.Field + " is required")
			}
			continue
		}
		switch p.In {
		case "path":
			written, err := p.inPath(v)
			if err != nil {
				return nil, err
			}
			path = strings.ReplaceAll(path, "{"+p.Name+"}", written)
		case "query":
			query = append(query, p.inQuery(v)...)
		case "header":
			headers[p.Name] = p.simple(v, plain)
		case "cookie":
			cookies = append(cookies, p.inQuery(v)...)
		}
	}
	address := server + path
	if len(query) > 0 {
		address += "?" + strings.Join(query, "&")
	}
	if len(address) > maxAddress {
		return nil, invalid("the address is longer than can be sent")
	}
	u, err := egress.ParseURL(address)
	if err != nil {
		if blocked, ok := errors.AsType[*egress.BlockedError](err); ok {
			return nil, connectors.Permanent(connectors.CodeBlocked, "%w", blocked)
		}
		return nil, invalid("the address " + err.Error())
	}
	if at, err := url.Parse(server); err != nil || u.Host != at.Host || u.Scheme != at.Scheme {
		return nil, invalid("the address leaves the server") // no value can bring it there; this says so
	}
	header, err := egress.Headers(headers)
	if refused, ok := errors.AsType[*egress.HeaderError](err); ok {
		return nil, invalid(refused.Error())
	} else if err != nil {
		return nil, err
	}
	content, media, err := op.content(in["body"])
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, op.Method, u.String(), content)
	if err != nil {
		return nil, invalid("the method or the address is not valid")
	}
	req.Header = header
	if media != "" {
		req.Header.Set("Content-Type", media)
	}
	accept := op.Accept
	if accept == "" {
		accept = "application/json, */*;q=0.5"
	}
	req.Header.Set("Accept", accept)
	if len(cookies) > 0 {
		req.Header.Set("Cookie", strings.Join(cookies, "; "))
	}
	return req, nil
}

// content writes the body of a request.
func (op *operation) content(v any) (io.Reader, string, error) {
	if op.Body == nil || v == nil {
		return nil, "", nil
	}
	b := op.Body
	switch b.Form {
	case formJSON:
		raw, err := json.Marshal(v)
		return bytes.NewReader(raw), b.Media, err
	case formURL:
		fields, ok := v.(map[string]any)
		if !ok {
			return nil, "", invalid("body must be an object")
		}
		return strings.NewReader(strings.Join(b.formPairs(fields), "&")), b.Media, nil
	case formMultipart:
		fields, ok := v.(map[string]any)
		if !ok {
			return nil, "", invalid("body must be an object")
		}
		return b.multipart(fields)
	case formText:
		return strings.NewReader(plainText(v)), b.Media, nil
	case formBytes:
		s, _ := v.(string)
		raw, err := base64.StdEncoding.DecodeString(s)
		if err != nil {
			return nil, "", invalid("body is not in base64")
		}
		return bytes.NewReader(raw), b.Media, nil
	}
	return nil, "", invalid("the body cannot be written")
}

// formPairs writes the fields of a form as it goes into an address or a body.
func (b *body) formPairs(fields map[string]any) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		v := fields[name]
		how := b.Parts[name]
		if v == nil {
			continue
		}
		p := param{Name: name, In: "query", Style: how.Style, Explode: how.Explode}
		switch {
		case how.Style == "" && (isObject(v) || holdsObjects(v)) && (how.Media == "" || connectors.IsJSON(how.Media)):
			p.Style, p.JSON = "form", true
		case how.Style == "":
			p.Style, p.Explode = "form", true
		}
		out = append(out, p.inQuery(v)...)
	}
	return out
}

func (b *body) multipart(fields map[string]any) (io.Reader, string, error) {
	var out bytes.Buffer
	w := multipart.NewWriter(&out)
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		values, isList := fields[name].([]any)
		how := b.Parts[name]
		if !isList || holdsObjects(values) && !how.File || how.Media == "application/json" {
			values = []any{fields[name]}
		}
		for _, v := range values {
			if v == nil {
				continue
			}
			if err := writePart(w, name, how, v); err != nil {
				return nil, "", err
			}
		}
	}
	if err := w.Close(); err != nil {
		return nil, "", err
	}
	return &out, w.FormDataContentType(), nil
}

func writePart(w *multipart.Writer, name string, how part, v any) error {
	var content []byte
	var err error
	media, filename := how.Media, ""
	switch v := v.(type) {
	case map[string]any:
		if !how.File {
			if content, err = json.Marshal(v); err != nil {
				return err
			}
			media = orElse(media, "application/json")
			break
		}
		if content, err = base64.StdEncoding.DecodeString(plainText(v["base64"])); err != nil {
			return invalid("body." + name + ".base64 is not in base64")
		}
		filename = orElse(plainText(v["filename"]), name)
		media = orElse(plainText(v["content_type"]), orElse(media, "application/octet-stream"))
	case []any:
		if content, err = json.Marshal(v); err != nil {
			return err
		}
		media = orElse(media, "application/json")
	default:
		content = []byte(plainText(v))
		if how.File {
			filename, media = name, orElse(media, "text/plain; charset=utf-8")
		}
	}
	quote := strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\r", "", "\n", "")
	h := textproto.MIMEHeader{}
	disposition := fmt.Sprintf(`form-data; name="%s"`, quote.Replace(name))
	if filename != "" {
		disposition += fmt.Sprintf(`; filename="%s"`, quote.Replace(filename))
	}
	h.Set("Content-Disposition", disposition)
	if media != "" {
		h.Set("Content-Type", strings.NewReplacer("\r", "", "\n", "").Replace(media))
	}
	p, err := w.CreatePart(h)
	if err != nil {
		return err
	}
	_, err = p.Write(content)
	return err
}

func orElse(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func invalid(message string) error {
	return connectors.Permanent(connectors.CodeInputInvalid, "%s", message)
}
