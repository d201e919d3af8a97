package device

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/tests/fleettest"
)

// deployed is the part of what `fleet-deploy -o json` prints that tests read.
type deployed struct {
	Results []struct {
		Target  string
		Outcome struct {
			Steps []struct {
				ID, State string
				Change    struct{ Action, Summary string }
			}
		}
		Failure *struct{ Step, Error, Next string }
	}
}

// states returns how each step of the only target ended.
func (d deployed) states() map[string]string {
	states := map[string]string{}
	for _, step := range d.Results[0].Outcome.Steps {
		states[step.ID] = step.State
	}
	return states
}

// changed returns how many steps changed something.
func (d deployed) changed() int {
	n := 0
	for _, state := range d.states() {
		if state == "changed" {
			n++
		}
	}
	return n
}

// fleetDeploy runs the program on a site's file and returns what it printed,
// what it said, and its exit code.
func fleetDeploy(ctx context.Context, t *testing.T, command, file string, more ...string) (deployed, string, int) {
	t.Helper()
	args := append([]string{command, "-f", file, "-o", "json"}, more...)
	out, said, err := fleettest.Run(ctx, filepath.Join(built.bin, "fleet-deploy"), args, nil)
	code := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		code = exit.ExitCode()
	} else {
		require.NoError(t, err)
	}
	var result deployed
	require.NoError(t, json.Unmarshal([]byte(out), &result), "%s: %s%s", command, out, said)
	return result, said, code
}

// letIn makes a user who may become root and returns the key to log in with.
func (d *device) letIn(t *testing.T, user string) string {
	t.Helper()
	d.must(t, "useradd", "--create-home", "--shell", "/bin/bash", "--password", "*", user)
	d.must(t, "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", "/root/login")
	d.must(t, "install", "-D", "-m", "600", "-o", user, "/root/login.pub", "/home/"+user+"/.ssh/authorized_keys")
	d.must(t, "chown", user, "/home/"+user+"/.ssh")
	d.write(t, "/etc/sudoers.d/"+user, user+" ALL=(ALL) NOPASSWD: ALL\n", 0o440)
	return filepath.Join(d.path("root"), "root", "login")
}

// reached is how a device is reached by SSH.
type reached struct {
	device                *device
	address, key, hostKey string
}

// reach lets SSH in and waits until it serves. The device is the n-th that was
// plugged in.
func (s *site) reach(t *testing.T, d *device, n int) reached {
	t.Helper()
	r := reached{device: d, address: fmt.Sprintf("%s.%d", s.network.prefix, n+1), key: d.letIn(t, "pi")}
	d.eventually(t, "systemctl", "is-active", "ssh")
	r.hostKey = strings.Fields(d.must(t, "ssh-keygen", "-lf", "/etc/ssh/ssh_host_ed25519_key.pub"))[1]
	return r
}

// describe writes the file of a site with these devices.
func (s *site) describe(t *testing.T, deb string, devices ...reached) string {
	t.Helper()
	var text strings.Builder
	fmt.Fprintf(&text, `agents:
  packages: [%q]
  signingKeys: [%q]
  servers: [%q]
  fleet: {server: %q, nkeyFile: %q}
  hosts:
`, deb, s.prepared(t, devices[0].device.name).settings.SigningKey, s.broker.Server, s.broker.Server, s.broker.NKey)
	for _, r := range devices {
		fmt.Fprintf(&text, "    - {device: %s, address: %q, hostKey: %q, nkeyFile: %q, labels: {rack: \"7\"}, ssh: {user: pi, keyFile: %q}}\n",
			r.device.name, r.address, r.hostKey, filepath.Join(s.broker.Dir, "devices", r.device.name, "device.nk"), r.key)
	}
	path := filepath.Join(t.TempDir(), "site.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text.String()), 0o600))
	return path
}

// TestFleetDeploy brings a device from nothing to a heartbeat that its fleet
// hears, over SSH, upgrades it while the link is cut, and removes all of it.
func TestFleetDeploy(t *testing.T) {
	requireDevices(t)
	t.Parallel()
	s := newSite(t, 1)
	d := newDevice(t, newPodman(t), "paris-01")
	s.devices = append(s.devices, d)
	s.network.plug(t, d)
	paris := s.reach(t, d, 1)
	file := s.describe(t, built.packages[0], paris)

	result, said, code := fleetDeploy(t.Context(), t, "apply", file, "--yes")
	require.Zero(t, code, said)
	require.Equal(t, "changed", result.states()["package fleet-agent"])
	require.Equal(t, "changed", result.states()["service fleet-agent"])
	require.Equal(t, "passed", result.states()["heartbeat seen by the fleet"])
	require.Equal(t, "600 root", d.must(t, "stat", "--format", "%a %U", "/etc/fleet-agent/device.nk"))
	require.Equal(t, "enabled", d.must(t, "systemctl", "is-enabled", "fleet-agent"))

	result, said, code = fleetDeploy(t.Context(), t, "apply", file, "--yes")
	require.Zero(t, code, said)
	require.Zero(t, result.changed(), said)
	require.Contains(t, said, "nothing to change")

	// Somebody changes something by hand.
	d.must(t, "sed", "-i", "s/rack/shelf/", "/etc/fleet-agent/config.toml")
	result, said, code = fleetDeploy(t.Context(), t, "apply", file, "--yes")
	require.Zero(t, code, said)
	require.Equal(t, 2, result.changed(), said)
	require.Equal(t, "changed", result.states()["file /etc/fleet-agent/config.toml"])
	require.Equal(t, "changed", result.states()["service fleet-agent"], "what it reads has changed")

	s.upgradeOverACut(t, d, s.describe(t, built.packages[1], paris))
	status, err := d.status(t.Context())
	require.NoError(t, err)
	require.Equal(t, "v0.0.2", status.Version)

	result, said, code = fleetDeploy(t.Context(), t, "destroy", file, "--yes")
	require.Zero(t, code, said)
	require.NotZero(t, result.changed())
	for _, path := range []string{"/usr/bin/fleet-agent", "/etc/fleet-agent", "/var/lib/fleet-agent"} {
		require.NoFileExists(t, filepath.Join(d.path("root"), path))
		require.NoDirExists(t, filepath.Join(d.path("root"), path))
	}
	result, said, code = fleetDeploy(t.Context(), t, "destroy", file, "--yes")
	require.Zero(t, code, said)
	require.Zero(t, result.changed(), said)
}

// upgradeOverACut starts an upgrade while the link is down, which comes back
// once the program has told that it tries again.
func (s *site) upgradeOverACut(t *testing.T, d *device, file string) {
	t.Helper()
	d.cutLink(t)
	program, err := fleettest.Start("fleet-deploy", filepath.Join(built.bin, "fleet-deploy"), []string{"apply", "-f", file, "--yes", "-o", "json"}, nil, nil)
	require.NoError(t, err)
	t.Cleanup(program.Kill)
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	require.NoError(t, fleettest.Until(ctx, "fleet-deploy to try again", func() (bool, string) {
		return strings.Contains(program.Output(), `"state":"retrying"`), program.Output()
	}))
	d.restoreLink(t)
	select {
	case <-program.Done():
	case <-ctx.Done():
		t.Fatal("fleet-deploy does not end: " + program.Output())
	}
	require.Contains(t, program.Output(), "from 0.0.1 to 0.0.2")
	result, said, code := fleetDeploy(t.Context(), t, "smoke", file)
	require.Zero(t, code, said)
	require.Equal(t, "passed", result.states()["heartbeat seen by the fleet"])
}
