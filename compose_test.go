package flows_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"
)

// composeService holds what the test looks at in one service.
type composeService struct {
	Image       string                       `yaml:"image"`
	Command     []string                     `yaml:"command"`
	Environment map[string]string            `yaml:"environment"`
	DependsOn   map[string]map[string]string `yaml:"depends_on"`
	Ports       []string                     `yaml:"ports"`
	Volumes     []string                     `yaml:"volumes"`
	Healthcheck *struct {
		Test    []string `yaml:"test"`
		Disable bool     `yaml:"disable"`
	} `yaml:"healthcheck"`
}

func composeServices(t *testing.T) map[string]composeService {
	t.Helper()
	content, err := os.ReadFile("docker-compose.yml")
	require.NoError(t, err)
	var file struct {
		Services map[string]composeService `yaml:"services"`
	}
	require.NoError(t, yaml.Unmarshal(content, &file))
	return file.Services
}

func TestComposeRunsEveryRole(t *testing.T) {
	t.Parallel()
	services := composeServices(t)

	roles := map[string][]string{}
	for name, s := range services {
		if s.Image == "10ex/flows" {
			roles[name] = s.Command
		}
	}
	require.Empty(t, cmp.Diff(map[string][]string{
		"migrate":   {"migrate", "up"},
		"api":       {"api"},
		"worker-1":  {"worker"},
		"worker-2":  {"worker"},
		"scheduler": {"scheduler"},
	}, roles))

	for name := range roles {
		s := services[name]
		require.Contains(t, s.Environment["FLOWS_ENCRYPTION_KEY"], ":?", "%s: a missing key stops the start with a word", name)
		require.Contains(t, s.Environment["FLOWS_DATABASE_URL"], "@postgres:5432/", name)
		require.Contains(t, s.Environment["FLOWS_REDIS_URL"], "redis:6379", name)
		require.Contains(t, s.Environment["FLOWS_PUBLIC_URL"], "FLOWS_PUBLIC_URL:-http", "%s: whoever sends an event writes its link", name)
		require.Equal(t, "service_healthy", s.DependsOn["postgres"]["condition"], name)
		if name == "migrate" {
			continue
		}
		require.Nil(t, s.Healthcheck, "%s: the image's own check holds", name)
		require.Equal(t, "service_healthy", s.DependsOn["redis"]["condition"], name)
		require.Equal(t, "service_completed_successfully", s.DependsOn["migrate"]["condition"], name)
	}
}

// TestComposePassesSettingsOn looks for every setting that the page lists: one that is
// exported and does nothing misleads.
func TestComposePassesSettingsOn(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("docs/how-to/deploy.md")
	require.NoError(t, err)
	environment := composeServices(t)["api"].Environment
	listed := 0
	for _, m := range regexp.MustCompile("(?m)^\\| `((?:FLOWS|OTEL)_[A-Z_]+)`").FindAllStringSubmatch(string(page), -1) {
		name := m[1]
		if name == "FLOWS_HTTP_ADDR" || strings.HasSuffix(name, "CERTIFICATE") || strings.HasSuffix(name, "CLIENT_KEY") {
			continue // where it listens is fixed, and files would have to be mounted
		}
		require.Contains(t, environment, name)
		listed++
	}
	require.Greater(t, listed, 30)
}

func TestComposeStoresKeepWhatTheyAcknowledged(t *testing.T) {
	t.Parallel()
	services := composeServices(t)

	for _, name := range []string{"postgres", "redis"} {
		s := services[name]
		require.NotNil(t, s.Healthcheck, name)
		require.NotEmpty(t, s.Healthcheck.Test, name)
		require.NotEmpty(t, s.Volumes, name)
		require.Empty(t, s.Ports, "%s is not published", name)
	}
	redis := strings.Join(services["redis"].Command, " ")
	for _, setting := range []string{"--appendonly yes", "--appendfsync everysec", "--maxmemory-policy noeviction"} {
		require.Contains(t, redis, setting)
	}
}

func TestComposePublishesOnlyOnTheLoopback(t *testing.T) {
	t.Parallel()
	var ports []string
	for _, s := range composeServices(t) {
		ports = append(ports, s.Ports...)
	}
	require.NotEmpty(t, ports)
	for _, port := range ports {
		require.True(t, strings.HasPrefix(port, "127.0.0.1:"), port)
	}
}

func TestImageIsStaticUnprivilegedAndChecksItsHealth(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("Dockerfile")
	require.NoError(t, err)
	lines := strings.Split(string(content), "\n")
	last := slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "FROM gcr.io/") })
	require.Positive(t, last)
	require.Contains(t, lines[last], ":nonroot")
	require.Contains(t, string(content), "CGO_ENABLED=0")
	require.Contains(t, strings.Join(lines[last:], "\n"), "HEALTHCHECK")
}
