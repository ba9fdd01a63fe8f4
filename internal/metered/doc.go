// Package metered checks values against JSON Schemas (2020-12) that anybody may have
// written, and stops when that takes too long: a schema of a few lines can ask for 2^40
// looks at one value, and nothing else would end them. What is wrong with a value is
// told in the validator's own errors. The package knows nothing of what is checked and
// why, and imports none of ours.
package metered
