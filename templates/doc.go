// Package templates holds the gallery: workflows to be copied, as data, and what it
// takes to make a workflow of a template and a template of a workflow.
//
// A template of the gallery is one file below gallery. Its content is that of
// models.TemplateDocument; adding a file is all it takes. {{ inputs.x }} is filled in
// here; what comes of it is checked by those who keep workflows and triggers.
//
// It must not know stores, runs or who asks. It imports models, and
// engine/expression for what stands between {{ and }}.
package templates
