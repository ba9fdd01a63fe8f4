package hubspot

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/10ex/flows/connectors"
	"github.com/10ex/flows/connectors/rest"
)

// object is one of the kinds of records, which all are asked for in the same way.
type object struct {
	one, many string // in actions and in addresses
	// unique is the property of which HubSpot itself keeps values unique; empty: none.
	unique string
	// links are the other kinds that a record is often made with, by the field of the
	// input that names one, with HubSpot's number for that relation.
	links map[string]int
}

var (
	contacts  = object{one: "contact", many: "contacts", unique: "email", links: map[string]int{"company_id": 279}}
	companies = object{one: "company", many: "companies", links: map[string]int{"contact_id": 280}}
	deals     = object{one: "deal", many: "deals", links: map[string]int{"contact_id": 3, "company_id": 341}}
	notes     = object{one: "note", many: "notes", links: map[string]int{"contact_id": 202, "company_id": 190, "deal_id": 214}}
)

// association is a relation to be made together with a record.
type association struct {
	To    map[string]string `json:"to"`
	Types []associationType `json:"types"`
}

type associationType struct {
	Category string `json:"associationCategory"`
	ID       int    `json:"associationTypeId"`
}

// asked is the input of every action on records.
type asked struct {
	ID         string                     `json:"id"`
	By         string                     `json:"id_property"`
	Properties map[string]json.RawMessage `json:"properties"`
	Give       []string                   `json:"return_properties"`
	ContactID  string                     `json:"contact_id"`
	CompanyID  string                     `json:"company_id"`
	DealID     string                     `json:"deal_id"`
	Filters    json.RawMessage            `json:"filters"`
	Query      string                     `json:"query"`
	Sort       string                     `json:"sort"`
	Limit      int                        `json:"limit"`
	After      string                     `json:"after"`
	Body       string                     `json:"body"`
	At         string                     `json:"at"`
	ListID     string                     `json:"list_id"`
	RecordIDs  []string                   `json:"record_ids"`
	FromType   string                     `json:"from_type"`
	FromID     string                     `json:"from_id"`
	ToType     string                     `json:"to_type"`
	ToID       string                     `json:"to_id"`
}

func (o object) associations(in asked) []association {
	out := []association{}
	for _, link := range []struct{ field, id string }{{"contact_id", in.ContactID}, {"company_id", in.CompanyID}, {"deal_id", in.DealID}} {
		if number, known := o.links[link.field]; known && link.id != "" {
			out = append(out, association{map[string]string{"id": link.id}, []associationType{{"HUBSPOT_DEFINED", number}}})
		}
	}
	return out
}

// record is a record as HubSpot gives it.
type record struct {
	ID         string          `json:"id"`
	Properties json.RawMessage `json:"properties"`
	CreatedAt  *string         `json:"createdAt"`
	UpdatedAt  *string         `json:"updatedAt"`
	New        bool            `json:"new"`
}

func (r record) output() (map[string]any, error) {
	if r.ID == "" {
		return nil, rest.Unexpected("id")
	}
	properties := r.Properties
	if len(properties) == 0 || properties[0] != '{' {
		properties = json.RawMessage("{}")
	}
	return map[string]any{"id": r.ID, "properties": properties, "created_at": r.CreatedAt, "updated_at": r.UpdatedAt}, nil
}

func give(a rest.Answer, more func(r record, out map[string]any)) (json.RawMessage, error) {
	var r record
	if err := a.Decode(&r); err != nil {
		return nil, err
	}
	out, err := r.output()
	if err != nil {
		return nil, err
	}
	if more != nil {
		more(r, out)
	}
	return rest.Marshal(out)
}

func (o object) create(ctx context.Context, s *rest.Session, in asked) (json.RawMessage, error) {
	a, err := s.Send(ctx, rest.Call{Method: http.MethodPost, Path: objects + "/" + o.many, Body: map[string]any{
		"properties": in.Properties, "associations": o.associations(in),
	}})
	if err != nil {
		return nil, err
	}
	return give(a, nil)
}

// at is the address of a record.
func (o object) at(in asked) (string, url.Values, error) {
	path, err := rest.Path(objects+"/"+o.many+"/{}", in.ID)
	query := url.Values{}
	if in.By != "" {
		query.Set("idProperty", in.By)
	}
	return path, query, err
}

func (o object) update(ctx context.Context, s *rest.Session, in asked) (json.RawMessage, error) {
	path, query, err := o.at(in)
	if err != nil {
		return nil, err
	}
	a, err := s.Send(ctx, rest.Call{Method: http.MethodPatch, Path: path, Query: query, Body: map[string]any{"properties": in.Properties}})
	if err != nil {
		return nil, err
	}
	return give(a, nil)
}

