package services

import (
	"context"
	"fmt"
)

// programLocal returns a provider's function for a kind that is a program. It is
// found, not started: the tests do that.
func programLocal(kind Kind, names ...string) func(context.Context, *starter) (string, error) {
	return func(_ context.Context, s *starter) (string, error) {
		path, ok := s.findProgram(names, nil)
		if !ok {
			return "", fmt.Errorf("no %s in PATH", names[0])
		}
		s.logf("%s: %s", kind, path)
		return path, nil
	}
}
