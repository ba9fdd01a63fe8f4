// Package misfit says in our words how a value breaks a JSON Schema, the same ones
// for requests, payloads and inputs of templates. It knows the library that validates
// and no schema; a value is never repeated, for it may be a secret.
package misfit
