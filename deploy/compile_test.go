package deploy_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A program that applies a Score that needs a shell to a topology.
const program = `package main

import (
	"context"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/agent"
	"github.com/nationtech/harmony-fleet/deploy/host"
)

type nowhere struct{}

var _ = host.Local{}

func main() {
	_, _ = deploy.For(&agent.FleetAgentScore{}).Apply(context.Background(), TOPOLOGY{}, deploy.Options{})
}
`

func TestMissingCapabilityDoesNotCompile(t *testing.T) {
	require.NoError(t, compile(t, "host.Local"))
	err := compile(t, "nowhere")
	require.ErrorContains(t, err, ".Host (missing method Run)")
}

// compile type-checks the program inside this module.
func compile(t *testing.T, topology string) error {
	t.Helper()
	here, err := os.Getwd()
	require.NoError(t, err)
	// A file in no directory of the module: the overlay puts it there.
	source := filepath.Join(t.TempDir(), "main.go")
	require.NoError(t, os.WriteFile(source, []byte(strings.ReplaceAll(program, "TOPOLOGY", topology)), 0o600))
	content, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(here, "compiled", "main.go"): source}})
	require.NoError(t, err)
	overlay := filepath.Join(t.TempDir(), "overlay.json")
	require.NoError(t, os.WriteFile(overlay, content, 0o600))
	command := exec.CommandContext(t.Context(), "go", "build", "-overlay", overlay, "-o", os.DevNull, "./compiled")
	command.Env = append(os.Environ(), "GOWORK=off")
	said, err := command.CombinedOutput()
	if err != nil {
		return &compileError{string(said)}
	}
	return nil
}

type compileError struct{ said string }

func (e *compileError) Error() string { return e.said }
