package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/podman/podmantest"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/tests/fleettest"
)

// TestRebootWithoutNetwork: a device loses its power, and starts again without a
// broker and with an image registry that it must not need.
func TestRebootWithoutNetwork(t *testing.T) {
	registry := podmantest.NewRegistry(t)
	reference := registry.Push("fleettest/app", "1", podmantest.NewImage(t, podmantest.BuildApp(t), "offline", 0))
	engine := podmantest.Start(t, podmantest.Podman, podmantest.Options{Registry: registry})
	t.Setenv("CONTAINER_HOST", "unix://"+engine.Socket)
	ctx, cancel := context.WithTimeout(t.Context(), 4*timeout)
	defer cancel()
	fleet, err := fleettest.StartSeparate(ctx, bin, t.TempDir(), 1, "--containers")
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(fleet.Logs())
		}
		require.NoError(t, fleet.End(context.WithoutCancel(ctx)))
	})
	observer, err := fleettest.Observe(ctx, fleet.Broker.Server, fleet.Broker.NKey)
	require.NoError(t, err)
	t.Cleanup(observer.Close)
	awaitSeen(ctx, t, fleet, observer, time.Time{})
	device := fleet.Broker.Devices[0]
	manifest := filepath.Join(t.TempDir(), "hello.yaml")
	require.NoError(t, os.WriteFile(manifest, fmt.Appendf(nil, `apiVersion: fleet.nationtech.io/v1alpha1
kind: Deployment
metadata: {name: hello}
spec:
  targetSelector: {}
  score:
    type: PodmanV0
    data: {services: [{name: app, image: %q, args: [stop, _]}]}
`, reference), 0o600))
	_, err = fleet.Broker.CLI(ctx, "apply", "-f", manifest)
	require.NoError(t, err)
	_, err = observer.AwaitRunning(ctx, "hello", 1, nil)
	require.NoError(t, err)
	before, ok := observer.Service(device, "hello")
	require.True(t, ok)
	pulls := registry.Pulls()

	fleet.Agents[device].Kill()
	fleet.Operator.Kill()
	fleet.Broker.Kill()
	engine.Reboot(t)
	require.False(t, fleettest.Alive(before.PID))
	engine.Start(t)
	require.NoError(t, fleet.StartAgent(device))
	require.NoError(t, fleettest.Until(ctx, "the container to run without a broker", func() (bool, string) {
		ids := running(ctx, engine)
		return len(ids) == 1, fmt.Sprint(ids)
	}))
	require.Equal(t, pulls, registry.Pulls(), "the image is there already")

	back := time.Now()
	require.NoError(t, fleet.StartBroker(ctx))
	require.NoError(t, fleet.StartOperator())
	awaitSeen(ctx, t, fleet, observer, back)
	require.NoError(t, fleettest.Until(ctx, "the state to be reported over the new link", func() (bool, string) {
		service, _ := observer.Service(device, "hello")
		return service.State == contracts.ServiceRunning && service.PID != before.PID, fmt.Sprintf("%+v", service)
	}))
	require.Equal(t, pulls, registry.Pulls())
}