// get looks a record up. That there is none is an answer, for flows ask in order to know.
func (o object) get(ctx context.Context, s *rest.Session, in asked) (json.RawMessage, error) {
	path, query, err := o.at(in)
	if err != nil {
		return nil, err
	}
	if len(in.Give) > 0 {
		query.Set("properties", strings.Join(in.Give, ","))
	}
	a, err := s.Send(ctx, rest.Call{Method: http.MethodGet, Path: path, Query: query, Read: true, Accept: isMissing})
	switch {
	case err != nil:
		return nil, err
	case a.Status == http.StatusNotFound:
		return rest.Marshal(map[string]any{"found": false, "id": nil, "properties": struct{}{}, "created_at": nil, "updated_at": nil})
	}
	return give(a, func(_ record, out map[string]any) { out["found"] = true })
}

func isMissing(a rest.Answer) bool { return a.Status == http.StatusNotFound }

// upsert makes or changes the record that has a value in a property of its own. HubSpot
// does so with many at once only, and says 207 where one of them failed.
func (o object) upsert(ctx context.Context, s *rest.Session, in asked) (json.RawMessage, error) {
	by := in.By
	if by == "" {
		by = o.unique
	}
	a, err := s.Send(ctx, rest.Call{Method: http.MethodPost, Path: objects + "/" + o.many + "/batch/upsert", Body: map[string]any{
		"inputs": []any{map[string]any{"id": in.ID, "idProperty": by, "properties": in.Properties}},
	}})
	if err != nil {
		return nil, err
	}
	var out struct {
		Results []record `json:"results"`
		Errors  []struct {
			Message string `json:"message"`
		} `json:"errors"`
	}
	if err := a.Decode(&out); err != nil {
		return nil, err
	}
	if len(out.Results) == 0 {
		if len(out.Errors) > 0 {
			return nil, connectors.Permanent(codeRefused, "HubSpot refused: %s", shorten(s.Request.Connection.Redactor().Text(out.Errors[0].Message)))
		}
		return nil, rest.Unexpected("results")
	}
	r := out.Results[0]
	given, err := r.output()
	if err != nil {
		return nil, err
	}
	given["created"] = r.New
	return rest.Marshal(given)
}

const (
	// codeRefused is the code of a failure that HubSpot tells of in a success.
	codeRefused = "hubspot_refused"
	maxHint     = 200
)

func shorten(s string) string {
	if runes := []rune(s); len(runes) > maxHint {
		return string(runes[:maxHint]) + "…"
	}
	return s
}

func (o object) search(ctx context.Context, s *rest.Session, in asked) (json.RawMessage, error) {
	body := map[string]any{}
	if len(in.Filters) > 0 && string(in.Filters) != "null" {
		filters, err := filtersOf(in.Filters)
		if err != nil {
			return nil, err
		}
		body["filterGroups"] = []any{map[string]any{"filters": filters}}
	}
	if in.Query != "" {
		body["query"] = in.Query
	}
	if name, descending := strings.CutPrefix(in.Sort, "-"); name != "" {
		direction := "ASCENDING"
		if descending {
			direction = "DESCENDING"
		}
		body["sorts"] = []any{map[string]string{"propertyName": name, "direction": direction}}
	}
	if len(in.Give) > 0 {
		body["properties"] = in.Give
	}
	if in.Limit > 0 {
		body["limit"] = in.Limit
	}
	if in.After != "" {
		body["after"] = in.After
	}
	a, err := s.Send(ctx, rest.Call{Method: http.MethodPost, Path: objects + "/" + o.many + "/search", Body: body, Read: true})
	if err != nil {
		return nil, err
	}
	var page struct {
		Total   *int64   `json:"total"`
		Results []record `json:"results"`
		Paging  struct {
			Next struct {
				After *string `json:"after"`
			} `json:"next"`
		} `json:"paging"`
	}
	if err := a.Decode(&page); err != nil {
		return nil, err
	}
	if page.Results == nil {
		return nil, rest.Unexpected("results")
	}
	items := make([]map[string]any, len(page.Results))
	for i, r := range page.Results {
		if items[i], err = r.output(); err != nil {
			return nil, err
		}
	}
	return rest.Marshal(map[string]any{"items": items, "total": page.Total, "after": page.Paging.Next.After})
}

// filtersOf puts filters into HubSpot's words.
func filtersOf(raw json.RawMessage) ([]map[string]any, error) {
	var filters []struct {
		Property string          `json:"property"`
		Operator string          `json:"operator"`
		Value    json.RawMessage `json:"value"`
		Values   json.RawMessage `json:"values"`
	}
	if json.Unmarshal(raw, &filters) != nil {
		return nil, rest.Invalid("filters: is not valid")
	}
	out := make([]map[string]any, len(filters))
	for i, f := range filters {
		out[i] = map[string]any{"propertyName": f.Property, "operator": "EQ"}
		if f.Operator != "" {
			out[i]["operator"] = f.Operator
		}
		if len(f.Value) > 0 {
			out[i]["value"] = f.Value
		}
		if len(f.Values) > 0 {
			out[i]["values"] = f.Values
		}
	}
	return out, nil
}
