// Package registered keeps the connectors that workspaces have registered: it has a
// kind of connectors read what is given, keeps what that made of it, and finds them
// for those who call actions. What was read is held in memory as long as the database
// says that it is still the newest.
//
// It knows nothing of HTTP routes and steps. It imports connectors, models, store and
// leaves; which kinds there are is wired where the program is put together.
package registered
