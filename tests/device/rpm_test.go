package device

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// rpm runs rpm on the device with a package. Debian's packages are not in rpm's
// database, so what ours needs would not be found there.
func (d *device) rpm(t *testing.T, action, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	require.NoError(t, err)
	d.write(t, "/root/fleet-agent.rpm", string(content), 0o644)
	return d.must(t, "rpm", action, "--nodeps", "--verbose", "/root/fleet-agent.rpm")
}

// TestRPM installs, upgrades and erases the package for rpm on a device without a
// network.
func TestRPM(t *testing.T) {
	requireDevices(t)
	t.Parallel()
	d := newDevice(t, newPodman(t), "fleet-rpm")

	d.rpm(t, "--install", built.rpms[0])
	require.Equal(t, "600 root", d.must(t, "stat", "--format", "%a %U", "/etc/fleet-agent/config.toml"))
	require.Equal(t, "700 root", d.must(t, "stat", "--format", "%a %U", "/etc/fleet-agent"))
	d.must(t, "rpm", "--verify", "--nodeps", "fleet-agent")
	d.mustFail(t, "systemctl", "is-active", "fleet-agent")
	d.mustFail(t, "fleet-agent", "check")
	d.checkUnits(t)
	process, started := d.runFromDisk(t)
	agent := d.must(t, "systemctl", "show", "--property=MainPID", "--value", "fleet-agent")

	d.rpm(t, "--upgrade", built.rpms[1])
	upgraded := d.awaitStatus(t, "runs the new version", func(s agentStatus) bool { return s.Version == "v0.0.2" && s.allRunning() })
	require.NotEqual(t, agent, d.must(t, "systemctl", "show", "--property=MainPID", "--value", "fleet-agent"))
	require.Equal(t, process, upgraded.Deployments[0].Services[0].PID, "the workload goes on")
	require.Equal(t, started, d.startOf(t, process))
	d.must(t, "systemctl", "is-enabled", "fleet-agent")
	d.must(t, "grep", "--quiet", `device = "pi-1"`, "/etc/fleet-agent/config.toml")
	require.Equal(t, "fleet-agent", d.must(t, "rpm", "--query", "--queryformat", "%{NAME}", "fleet-agent"), "one version is installed")

	d.must(t, "rpm", "--erase", "--verbose", "fleet-agent")
	d.mustFail(t, "systemctl", "is-active", "fleet-agent")
	for _, gone := range []string{
		fmt.Sprintf("/proc/%d", process), "/usr/bin/fleet-agent", "/etc/fleet-agent/config.toml",
		"/etc/systemd/system/multi-user.target.wants/fleet-agent.service",
	} {
		d.mustFail(t, "test", "-e", gone)
	}
	// As docs/operations.md says: rpm keeps what an administrator wrote aside.
	d.must(t, "grep", "--quiet", `device = "pi-1"`, "/etc/fleet-agent/config.toml.rpmsave")
	d.must(t, "test", "-e", "/var/lib/fleet-agent")
	d.mustFail(t, "rpm", "--query", "fleet-agent")
}
