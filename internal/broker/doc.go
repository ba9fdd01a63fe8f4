// Package broker reaches Redis: a server by its URL, or one inside the process.
// On it stand two ways for processes to nudge each other, a channel and lanes.
// Both may lose what they carry, and neither ever holds its caller up: the
// database has the facts, and whoever is not nudged looks by himself.
//
// It knows nothing of runs, steps or tasks: what it carries are bytes.
package broker
