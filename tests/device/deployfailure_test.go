package device

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/tests/fleettest"
)

// cutter is a link to an SSH server that can be made to break.
type cutter struct {
	address string
	// budget is after how many bytes from the client each connection breaks;
	// zero for never.
	budget atomic.Int64
}

func newCutter(t *testing.T, server string) *cutter {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	c := &cutter{address: listener.Addr().String()}
	go func() {
		for {
			from, err := listener.Accept()
			if err != nil {
				return // the test ends
			}
			go c.relay(from, server)
		}
	}()
	return c
}

func (c *cutter) relay(from net.Conn, server string) {
	defer func() { _ = from.Close() }()
	to, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer func() { _ = to.Close() }()
	go func() {
		defer func() { _, _ = from.Close(), to.Close() }()
		if most := c.budget.Load(); most > 0 {
			_, _ = io.CopyN(to, from, most)
		} else {
			_, _ = io.Copy(to, from)
		}
	}()
	_, _ = io.Copy(from, to)
}

// otherArchitecture makes the package one for hosts of another kind.
func otherArchitecture(t *testing.T, deb string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "package")
	run := func(program string, args ...string) {
		_, said, err := fleettest.Run(t.Context(), program, args, nil)
		require.NoError(t, err, said)
	}
	run("dpkg-deb", "--raw-extract", deb, dir)
	run("sed", "-i", "s/^Architecture: .*/Architecture: s390x/", filepath.Join(dir, "DEBIAN", "control"))
	run("dpkg-deb", "--build", "-Zgzip", "-z1", dir, dir+".deb")
	return dir + ".deb"
}

// hostFailure is something that goes wrong on the way to a host or on it.
type hostFailure struct {
	injected string
	// inject returns how it is undone. Before and after it, all is well.
	inject func(t *testing.T) (undo func())
	// pkg and hostKey are described instead of the right ones. installed takes the
	// version that is there already, and the other one is installed otherwise.
	pkg, hostKey string
	installed    bool
	// How the run ends: at which step, with what text, and what is to be done.
	step, says, next string
	// changes are the steps that a second run without the failure changes at
	// least.
	changes []string
}

