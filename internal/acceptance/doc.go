// Package acceptance shows that the product keeps its promise where it is hardest
// to keep: as processes on a real PostgreSQL and a real Redis, under load, while
// workers die, Redis forgets and connections break. It holds tests only.
//
// The tests build the binary as a user would and speak to it over HTTP, signals
// and the environment. They know the contract, and of the inside no more than what
// they break: the database's sessions, the queue's tasks. Only what no client can
// see, such as rows left behind, they look up in the database.
//
// The tests of events send fewer of them than the product promises something for, and
// do not wait for leases and clocks. With -full they do:
//
//	go test ./internal/acceptance -full -v -run 'Flood|Tick|Wakes|Webhooks'
package acceptance
