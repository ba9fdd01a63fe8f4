package services

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// container runs an image with one port published on the loopback, waits until
// ping succeeds and makes Stop remove it. run holds docker's options, the image
// and its command.
func (s *starter) container(ctx context.Context, port string, run []string, ping func(ctx context.Context, address string) error) (string, error) {
	docker, err := s.cfg.machine.lookPath("docker")
	if err != nil {
		return "", errors.New("no docker in PATH")
	}
	check, stop := context.WithTimeout(ctx, 10*time.Second)
	defer stop()
	if out, err := exec.CommandContext(check, docker, "version").CombinedOutput(); err != nil {
		return "", fmt.Errorf("docker's server cannot be reached: %s", tail(out))
	}

	// --rm and the label are for the case that we are killed: the container is
	// then easy to find, and nothing stays of it once stopped.
	args := append([]string{"run", "--detach", "--rm", "--label", "flows-services", "--publish", "127.0.0.1::" + port}, run...)
	out, err := output(ctx, docker, args...)
	if err != nil {
		return "", err
	}
	id := strings.TrimSpace(out)
	s.set.onStop(func() {
		// Stop must work after the context that Start was given has ended.
		ctx, stop := context.WithTimeout(context.Background(), 30*time.Second)
		defer stop()
		if out, err := exec.CommandContext(ctx, docker, "rm", "--force", "--volumes", id).CombinedOutput(); err != nil {
			s.logf("container %s could not be removed: %s", id, tail(out))
		}
	})

	out, err = output(ctx, docker, "port", id, port+"/tcp")
	if err != nil {
		return "", err
	}
	address, _, _ := strings.Cut(strings.TrimSpace(out), "\n")

	ready, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ping(ready, address)
		if err == nil {
			return address, nil
		}
		select {
		case <-ready.Done():
			return "", fmt.Errorf("the container did not answer: %w", err)
		case <-tick.C:
		}
	}
}

// output runs a program and returns what it wrote on standard output.
func output(ctx context.Context, program string, args ...string) (string, error) {
	var stderr strings.Builder
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("docker %s: %w: %s", args[0], err, tail([]byte(stderr.String())))
	}
	return string(out), nil
}
