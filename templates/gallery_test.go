package templates_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"

	"github.com/10ex/flows/engine"
	"github.com/10ex/flows/models"
	"github.com/10ex/flows/templates"
)

func gallery(t *testing.T) *templates.Gallery {
	t.Helper()
	g, err := templates.Load()
	require.NoError(t, err)
	return g
}

func TestTheGalleryHasWhatIsPromised(t *testing.T) {
	t.Parallel()
	var have []string
	for _, tpl := range gallery(t).All() {
		have = append(have, tpl.Slug)
	}
	require.Empty(t, cmp.Diff([]string{
		"lead-to-sequence", "score-and-route", "speed-to-lead", "form-follow-up", "nurture-until-reply", "win-back", "hot-lead-alert",
		"approve-then-send", "daily-digest", "sync-to-sheet", "welcome-and-enroll",
	}, have), "the most asked for first")
}

type input struct {
	Title, Description string
	Examples           []json.RawMessage
	Default            json.RawMessage
}

func inputsOf(t *testing.T, tpl *models.Template) (required []string, inputs map[string]input) {
	t.Helper()
	var schema struct {
		Required             []string
		Properties           map[string]input
		AdditionalProperties *bool
	}
	require.NoError(t, json.Unmarshal(tpl.Document.Inputs, &schema))
	require.NotNil(t, schema.AdditionalProperties)
	require.False(t, *schema.AdditionalProperties)
	return schema.Required, schema.Properties
}

func TestEveryTemplateExplainsItself(t *testing.T) {
	t.Parallel()
	for _, tpl := range gallery(t).All() {
		t.Run(tpl.Slug, func(t *testing.T) {
			t.Parallel()
			require.NotEmpty(t, tpl.Name)
			require.Greater(t, len(tpl.Description), 80)
			require.NotEmpty(t, tpl.Category)
			require.Equal(t, models.TemplatePublished, tpl.Status)
			require.Positive(t, tpl.Version)
			require.False(t, tpl.CreatedAt.IsZero())
			require.NotEmpty(t, tpl.TriggerTypes)
			require.Subset(t, []string{"event", "schedule"}, tpl.TriggerTypes)
			require.Subset(t, []string{"core", "email", "google_sheets", "slack", "tenex"}, tpl.Document.Requires.Connectors)

			required, inputs := inputsOf(t, tpl)
			whole, err := json.Marshal([]any{tpl.Document.Graph, tpl.Document.Settings, tpl.Document.Output, tpl.Document.Triggers})
			require.NoError(t, err)
			given := map[string]json.RawMessage{}
			for name, in := range inputs {
				require.NotEmpty(t, in.Title, name)
				require.NotEmpty(t, in.Description, name)
				require.NotEmpty(t, in.Examples, name)
				require.NotEqual(t, slices.Contains(required, name), in.Default != nil, "%s is required or has a default", name)
				require.Contains(t, string(whole), "inputs."+name, "%s changes nothing", name)
				for _, example := range in.Examples {
					given[name] = example
					_, err := engine.FitSchema(tpl.Document.Inputs, marshal(t, given))
					require.True(t, err == nil || !strings.Contains(err.Error(), name) || strings.Contains(err.Error(), "required"), "example of %s: %v", name, err)
				}
			}
			raw, err := engine.FitSchema(tpl.Document.Inputs, marshal(t, given))
			require.NoError(t, err)
			c, err := templates.Fill(&tpl.Document, raw)
			require.NoError(t, err)
			require.Empty(t, c.Version.Graph.Validate())
			filled := string(marshal(t, c))
			require.NotContains(t, filled, "inputs.")
			for _, s := range c.Version.Graph.Steps {
				require.NotEmpty(t, s.Name, s.ID)
				if s.Type.Executed() && s.Connector != "core" {
					require.NotNil(t, s.Retry, "%s gives up at once", s.ID)
				}
			}
			for _, trg := range c.Triggers {
				require.NotEmpty(t, trg.Name)
			}
		})
	}
}

func marshal(t *testing.T, v any) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	return raw
}

func TestFillBlamesInputs(t *testing.T) {
	t.Parallel()
	doc := &models.TemplateDocument{
		Graph: json.RawMessage(`{"steps":[{"id":"a","type":"wait","for":"{{ inputs.pause }}","name":"{{ inputs.deep.name }}"}]}`),
		Triggers: []json.RawMessage{
			json.RawMessage(`{"type":"event","event_type":"{{ inputs.event }}"}`),
		},
	}
	for name, tc := range map[string]struct{ inputs, loc, msg string }{
		"another type":  {`{"pause":7,"deep":{"name":"n"},"event":"e"}`, "[inputs pause]", "steps.for cannot be a number"},
		"nothing there": {`{"pause":"7d","event":"e"}`, "[inputs deep]", "inputs.deep is null"},
		"no object":     {`[1]`, "[inputs]", "must be an object"},
		"no JSON":       {`{`, "[inputs]", "not JSON"},
		"braces inside": {`{"pause":"1h","deep":{"name":["{{"]},"event":"e"}`, "[inputs deep]", "must not hold {{"},
		"of a trigger":  {`{"pause":"1h","deep":{"name":"n"},"event":[]}`, "[inputs event]", "event_type cannot be a list"},
	} {
		_, err := templates.Fill(doc, json.RawMessage(tc.inputs))
		var bad *models.InvalidError
		require.ErrorAs(t, err, &bad, name)
		require.Contains(t, loc(bad.Fields[0].Loc), tc.loc, name)
		require.Contains(t, bad.Fields[0].Msg, tc.msg, name)
	}
	errs := templates.Blame(doc, []models.FieldError{
		{Loc: []any{"graph", "steps", 0, "for"}, Msg: "bad"}, {Loc: []any{"graph", "steps", 0, "for"}, Msg: "bad"},
		{Loc: []any{"triggers", 0, "event_type"}, Msg: "worse"}, {Loc: []any{"graph", "steps", 9, "for"}, Msg: "odd"},
	})
	require.Empty(t, cmp.Diff([]models.FieldError{
		{Loc: []any{"inputs", "pause"}, Msg: "bad"}, {Loc: []any{"inputs", "event"}, Msg: "worse"}, {Msg: "graph.steps.9.for: odd"},
	}, errs))
}

func loc(at []any) string {
	words := make([]string, len(at))
	for i, a := range at {
		words[i], _ = a.(string)
	}
	return "[" + strings.Join(words, " ") + "]"
}

func TestABadFileIsNamed(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ path, text, want string }{
		"unknown field": {"gallery/a.json", `{"slug":"a","colour":"red"}`, `gallery/a.json: json: unknown field "colour"`},
		"other name":    {"gallery/a.json", `{"slug":"b"}`, "gallery/a.json: its slug makes it gallery/b.json"},
		"no JSON":       {"gallery/a.json", `{`, "gallery/a.json: unexpected EOF"},
	} {
		_, err := templates.LoadFrom(fstest.MapFS{tc.path: {Data: []byte(tc.text)}})
		require.ErrorContains(t, err, tc.want, name)
	}
}
