package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/tests/fleettest"
)

// TestDevWithIdentities: the devices of `fleet dev --auth` enroll by themselves,
// one is revoked, and it stays out when the fleet is started again.
func TestDevWithIdentities(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 4*timeout)
	t.Cleanup(cancel)
	dir := t.TempDir()
	fleet, observer := startDevAuth(ctx, t, dir)
	_, err := fleet.CLI(ctx, "apply", "-f", example("hello.yaml"))
	require.NoError(t, err)
	_, err = observer.AwaitRunning(ctx, "hello", 3, nil)
	require.NoError(t, err)

	link := func(device string, up bool) {
		t.Helper()
		require.NoError(t, fleettest.Until(ctx, fmt.Sprintf("the link of %s to be up: %t", device, up), func() (bool, string) {
			config := filepath.Join(fleet.Dir, "devices", device, "config.toml")
			out, said, _ := fleettest.Run(ctx, filepath.Join(bin, "fleet-agent"), []string{"status", "--config", config}, nil)
			return linkIs(out, up), out + said
		}))
	}
	link("paris-01", true)
	_, err = fleet.CLI(ctx, "device", "revoke", "paris-01", "--reason", "stolen")
	require.NoError(t, err)
	link("paris-01", false)
	link("lyon-01", true)
	observer.Close()
	require.NoError(t, fleet.End(), fleet.Output())
	require.Zero(t, processUnder(dir))

	fleet, _ = startDevAuth(ctx, t, dir)
	link("lyon-01", true)
	link("paris-01", false)
	require.NoError(t, fleet.End(), fleet.Output())
}

func startDevAuth(ctx context.Context, t *testing.T, dir string) (*fleettest.Dev, *fleettest.Observer) {
	t.Helper()
	fleet, err := fleettest.StartDev(ctx, bin, dir, nil, "--auth", "--devices", "3", "--port", "0", "--heartbeat-interval", "1s")
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(fleet.Output())
		}
		fleet.Kill()
	})
	observer, err := fleettest.Observe(ctx, fleet.Server, fleet.NKey)
	require.NoError(t, err)
	t.Cleanup(observer.Close)
	return fleet, observer
}
