package services

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// install adds Debian packages without letting them start system services.
func (s *starter) install(ctx context.Context, packages []string) error {
	apt, err := s.cfg.machine.lookPath("apt-get")
	if err != nil {
		return errors.New("no apt-get: not a Debian machine")
	}
	if !s.cfg.machine.root {
		return fmt.Errorf("packages can be installed only by root (run: sudo apt-get install %s)", strings.Join(packages, " "))
	}

	release, err := forbidServiceStarts(s.cfg.machine.policyFile)
	if err != nil {
		return err
	}
	defer release()

	s.logf("installing %s with apt-get", strings.Join(packages, " "))
	wait := []string{"-q", "-o", "DPkg::Lock::Timeout=120"}
	steps := [][]string{
		slices.Concat(wait, []string{"update"}),
		slices.Concat(wait, []string{"install", "-y", "--no-install-recommends"}, packages),
	}
	for _, args := range steps {
		cmd := exec.CommandContext(ctx, apt, args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("apt-get %s: %w: %s", args[len(wait)], err, tail(out))
		}
	}
	return nil
}

// forbidServiceStarts puts a policy file in place that answers "not allowed" and
// returns what removes it. A policy that is there already is the machine owner's
// and stays as it is.
func forbidServiceStarts(path string) (func(), error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if errors.Is(err, os.ErrExist) {
		return func() {}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("forbid service starts: %w", err)
	}
	release := func() { os.Remove(path) }
	_, err = f.WriteString("#!/bin/sh\nexit 101\n")
	if err = errors.Join(err, f.Close()); err != nil {
		release()
		return nil, fmt.Errorf("forbid service starts: %w", err)
	}
	return release, nil
}
