package device

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/tests/fleettest"
)

// newPodman prepares the engine that devices run on.
func newPodman(t *testing.T) *fleettest.Podman {
	t.Helper()
	dir, err := os.MkdirTemp("", "fleet-podman-") //nolint:usetesting // short, for the socket's sake
	require.NoError(t, err)
	podman, err := fleettest.NewPodman(dir)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, podman.Close(context.WithoutCancel(t.Context())))
		require.NoError(t, os.RemoveAll(dir))
	})
	return podman
}

// TestPackage installs, upgrades, removes and purges the package on a device
// without a network.
func TestPackage(t *testing.T) {
	requireDevices(t)
	t.Parallel()
	d := newDevice(t, newPodman(t), "fleet-package")

	d.install(t, built.packages[0])
	require.Equal(t, "600 root", d.must(t, "stat", "--format", "%a %U", "/etc/fleet-agent/config.toml"))
	require.Equal(t, "700 root", d.must(t, "stat", "--format", "%a %U", "/etc/fleet-agent"))
	d.mustFail(t, "systemctl", "is-active", "fleet-agent")
	d.mustFail(t, "fleet-agent", "check")
	d.checkUnits(t)
	process, started := d.runFromDisk(t)
	require.Equal(t, "700 root", d.must(t, "stat", "--format", "%a %U", "/var/lib/fleet-agent"))
	agent := d.must(t, "systemctl", "show", "--property=MainPID", "--value", "fleet-agent")
	d.checkConfinement(t, agent)

	d.install(t, built.packages[1])
	upgraded := d.awaitStatus(t, "runs the new version", func(s agentStatus) bool { return s.Version == "v0.0.2" && s.allRunning() })
	require.NotEqual(t, agent, d.must(t, "systemctl", "show", "--property=MainPID", "--value", "fleet-agent"))
	require.Equal(t, process, upgraded.Deployments[0].Services[0].PID, "the workload goes on")
	require.Equal(t, started, d.startOf(t, process))
	d.must(t, "grep", "--quiet", `device = "pi-1"`, "/etc/fleet-agent/config.toml")

	d.must(t, "dpkg", "--remove", "fleet-agent")
	d.mustFail(t, "systemctl", "is-active", "fleet-agent")
	for _, gone := range []string{
		fmt.Sprintf("/proc/%d", process), "/usr/bin/fleet-agent",
		"/etc/systemd/system/multi-user.target.wants/fleet-agent.service",
	} {
		d.mustFail(t, "test", "-e", gone)
	}
	d.must(t, "test", "-e", "/etc/fleet-agent/config.toml")
	d.must(t, "test", "-e", "/var/lib/fleet-agent")

	d.must(t, "dpkg", "--purge", "fleet-agent")
	d.mustFail(t, "test", "-e", "/etc/fleet-agent")
	d.mustFail(t, "test", "-e", "/var/lib/fleet-agent")
}

// runFromDisk starts the agent with what one that was connected once has on its
// disk: one process to run. It returns the process and when it was started.
func (d *device) runFromDisk(t *testing.T) (process int, started string) {
	t.Helper()
	key := ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize))
	d.write(t, "/var/lib/fleet-agent/agent/desired-state.json", string(desiredProcess(t, key)), 0o600)
	public, _ := key.Public().(ed25519.PublicKey)
	d.fillIn(t, settings{Device: "pi-1", SigningKey: contracts.FormatPublicKey(public), Server: "nats://127.0.0.1:1"})
	d.must(t, "sed", "--in-place", "s|^nkey_file|# nkey_file|", "/etc/fleet-agent/config.toml")
	d.must(t, "fleet-agent", "check")
	d.must(t, "systemctl", "enable", "--now", "fleet-agent")
	process = d.awaitStatus(t, "runs the workload from disk", agentStatus.allRunning).Deployments[0].Services[0].PID
	return process, d.startOf(t, process)
}

// startOf is when a process was started, in the kernel's clock ticks: a PID can be
// used again.
func (d *device) startOf(t *testing.T, process int) string {
	t.Helper()
	return d.must(t, "cut", "-d ", "-f22", fmt.Sprintf("/proc/%d/stat", process))
}

// checkUnits has systemd look for mistakes in both units. It exits with 0 when
// it only complains.
func (d *device) checkUnits(t *testing.T) {
	t.Helper()
	for _, command := range []string{
		"systemd-analyze verify --man=no fleet-agent.service 2>&1",
		"XDG_RUNTIME_DIR=/tmp systemd-analyze verify --man=no --user /usr/lib/systemd/user/fleet-agent.service 2>&1",
		// 10 is a unit without any confinement.
		"systemd-analyze security --threshold=40 --no-pager fleet-agent.service >/dev/null",
	} {
		require.Empty(t, d.must(t, "sh", "-c", command), command)
	}
}

// checkConfinement looks at the host as a process of the agent's unit does.
func (d *device) checkConfinement(t *testing.T, pid string) {
	t.Helper()
	within := []string{"nsenter", "--target", pid, "--mount", "touch"}
	d.must(t, append(within, "/var/lib/fleet-agent/touched")...)
	for _, path := range []string{"/etc/touched", "/usr/bin/touched", "/root/touched"} {
		d.mustFail(t, append(within, path)...)
	}
	status := d.must(t, "cat", "/proc/"+pid+"/status")
	require.Regexp(t, `NoNewPrivs:\s+1\n`, status)
	require.Regexp(t, `Seccomp:\s+2\n`, status)
}

// mustFail runs a command that has to fail by itself.
func (d *device) mustFail(t *testing.T, command ...string) {
	t.Helper()
	_, err := d.run(t.Context(), command...)
	failure, ok := errors.AsType[*exec.ExitError](err)
	// From 125 on it is podman's own failure.
	require.True(t, ok && failure.ExitCode() < 125, "%q on %s: %v", command, d.name, err)
}

// settings are what an administrator fills into the package's configuration.
type settings struct{ Device, SigningKey, Server string }

// fillIn edits the configuration that the package installed.
func (d *device) fillIn(t *testing.T, s settings) {
	t.Helper()
	d.must(t, "sed", "--in-place", fmt.Sprintf(`s|^device = .*|device = %q|; s|^# nkey_file = |nkey_file = |; s|^signing_keys = .*|signing_keys = [%q]|
		s|^servers = .*|servers = [%q]|`, s.Device, s.SigningKey, s.Server), "/etc/fleet-agent/config.toml")
}

// desiredProcess is the signed desired state of pi-1, which runs one process.
func desiredProcess(t *testing.T, key ed25519.PrivateKey) []byte {
	t.Helper()
	document, err := contracts.Encode(contracts.DesiredState{
		Device: "pi-1", Generation: 1, HeartbeatInterval: contracts.DefaultHeartbeatInterval,
		Deployments: []contracts.DesiredDeployment{{
			Name: "app", Generation: 1,
			Score: contracts.ReconcileScore{
				Type: contracts.ScoreProcessV0,
				Data: []byte(`{"services":[{"name":"sleep","command":["/usr/bin/sleep"],"args":["987654"]}]}`),
			},
		}},
	})
	require.NoError(t, err)
	return contracts.Sign(document, key)
}
