package http

import (
	"bytes"
	"context"
	"encoding/json"
	nethttp "net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/internal/egress"
)

// paginate says how a list that comes in pages is read as one.
type paginate struct {
	// By is how a page tells of the next one.
	By string `json:"by"`
	// Items is where in a page its part of the list is; "" means the page is the list.
	Items string `json:"items"`
	// Next is where in a page the cursor or the address of the next one is.
	Next string `json:"next"`
	// Param is the parameter of the query that takes the cursor or the number.
	Param string `json:"param"`
	// Start is the number of the first page; nil means 1.
	Start    *int `json:"start"`
	MaxPages int  `json:"max_pages"`
	MaxItems int  `json:"max_items"`
}

const (
	byLink   = "link"
	byCursor = "cursor"
	byPage   = "page"

	defaultPages, defaultItems = 10, 1000
	// maxList bounds the bytes of all items together.
	maxList = 10 << 20
)

const paginateSchema = `{
	"type": ["object", "null"],
	"description": "Reads a list that comes in pages: the body of the output is then the whole list, pages how many were read, and more whether the list went on.",
	"properties": {
		"by":        {"type": "string", "enum": ["link", "cursor", "page"], "description": "link: a page names the address of the next, in its Link header or at next. cursor: what stands at next goes into param. page: param is a number that goes up until a page is empty."},
		"items":     {"type": "string", "maxLength": 200, "description": "Where in a page its items are, such as data.list. Default: the page is the list."},
		"next":      {"type": "string", "minLength": 1, "maxLength": 200, "description": "Where in a page the cursor or the address of the next one is, such as meta.next."},
		"param":     {"type": "string", "minLength": 1, "maxLength": 200, "description": "Parameter of the query. Default: cursor, or page."},
		"start":     {"type": "integer", "minimum": 0, "maximum": 1000000, "description": "Number of the first page. Default: 1."},
		"max_pages": {"type": "integer", "minimum": 1, "maximum": 100, "description": "Default: 10."},
		"max_items": {"type": "integer", "minimum": 1, "maximum": 10000, "description": "Default: 1000."}
	},
	"required": ["by"],
	"additionalProperties": false
}`

// check tells what does not go together, and fills in what is left out.
func (p *paginate) check(method string) error {
	switch {
	case method != nethttp.MethodGet:
		return invalid("paginate: only GET comes in pages")
	case p.By == byCursor && p.Next == "":
		return invalid("paginate.next: is required with by cursor")
	case p.By == byPage && p.Next != "":
		return invalid("paginate.next: does not go with by page")
	case p.By == byLink && p.Param != "":
		return invalid("paginate.param: does not go with by link")
	case p.By != byPage && p.Start != nil:
		return invalid("paginate.start: goes with by page only")
	}
	if p.Param == "" {
		p.Param = p.By
	}
	if p.Start == nil {
		p.Start = new(1)
	}
	if p.MaxPages == 0 {
		p.MaxPages = defaultPages
	}
	if p.MaxItems == 0 {
		p.MaxItems = defaultItems
	}
	return nil
}

// pages is a list as far as it was read.
type pages struct {
	last  *page
	items []json.RawMessage
	bytes int
	read  int
	more  bool
}

// readPages reads page after page, each with a request like the first one.
func (c *Connector) readPages(ctx context.Context, in input, r connectors.Request) (json.RawMessage, error) {
	p := in.Paginate
	first, err := in.target(r.Connection)
	if err != nil {
		return nil, err
	}
	next := first
	if p.By == byPage {
		next = withParam(first, p.Param, strconv.Itoa(*p.Start))
	}
	var out pages
	seen := map[string]bool{}
	for next != nil {
		if out.read == p.MaxPages || len(out.items) >= p.MaxItems {
			out.more = true
			break
		}
		if seen[next.String()] {
			return nil, connectors.Permanent(connectors.CodeBadResponse, "page %d is followed by one that was read before", out.read)
		}
		seen[next.String()] = true
		req, err := in.requestTo(ctx, next, r.Connection, r.IdempotencyKey)
		if err != nil {
			return nil, err
		}
		if out.last, err = c.exchange(req); err != nil {
			return nil, err
		}
		out.read++
		n, err := out.add(p)
		if err != nil {
			return nil, err
		}
		if next, err = out.following(p, first, n); err != nil {
			return nil, err
		}
	}
	if len(out.items) > p.MaxItems {
		out.items, out.more = out.items[:p.MaxItems], true
	}
	return out.output()
}

