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

// A package that applies a Score to a topology.
const source = `package compiled

import (
	"context"

	"github.com/nationtech/harmony-fleet/deploy"
	"github.com/nationtech/harmony-fleet/deploy/agent"
	"github.com/nationtech/harmony-fleet/deploy/agent/pod"
	"github.com/nationtech/harmony-fleet/deploy/host"
	"github.com/nationtech/harmony-fleet/deploy/kube"
)

type nowhere struct{}

var (
	_ = nowhere{}
	_ = agent.FleetAgentScore{}
	_ = pod.FleetAgentPodScore{}
	_ = host.Local{}
	_ = kube.Topology{}
)

func Apply() {
	_, _ = deploy.For(SCORE).Apply(context.Background(), TOPOLOGY, deploy.Options{})
}
`

func TestMissingCapabilityDoesNotCompile(t *testing.T) {
	for _, test := range []struct{ score, topology, says string }{
		{"&agent.FleetAgentScore{}", "host.Local{}", ""},
		{"&agent.FleetAgentScore{}", "nowhere{}", ".Host (missing method Run)"},
		{"&agent.FleetAgentScore{}", "&kube.Topology{}", ".Host (missing method Run)"},
		{"&pod.FleetAgentPodScore{}", "&kube.Topology{}", ""},
		{"&pod.FleetAgentPodScore{}", "host.Local{}", ".Cluster (missing method Apply)"},
	} {
		err := compile(t, strings.NewReplacer("SCORE", test.score, "TOPOLOGY", test.topology).Replace(source))
		if test.says == "" {
			require.NoError(t, err)
			continue
		}
		require.ErrorContains(t, err, test.says)
	}
}

// compile type-checks the package inside this module.
func compile(t *testing.T, text string) error {
	t.Helper()
	here, err := os.Getwd()
	require.NoError(t, err)
	// A file in no directory of the module: the overlay puts it there.
	file := filepath.Join(t.TempDir(), "compiled.go")
	require.NoError(t, os.WriteFile(file, []byte(text), 0o600))
	content, err := json.Marshal(map[string]any{"Replace": map[string]string{filepath.Join(here, "compiled", "compiled.go"): file}})
	require.NoError(t, err)
	overlay := filepath.Join(t.TempDir(), "overlay.json")
	require.NoError(t, os.WriteFile(overlay, content, 0o600))
	command := exec.CommandContext(t.Context(), "go", "build", "-overlay", overlay, "./compiled")
	command.Env = append(os.Environ(), "GOWORK=off")
	said, err := command.CombinedOutput()
	if err != nil {
		return &compileError{string(said)}
	}
	return nil
}

type compileError struct{ said string }

func (e *compileError) Error() string { return e.said }
