package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/cli"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/contexts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/memory"
)

// runIn runs the program against a fleet in memory.
func runIn(t *testing.T, fleet *memory.Fleet, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	connect := func(context.Context, contexts.Context) (cli.Fleet, func(), error) {
		return cli.Fleet{
			Devices: fleet.Devices(), Deployments: fleet.Deployments(), Statuses: fleet.Statuses(),
			Observed: fleet.Observed(), Commands: fleet.Commands(), Events: fleet.Events(),
		}, func() {}, nil
	}
	getenv := func(name string) (string, bool) {
		value, ok := map[string]string{cli.EnvServer: "nats://memory:4222"}[name]
		return value, ok
	}
	var out, err bytes.Buffer
	code = runWith(t.Context(), cli.NewApp(connect, getenv), args, strings.NewReader(stdin), &out, &err)
	return code, out.String(), err.String()
}

// TestBadManifests applies each broken manifest of tests/testdata/bad together
// with a good one. The sentence that is expected lies beside it in a .want file.
func TestBadManifests(t *testing.T) {
	const good = "../../examples/hello.yaml"
	files, err := filepath.Glob("../../tests/testdata/bad/*.yaml")
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 24)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			want, err := os.ReadFile(strings.TrimSuffix(file, ".yaml") + ".want")
			require.NoError(t, err)
			fleet := memory.New()
			code, stdout, stderr := runIn(t, fleet, "", "apply", "-f", good, "-f", file)
			assert.Equal(t, 1, code)
			assert.Empty(t, stdout)
			assert.Contains(t, stderr, strings.TrimSpace(string(want)))
			assert.True(t, strings.HasPrefix(stderr, "Error: "), stderr)
			assert.Contains(t, stderr, "nothing was applied")
			assert.Equal(t, 1, strings.Count(stderr, "\n"), "one sentence: %s", stderr)
			stored, err := domain.ListDeployments(t.Context(), fleet.Deployments())
			require.NoError(t, err)
			assert.Empty(t, stored)
		})
	}
}

func TestExamplesAreApplied(t *testing.T) {
	fleet := memory.New()
	for _, step := range []struct{ file, want string }{
		{"hello.yaml", "deployment/hello created\n"},
		{"hello.yaml", "deployment/hello unchanged\n"},
		{"hello-v2.yaml", "deployment/hello configured\n"},
		{"web-podman.yaml", "deployment/web created\n"},
	} {
		code, stdout, stderr := runIn(t, fleet, "", "apply", "-f", filepath.Join("../../examples", step.file))
		assert.Zero(t, code, stderr)
		assert.Equal(t, step.want, stdout)
	}
}

func TestRunFailsClearlyWithoutABroker(t *testing.T) {
	var stdout, stderr bytes.Buffer
	t.Setenv("HOME", t.TempDir())
	code := run(t.Context(), []string{"--server", "nats://127.0.0.1:1", "get", "devices"}, nil, &stdout, &stderr)
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr.String(), "Error: cannot reach the fleet at nats://127.0.0.1:1: ")
	assert.Contains(t, stderr.String(), "connection refused")
	assert.Contains(t, stderr.String(), "`fleet dev`")
	assert.Empty(t, stdout.String())

	stderr.Reset()
	code = run(t.Context(), []string{"--server", "nats://127.0.0.1:1", "--nkey", "/does/not/exist.nk", "get", "devices"}, nil, &stdout, &stderr)
	assert.Equal(t, 1, code)
	assert.Contains(t, stderr.String(), "/does/not/exist.nk")
}

func TestDevIsACommand(t *testing.T) {
	code, stdout, _ := runIn(t, memory.New(), "", "dev", "--help")
	assert.Zero(t, code)
	assert.Contains(t, stdout, "fleet dev")
	code, _, stderr := runIn(t, memory.New(), "", "dev", "extra")
	assert.Equal(t, 2, code)
	assert.Contains(t, stderr, `"extra"`)
}
