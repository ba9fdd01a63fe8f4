package templates

import (
	"bytes"
	"cmp"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/10ex/flows/models"
)

//go:embed gallery
var files embed.FS

// Gallery is the templates that are built in. It does not change.
type Gallery struct {
	all    []*models.Template // the newest first
	bySlug map[string]*models.Template
}

// file is a template as it is written down.
type file struct {
	Slug        string                `json:"slug"`
	Name        string                `json:"name"`
	Description string                `json:"description"`
	Category    string                `json:"category"`
	Version     int                   `json:"version"`
	Status      models.TemplateStatus `json:"status"`
	CreatedAt   time.Time             `json:"created_at"`
	models.TemplateDocument
}

// Load reads the gallery.
func Load() (*Gallery, error) { return load(files) }

func load(from fs.FS) (*Gallery, error) {
	paths, err := fs.Glob(from, "gallery/*.json")
	if err != nil {
		return nil, fmt.Errorf("gallery: %w", err)
	}
	g := &Gallery{bySlug: make(map[string]*models.Template, len(paths))}
	for _, path := range paths {
		raw, err := fs.ReadFile(from, path)
		if err != nil {
			return nil, fmt.Errorf("gallery: %w", err)
		}
		t, err := parse(raw)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if want := "gallery/" + t.Slug + ".json"; path != want {
			return nil, fmt.Errorf("%s: its slug makes it %s: %w", path, want, models.ErrInvalid)
		}
		g.all = append(g.all, t)
		g.bySlug[t.Slug] = t
	}
	slices.SortFunc(g.all, func(a, b *models.Template) int {
		return cmp.Or(b.CreatedAt.Compare(a.CreatedAt), strings.Compare(b.Slug, a.Slug))
	})
	return g, nil
}

func parse(raw []byte) (*models.Template, error) {
	var f file
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil {
		return nil, err
	}
	f.Requires = requirements(&f.TemplateDocument)
	return &models.Template{
		Slug: f.Slug, Name: f.Name, Description: f.Description, Category: f.Category, Version: f.Version, Status: f.Status,
		TriggerTypes: triggerTypes(&f.TemplateDocument), Document: f.TemplateDocument, CreatedAt: f.CreatedAt, FirstAt: f.CreatedAt,
	}, nil
}

// All gives every template, the newest first. They must not be changed.
func (g *Gallery) All() []*models.Template { return g.all }

// Get gives the template with a slug. It must not be changed.
func (g *Gallery) Get(slug string) (*models.Template, bool) {
	t, ok := g.bySlug[slug]
	return t, ok
}

// triggerTypes are the types of a document's triggers, in alphabetical order.
func triggerTypes(doc *models.TemplateDocument) []string {
	types := []string{}
	for _, raw := range doc.Triggers {
		var t struct {
			Type string `json:"type"`
		}
		if json.Unmarshal(raw, &t) == nil && t.Type != "" {
			types = append(types, t.Type)
		}
	}
	slices.Sort(types)
	return slices.Compact(types)
}

// requirements are what the steps of a document name. Where an input names it, that
// is its default.
func requirements(doc *models.TemplateDocument) models.Requirements {
	var graph struct {
		Steps []struct {
			Agent     string `json:"agent"`
			Connector string `json:"connector"`
		} `json:"steps"`
	}
	r := models.Requirements{Connectors: []string{}, Agents: []string{}}
	if json.Unmarshal(doc.Graph, &graph) != nil {
		return r
	}
	defaults := defaultsOf(doc.Inputs)
	add := func(to *[]string, name string) {
		if strings.Contains(name, "{{") {
			name, _ = withDefaults(name, defaults).(string)
		}
		if name != "" && !slices.Contains(*to, name) {
			*to = append(*to, name)
		}
	}
	for _, s := range graph.Steps {
		add(&r.Agents, s.Agent)
		add(&r.Connectors, s.Connector)
	}
	slices.Sort(r.Agents)
	slices.Sort(r.Connectors)
	return r
}
