package device

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestWithoutRoot runs the agent as the service of a user who lingers, with the
// containers of that user's engine, through a power cut.
func TestWithoutRoot(t *testing.T) {
	requireDevices(t)
	t.Parallel()
	s := newSite(t, 1)
	d := s.newDevice(t, newPodman(t), "paris-01")
	s.network.plug(t, d)
	d.must(t, "useradd", "--create-home", "--shell", "/bin/bash", "pi")
	prepared := s.prepared(t, d.name)
	d.write(t, "/home/pi/.config/fleet-agent/config.toml", fmt.Sprintf(`device = %q
state_dir = "/home/pi/.local/state/fleet-agent"
signing_keys = [%q]

[broker]
servers = [%q]
nkey_file = "/home/pi/.config/fleet-agent/device.nk"
`, d.name, prepared.settings.SigningKey, prepared.settings.Server), 0o600)
	d.write(t, "/home/pi/.config/fleet-agent/device.nk", prepared.seed, 0o600)
	d.must(t, "chown", "--recursive", "pi:pi", "/home/pi")

	d.must(t, "loginctl", "enable-linger", "pi")
	d.eventually(t, "systemctl", "--user", "--machine=pi@", "show-environment")
	d.must(t, "systemctl", "--user", "--machine=pi@", "enable", "--now", "podman.socket", "fleet-agent")

	s.apply(t, "web", "one")
	s.awaitRunning(t, "web")
	agent := d.must(t, "systemctl", "--user", "--machine=pi@", "show", "--property=MainPID", "--value", "fleet-agent")
	require.Equal(t, "pi", d.must(t, "stat", "--format", "%U", "/proc/"+agent))
	require.Equal(t, "fleet.web.app", d.asUser(t, "podman ps --format '{{.Names}}'"))
	require.Empty(t, d.must(t, "podman", "ps", "--quiet"), "root's engine is not touched")
	require.Contains(t, d.asUser(t, "fleet-agent --config .config/fleet-agent/config.toml status"), "Running")

	pulls := s.registry.Pulls()
	d.cutPower(t)
	d.powerOn(t)
	d.eventually(t, "sh", "-c", userCommand(`test "$(podman ps --format '{{.Names}}')" = fleet.web.app`))
	require.Equal(t, pulls, s.registry.Pulls())

	d.must(t, "systemctl", "--user", "--machine=pi@", "disable", "--now", "fleet-agent")
	d.asUser(t, "fleet-agent --config .config/fleet-agent/config.toml purge")
	require.Empty(t, d.asUser(t, "podman ps --all --quiet"))
}

// asUser runs a command line of the user's.
func (d *device) asUser(t *testing.T, line string) string {
	t.Helper()
	return d.must(t, "sh", "-c", userCommand(line))
}

// userCommand is a line for root's shell that runs one of the user's.
func userCommand(line string) string {
	return "su --login pi --command " + quote("export XDG_RUNTIME_DIR=/run/user/$(id -u); "+line)
}

func quote(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
