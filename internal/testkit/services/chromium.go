package services

import (
	"context"
	"errors"
)

// chromiumPrograms are the names the browser goes by.
var chromiumPrograms = []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"}

// chromiumLocal finds the browser. It is not started: tests start their own.
func chromiumLocal(_ context.Context, s *starter) (string, error) {
	path, ok := s.findProgram(chromiumPrograms, []string{"/Applications/Chromium.app/Contents/MacOS"})
	if !ok {
		return "", errors.New("no chromium in PATH")
	}
	s.logf("chromium: %s", path)
	return path, nil
}
