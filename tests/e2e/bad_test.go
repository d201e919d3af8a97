package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/tests/fleettest"
)

// TestBadManifestsStoreNothing gives each broken manifest to the real CLI and
// a real broker.
func TestBadManifestsStoreNothing(t *testing.T) {
	ctx, fleet, observer := start(t, 1)
	files, err := filepath.Glob(filepath.Join(root, "tests", "testdata", "bad", "*.yaml"))
	require.NoError(t, err)
	require.GreaterOrEqual(t, len(files), 20)
	env := []string{"FLEET_NATS_URL=" + fleet.Broker.Server, "FLEET_NKEY=" + fleet.Broker.NKey, "XDG_CONFIG_HOME=" + t.TempDir()}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			want, err := os.ReadFile(strings.TrimSuffix(file, ".yaml") + ".want")
			require.NoError(t, err)
			out, said, err := fleettest.Run(ctx, filepath.Join(bin, "fleet"), []string{"apply", "-f", file}, env)
			require.Equal(t, 1, exitCode(t, err), said)
			require.Empty(t, out)
			require.Contains(t, said, strings.TrimSpace(string(want)))
			require.Contains(t, said, filepath.Base(file))
		})
	}
	stored, err := domain.ListDeployments(ctx, observer.Deployments)
	require.NoError(t, err)
	require.Empty(t, stored)
}
