package device

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/podman/podmantest"
	"github.com/nationtech/harmony-fleet/tests/fleettest"
)

// site is a fleet whose devices are Debian machines behind a network.
type site struct {
	network  *network
	registry *podmantest.Registry
	image    string
	broker   *fleettest.Dev
	operator *fleettest.Program
	observer *fleettest.Observer
	devices  []*device

	dir, port string
}

// newSite starts the fleet's servers for n devices that are installed and
// joined as the documentation says.
func newSite(t *testing.T, n int) *site {
	t.Helper()
	s := &site{network: newNetwork(t), dir: t.TempDir(), port: "0"}
	s.registry = podmantest.NewRegistryOn(t, s.network.host())
	s.image = s.registry.Push("app", "1", podmantest.NewImage(t, podmantest.BuildApp(t), "1", 0))
	s.startBroker(t, n)
	t.Cleanup(func() { s.broker.Kill() })
	address, err := url.Parse(s.broker.Server)
	require.NoError(t, err)
	s.port = address.Port()
	s.operator, err = fleettest.Start("operator", filepath.Join(built.bin, "fleet-operator"),
		[]string{"run", "--config", filepath.Join(s.broker.Dir, "operator.yaml")}, nil, nil)
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s.broker.Output(), s.operator.Output())
		}
		require.NoError(t, s.operator.Stop(syscall.SIGTERM, timeout))
	})
	s.observer, err = fleettest.Observe(t.Context(), s.broker.Server, s.broker.NKey)
	require.NoError(t, err)
	t.Cleanup(s.observer.Close)
	return s
}

// startBroker starts the broker, or starts it again on the same port and files.
func (s *site) startBroker(t *testing.T, n int) {
	t.Helper()
	broker, err := fleettest.StartDev(t.Context(), built.bin, s.dir, nil, "--devices", fmt.Sprint(n), "--sites", "paris",
		"--host", s.network.host(), "--port", s.port, "--heartbeat-interval", "1s", "--no-operator", "--no-agents")
	require.NoError(t, err)
	s.broker = broker
}

// newDevice makes a device with the package, which may read the registry.
func (s *site) newDevice(t *testing.T, podman *fleettest.Podman, id string) *device {
	t.Helper()
	d := newDevice(t, podman, id)
	s.devices = append(s.devices, d)
	d.write(t, "/etc/containers/registries.conf.d/site.conf",
		fmt.Sprintf("[[registry]]\nlocation = %q\ninsecure = true\n", s.registry.Host()), 0o644)
	d.install(t, built.packages[0])
	return d
}

// join makes a device of the fleet, installs the package on it and plugs it in.
func (s *site) join(t *testing.T, podman *fleettest.Podman, id string) {
	t.Helper()
	d := s.newDevice(t, podman, id)
	prepared := s.prepared(t, id)
	d.fillIn(t, prepared.settings)
	d.write(t, "/etc/fleet-agent/device.nk", prepared.seed, 0o600)
	s.network.plug(t, d)
	d.must(t, "fleet-agent", "check")
	d.must(t, "systemctl", "enable", "--now", "fleet-agent")
}

// credentials are what the administrator of a fleet hands to a device.
type credentials struct {
	settings settings
	seed     string
}

// prepared reads what the fleet has prepared for a device.
func (s *site) prepared(t *testing.T, id string) credentials {
	t.Helper()
	directory := filepath.Join(s.broker.Dir, "devices", id)
	config, err := os.ReadFile(filepath.Join(directory, "config.toml"))
	require.NoError(t, err)
	c := credentials{settings: settings{Device: id, Server: s.broker.Server}}
	for line := range strings.Lines(string(config)) {
		if list, ok := strings.CutPrefix(line, "signing_keys = "); ok {
			var keys []string
			require.NoError(t, json.Unmarshal([]byte(list), &keys))
			c.settings.SigningKey = keys[0]
		}
	}
	seed, err := os.ReadFile(filepath.Join(directory, "device.nk"))
	require.NoError(t, err)
	c.seed = string(seed)
	return c
}

// apply applies a deployment of one service that prints a word for ever.
func (s *site) apply(t *testing.T, name, word string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "deployment.yaml")
	text := fmt.Sprintf(`apiVersion: fleet.nationtech.io/v1alpha1
kind: Deployment
metadata: {name: %s}
spec:
  targetSelector: {}
  score:
    type: PodmanV0
    data:
      services:
        - {name: app, image: %q, args: [print, %q, more, "500"]}
`, name, s.image, word)
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	_, err := s.broker.CLI(t.Context(), "apply", "-f", path)
	require.NoError(t, err)
}

// awaitRunning waits until the stored generation runs on all devices, and
// returns it.
func (s *site) awaitRunning(t *testing.T, name string) uint64 {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	generation, err := s.observer.AwaitRunning(ctx, name, len(s.devices), nil)
	require.NoError(t, err)
	return generation
}

// awaitUpdated waits until a device reports a generation of a deployment as
// running.
func (s *site) awaitUpdated(t *testing.T, d *device, name string, generation uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	require.NoError(t, fleettest.Until(ctx, fmt.Sprintf("%s to run generation %d of %s", d.name, generation, name), func() (bool, string) {
		ok := s.runs(d, name, generation)
		return ok, fmt.Sprintf("%+v", s.observer.Device(d.name))
	}))
}

// awaitHeard waits until a device is heard of after a time.
func (s *site) awaitHeard(t *testing.T, d *device, since time.Time) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	require.NoError(t, fleettest.Until(ctx, d.name+" to be heard of", func() (bool, string) {
		return s.observer.Device(d.name).SeenAt.After(since), fmt.Sprintf("%+v", s.observer.Device(d.name))
	}))
}