// TestFleetDeployFailures injects what goes wrong with hosts, one thing after the
// other, and prints what was said and what a second run did.
func TestFleetDeployFailures(t *testing.T) {
	requireDevices(t)
	t.Parallel()
	s := newSite(t, 1)
	d := newDevice(t, newPodman(t), "paris-01")
	s.devices = append(s.devices, d)
	s.network.plug(t, d)
	paris := s.reach(t, d, 1)
	link := newCutter(t, net.JoinHostPort(paris.address, "22"))
	paris.address = link.address
	done := func(t *testing.T, undo ...string) func() {
		t.Helper()
		return func() { d.must(t, undo...) }
	}

	failures := []hostFailure{
		{
			injected: "another host key", hostKey: "SHA256:" + strings.Repeat("A", 43),
			step: "host", says: "shows another key than expected", next: "find out whether the host was installed anew",
			changes: []string{"package fleet-agent", "file /etc/fleet-agent/device.nk", "service fleet-agent"},
		},
		{
			injected: "sudo refused",
			inject: func(t *testing.T) func() {
				t.Helper()
				d.must(t, "mv", "/etc/sudoers.d/pi", "/root/sudoers")
				return done(t, "mv", "/root/sudoers", "/etc/sudoers.d/pi")
			},
			step: "host", says: "user pi may not become root", next: "let the user run sudo without a password",
		},
		{
			injected: "package of another architecture", pkg: otherArchitecture(t, built.packages[1]),
			step: "package fleet-agent", says: "none of the packages is a .deb for", next: "build it (make packages)",
			changes: []string{"package fleet-agent", "service fleet-agent"},
		},
		{
			injected: "disk full during the upload",
			inject: func(t *testing.T) func() {
				t.Helper()
				d.must(t, "mount", "-t", "tmpfs", "-o", "size=1m", "full", "/var/cache/fleet-deploy")
				return done(t, "umount", "/var/cache/fleet-deploy")
			},
			step: "package fleet-agent", says: "no space left on the disk", next: "make room on the host",
			changes: []string{"package fleet-agent", "service fleet-agent"},
		},
		{
			injected: "SSH cut in the middle of the upload, each time",
			inject: func(*testing.T) func() {
				link.budget.Store(1 << 20)
				return func() { link.budget.Store(0) }
			},
			step: "package fleet-agent", says: "the SSH connection to " + link.address + " broke", next: "see that the host is up",
			changes: []string{"package fleet-agent", "service fleet-agent"},
		},
		{
			injected: "disk full before the credential", installed: true,
			inject: func(t *testing.T) func() {
				t.Helper()
				d.must(t, "mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "full", "/etc/fleet-agent")
				d.must(t, "sh", "-c", "! head -c 1000000 /dev/zero 2>/dev/null >/etc/fleet-agent/filler")
				return done(t, "rm", "/etc/fleet-agent/filler")
			},
			step: "file /etc/fleet-agent/device.nk", says: "no space left on the disk", next: "make room on the host",
			changes: []string{"file /etc/fleet-agent/device.nk", "file /etc/fleet-agent/config.toml", "service fleet-agent"},
		},
		{
			injected: "service does not start", installed: true,
			inject: func(t *testing.T) func() {
				t.Helper()
				// What the service reads has changed, so it is to be started anew.
				d.must(t, "sed", "-i", "s/rack/shelf/", "/etc/fleet-agent/config.toml")
				d.must(t, "mkdir", "-p", "/etc/systemd/system/fleet-agent.service.d")
				d.write(t, "/etc/systemd/system/fleet-agent.service.d/broken.conf", "[Service]\nExecStartPre=/bin/false\n", 0o644)
				return done(t, "rm", "-r", "/etc/systemd/system/fleet-agent.service.d")
			},
			step: "service fleet-agent", says: "ended with code 1", next: "systemctl status fleet-agent",
			changes: []string{"service fleet-agent"},
		},
	}
	seed := s.prepared(t, d.name).seed
	var table strings.Builder
	fmt.Fprintln(&table, "\n| step | injected | error | next | second run |\n|---|---|---|---|---|")
	version := 1
	for _, f := range failures {
		t.Run(f.injected, func(t *testing.T) {
			if !f.installed {
				version = 1 - version
			}
			fmt.Fprintln(&table, f.run(t, s, paris, built.packages[version]))
			requireWhole(t, d, seed)
		})
	}
	t.Log(table.String())
}

// run injects the failure, looks at what is said, and goes on without it. It
// returns the row of the table.
func (f hostFailure) run(t *testing.T, s *site, to reached, pkg string) string {
	t.Helper()
	well := s.describe(t, pkg, to)
	if f.hostKey != "" {
		to.hostKey = f.hostKey
	}
	if f.pkg != "" {
		pkg = f.pkg
	}
	undo := func() {}
	if f.inject != nil {
		undo = f.inject(t)
	}
	result, said, code := fleetDeploy(t.Context(), t, "apply", s.describe(t, pkg, to), "--yes")
	failure := result.Results[0].Failure
	require.Equal(t, 1, code, "%s: %s", f.injected, said)
	require.NotNil(t, failure, f.injected)
	require.Equal(t, f.step, failure.Step, "%s: %s", f.injected, said)
	require.Contains(t, failure.Error, f.says, f.injected)
	require.Contains(t, failure.Next, f.next, f.injected)
	seed := s.prepared(t, to.device.name).seed
	require.NotContains(t, said, strings.TrimSpace(seed), "%s: the credential is not told", f.injected)
	requireWhole(t, to.device, seed)
	undo()

	result, said, code = fleetDeploy(t.Context(), t, "apply", well, "--yes")
	require.Zero(t, code, "%s: %s", f.injected, said)
	for _, step := range f.changes {
		require.Equal(t, "changed", result.states()[step], "%s: %s: %s", f.injected, step, said)
	}
	require.Equal(t, "passed", result.states()["heartbeat seen by the fleet"], f.injected)
	text, _, _ := strings.Cut(failure.Error, "\n")
	return fmt.Sprintf("| %s | %s | %s | %s | %d changed, works |", failure.Step, f.injected, text, failure.Next, result.changed())
}

// requireWhole checks that the credential is as it should be or not there, and
// that nothing half-written lies about.
func requireWhole(t *testing.T, d *device, seed string) {
	t.Helper()
	if content, err := d.run(t.Context(), "cat", "/etc/fleet-agent/device.nk"); err == nil {
		require.Equal(t, strings.TrimSpace(seed), strings.TrimSpace(content))
		require.Equal(t, "600 root", d.must(t, "stat", "--format", "%a %U", "/etc/fleet-agent/device.nk"))
	}
	// The shell of a connection that broke takes a moment to notice.
	d.eventually(t, "sh", "-c", `[ -z "$(find /etc /usr/bin /var/cache /var/lib/fleet-agent -name '*.fleet-deploy' 2>/dev/null)" ]`)
}
