package templates

// LoadFrom reads a gallery from other files.
var LoadFrom = load
