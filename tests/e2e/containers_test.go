package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/podman/podmantest"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/tests/fleettest"
)

// containersManifest runs an image that is on the host already and prints the
// device's name and a word.
func containersManifest(t *testing.T, word string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hello.yaml")
	text := fmt.Sprintf(`apiVersion: fleet.nationtech.io/v1alpha1
kind: Deployment
metadata: {name: hello}
spec:
  targetSelector: {}
  score:
    type: PodmanV0
    data:
      services:
        - name: app
          image: localhost/fleettest/app:1
          pullPolicy: never
          args: [print, "%s {{ .device.id }}", stop, _]
`, word)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// TestContainersFromManifestToEngine runs containers of two devices on a real
// engine: deployed, killed and healed, changed, read and removed.
func TestContainersFromManifestToEngine(t *testing.T) {
	for _, product := range []podmantest.Product{podmantest.Podman, podmantest.Docker} {
		t.Run(string(product), func(t *testing.T) {
			engine := podmantest.Start(t, product, podmantest.Options{})
			engine.Load(t, "localhost/fleettest/app:1", podmantest.NewImage(t, podmantest.BuildApp(t), "1", 0))
			t.Setenv("CONTAINER_HOST", "unix://"+engine.Socket)
			ctx, cancel := context.WithTimeout(t.Context(), 3*timeout)
			defer cancel()

			fleet, err := fleettest.StartDev(ctx, bin, t.TempDir(), nil, "--devices", "2", "--sites", "paris",
				"--port", "0", "--heartbeat-interval", "1s", "--containers")
			require.NoError(t, err)
			ended := false
			defer func() {
				if !ended {
					_ = fleet.End()
				}
			}()
			observer, err := fleettest.Observe(ctx, fleet.Server, fleet.NKey)
			require.NoError(t, err)
			defer observer.Close()

			first := deployContainers(ctx, t, fleet, observer, "bonjour")
			require.Len(t, running(ctx, engine), 2)
			healContainer(ctx, t, engine, observer, fleet.Devices[0])
			second := deployContainers(ctx, t, fleet, observer, "salut")
			require.NotEqual(t, first, second)
			require.NoError(t, fleettest.Until(ctx, "the new output", func() (bool, string) {
				out, err := fleet.CLI(ctx, "logs", fleet.Devices[0]+"/hello", "--tail", "5")
				return err == nil && strings.Contains(out, "salut "+fleet.Devices[0]), fmt.Sprint(out, err)
			}))

			_, err = fleet.CLI(ctx, "delete", "deployment", "hello")
			require.NoError(t, err)
			require.NoError(t, observer.AwaitGone(ctx, "hello", fleet.Devices))
			require.Empty(t, running(ctx, engine))

			// What runs when the fleet is stopped is removed with it.
			deployContainers(ctx, t, fleet, observer, "salut")
			ended = true
			require.NoError(t, fleet.End(), fleet.Output())
			require.Empty(t, running(ctx, engine))
		})
	}
}

// running returns the IDs of the engine's running containers.
func running(ctx context.Context, engine *podmantest.Engine) []string {
	return strings.Fields(engine.CLI(ctx, "ps", "--quiet", "--no-trunc"))
}

// deployContainers applies the manifest, waits until it runs everywhere, and
// returns the generation.
func deployContainers(ctx context.Context, t *testing.T, fleet *fleettest.Dev, observer *fleettest.Observer, word string) uint64 {
	t.Helper()
	_, err := fleet.CLI(ctx, "apply", "-f", containersManifest(t, word))
	require.NoError(t, err)
	generation, err := observer.AwaitRunning(ctx, "hello", len(fleet.Devices), nil)
	if err != nil {
		described, _ := fleet.CLI(ctx, "describe", "deployment", "hello")
		t.Log(described)
	}
	require.NoError(t, err)
	return generation
}

// healContainer kills a device's container behind its agent's back.
func healContainer(ctx context.Context, t *testing.T, engine *podmantest.Engine, observer *fleettest.Observer, device string) {
	t.Helper()
	before, ok := observer.Service(device, "hello")
	require.True(t, ok)
	require.NoError(t, killProcess(before.PID))
	require.NoError(t, fleettest.Until(ctx, "the container to run again", func() (bool, string) {
		service, _ := observer.Service(device, "hello")
		return service.State == contracts.ServiceRunning && service.PID != before.PID && service.Restarts > 0, fmt.Sprintf("%+v", service)
	}))
	require.Len(t, running(ctx, engine), 2)
}
