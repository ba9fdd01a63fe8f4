// Package models holds the nouns of the product: workspaces, keys, workflows and
// their versions, graphs, runs, steps and the log of a run, with the states they
// may be in and the moves between those states.
//
// It knows no queries, no clock and no I/O, and imports nothing of ours, so that
// every other package can speak of the same things. The structs carry bun tags
// because a row and the thing it stands for are the same here.
package models