// add takes the items of the last page in and tells how many there were.
func (o *pages) add(p *paginate) (int, error) {
	list, ok := at(o.last.body, p.Items)
	var items []json.RawMessage
	if ok && string(list) != "null" && json.Unmarshal(list, &items) != nil || !ok && p.Items == "" {
		where := "the body"
		if p.Items != "" {
			where = p.Items
		}
		return 0, connectors.Permanent(connectors.CodeBadResponse, "page %d has no list at %s", o.read, where)
	}
	o.items = append(o.items, items...)
	for _, item := range items {
		o.bytes += len(item)
	}
	if o.bytes > maxList {
		return 0, connectors.Permanent(connectors.CodeTooLarge, "the list is larger than %d bytes", maxList)
	}
	return len(items), nil
}

// following is the address of the page after the last one; nil where there is none.
func (o *pages) following(p *paginate, first *url.URL, n int) (*url.URL, error) {
	switch p.By {
	case byCursor:
		value, ok := at(o.last.body, p.Next)
		if !ok {
			return nil, nil //nolint:nilnil // the list has ended
		}
		cursor := scalar(value)
		if cursor == "" || cursor == "false" {
			return nil, nil //nolint:nilnil // so do some say it
		}
		return withParam(first, p.Param, cursor), nil
	case byPage:
		if n == 0 {
			return nil, nil //nolint:nilnil // the list has ended
		}
		return withParam(first, p.Param, strconv.Itoa(*p.Start+o.read)), nil
	}
	written := ""
	if p.Next == "" {
		written = nextLink(o.last.resp.Header)
	} else if value, ok := at(o.last.body, p.Next); ok {
		written = scalar(value)
	}
	if written == "" {
		return nil, nil //nolint:nilnil // the list has ended
	}
	u, err := o.last.resp.Request.URL.Parse(written)
	if err != nil {
		return nil, connectors.Permanent(connectors.CodeBadResponse, "page %d names a next one at no address", o.read)
	}
	// Headers of the author may hold secrets as well as the connection: they go where
	// the first request went and nowhere else.
	if !egress.SameOrigin(first, u) {
		return nil, connectors.Permanent(connectors.CodeHostNotAllowed, "page %d names a next one at another host, %s", o.read, u.Hostname())
	}
	return u, nil
}

// withParam gives u with one value for a parameter of its query.
func withParam(u *url.URL, name, value string) *url.URL {
	next := *u
	next.RawQuery = ""
	for pair := range strings.SplitSeq(u.RawQuery, "&") {
		key, _, _ := strings.Cut(pair, "=")
		if decoded, err := url.QueryUnescape(key); pair == "" || err == nil && decoded == name {
			continue
		}
		next.RawQuery += pair + "&"
	}
	next.RawQuery += url.QueryEscape(name) + "=" + url.QueryEscape(value)
	return &next
}

// at finds a value in JSON by names with dots between them.
func at(v json.RawMessage, path string) (json.RawMessage, bool) {
	if path == "" {
		return v, true
	}
	for name := range strings.SplitSeq(path, ".") {
		var object map[string]json.RawMessage
		if json.Unmarshal(v, &object) != nil {
			return nil, false
		}
		var ok bool
		if v, ok = object[name]; !ok {
			return nil, false
		}
	}
	return v, true
}

// scalar writes a text, number or true as it goes into an address; all else is "".
func scalar(v json.RawMessage) string {
	d := json.NewDecoder(bytes.NewReader(v))
	d.UseNumber()
	var value any
	if d.Decode(&value) != nil {
		return ""
	}
	s, _ := text(value)
	return s
}

var linkForm = regexp.MustCompile(`<([^>]*)>([^<]*)`)

// nextLink finds the address of the next page in the Link headers (RFC 8288).
func nextLink(h nethttp.Header) string {
	for _, m := range linkForm.FindAllStringSubmatch(strings.Join(h.Values("Link"), ", "), -1) {
		for param := range strings.SplitSeq(m[2], ";") {
			name, value, _ := strings.Cut(param, "=")
			value = strings.Trim(strings.TrimRight(strings.TrimSpace(value), ", "), `"`)
			if strings.EqualFold(strings.TrimSpace(name), "rel") {
				for rel := range strings.FieldsSeq(value) {
					if strings.EqualFold(rel, "next") {
						return m[1]
					}
				}
			}
		}
	}
	return ""
}

func (o *pages) output() (json.RawMessage, error) {
	if o.items == nil {
		o.items = []json.RawMessage{}
	}
	body, err := json.Marshal(o.items)
	if err != nil {
		return nil, err
	}
	return o.last.output(body, &o.read, &o.more)
}
