package device

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/tests/fleettest"
)

// lookInterval is how often a device is looked at: each look starts programs.
const lookInterval = 200 * time.Millisecond

// deploymentLabel is on every container of the agent's. It is part of what is
// on devices.
const deploymentLabel = "io.nationtech.fleet.deployment"

// hardwareUnit does what the kernel and udev do on a device that is no
// container; users' engines need it.
const hardwareUnit = `[Unit]
Description=What hardware has and a container has not
DefaultDependencies=no
Before=sysinit.target

[Service]
Type=oneshot
ExecStart=/bin/chmod 0666 /dev/net/tun
ExecStart=/bin/mount --make-rshared /
`

// device is a Debian machine of its own, as far as its programs can tell.
type device struct {
	name   string
	podman *fleettest.Podman
	// disk holds what a power cut leaves: the changed part of its root file
	// system, its containers and its homes.
	disk string
	// cable is the host's end of its link.
	cable string
}

// newDevice makes a device and switches it on, without a network. Its end is
// that of the test.
func newDevice(t *testing.T, podman *fleettest.Podman, name string) *device {
	t.Helper()
	disk, err := os.MkdirTemp("", "fleet-device-") //nolint:usetesting // removed only after what is mounted in it
	require.NoError(t, err)
	d := &device{name: name, podman: podman, disk: disk}
	t.Cleanup(func() { d.scrap(t) })
	for _, directory := range []string{"upper", "work", "root", "containers", "home"} {
		require.NoError(t, os.Mkdir(filepath.Join(disk, directory), 0o755))
	}
	options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s", built.debian, d.path("upper"), d.path("work"))
	require.NoError(t, syscall.Mount("overlay", d.path("root"), "overlay", 0, options))
	// An overlay cannot be the upper part of another one: where containers are
	// kept is plain disk.
	_, err = podman.Run(t.Context(), "create", "--name", name, "--hostname", name, "--network", "none",
		"--privileged", "--systemd=always", "--volume", d.path("containers")+":/var/lib/containers",
		"--volume", d.path("home")+":/home", "--rootfs", d.path("root"), "/lib/systemd/systemd")
	require.NoError(t, err)
	// With control groups of version 1, podman through systemd would put all
	// containers of a device into one group, and crun would end them together.
	d.write(t, "/etc/containers/containers.conf", "[engine]\ncgroup_manager = \"cgroupfs\"\n", 0o644)
	d.write(t, "/etc/systemd/system/hardware.service", hardwareUnit, 0o644)
	wanted := d.path("root/etc/systemd/system/sysinit.target.wants")
	require.NoError(t, os.MkdirAll(wanted, 0o755))
	require.NoError(t, os.Symlink("../hardware.service", filepath.Join(wanted, "hardware.service")))
	d.powerOn(t)
	return d
}

func (d *device) path(name string) string { return filepath.Join(d.disk, name) }

// scrap removes the device.
func (d *device) scrap(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), timeout)
	defer cancel()
	if t.Failed() {
		log, err := d.run(ctx, "journalctl", "--no-pager", "--lines=200")
		t.Log(d.name, log, err)
	}
	_, err := d.podman.Run(ctx, "rm", "--force", "--time", "0", "--ignore", d.name)
	require.NoError(t, err)
	require.NoError(t, syscall.Unmount(d.path("root"), syscall.MNT_DETACH))
	require.NoError(t, os.RemoveAll(d.disk))
}

// powerOn starts the device and waits until it is up. No cable is plugged in.
func (d *device) powerOn(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	_, err := d.podman.Run(ctx, "start", d.name)
	require.NoError(t, err)
	require.NoError(t, fleettest.UntilEvery(ctx, lookInterval, d.name+" to be up", func() (bool, string) {
		state, err := d.run(ctx, "systemctl", "is-system-running")
		return state == "running" || state == "degraded", fmt.Sprint(state, err)
	}))
}

// cutPower ends everything on the device at once.
func (d *device) cutPower(t *testing.T) {
	t.Helper()
	_, err := d.podman.Run(t.Context(), "kill", "--signal", "KILL", d.name)
	require.NoError(t, err)
	_, err = d.podman.Run(t.Context(), "wait", d.name)
	require.NoError(t, err)
}

// run runs a command on the device and returns what it printed.
func (d *device) run(ctx context.Context, command ...string) (string, error) {
	return d.podman.Run(ctx, append([]string{"exec", d.name}, command...)...)
}

// must runs a command that has to succeed.
func (d *device) must(t *testing.T, command ...string) string {
	t.Helper()
	out, err := d.run(t.Context(), command...)
	require.NoError(t, err, "on %s", d.name)
	return out
}

// eventually waits until a command succeeds.
func (d *device) eventually(t *testing.T, command ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	require.NoError(t, fleettest.UntilEvery(ctx, lookInterval, fmt.Sprintf("%q on %s", command, d.name), func() (bool, string) {
		_, err := d.run(ctx, command...)
		return err == nil, fmt.Sprint(err)
	}))
}

// write puts a file on the device.
func (d *device) write(t *testing.T, path, content string, mode os.FileMode) {
	t.Helper()
	full := filepath.Join(d.path("root"), path)
	if home, ok := strings.CutPrefix(path, "/home/"); ok {
		full = filepath.Join(d.path("home"), home)
	}
	require.NoError(t, os.MkdirAll(filepath.Dir(full), 0o755))
	require.NoError(t, os.WriteFile(full, []byte(content), mode))
}

// install installs a version of the package, as its administrator would.
func (d *device) install(t *testing.T, deb string) {
	t.Helper()
	content, err := os.ReadFile(deb)
	require.NoError(t, err)
	d.write(t, "/root/fleet-agent.deb", string(content), 0o644)
	d.must(t, "dpkg", "--install", "/root/fleet-agent.deb")
}

// agentStatus is the part of `fleet-agent status -o json` that tests read.
type agentStatus struct {
	Running bool
	Version string
	Link    struct{ Connected bool }

	DesiredGeneration uint64
	Deployments       []agentDeployment
}

type agentDeployment struct {
	Name     string
	Phase    contracts.Phase
	Restarts uint64
	Services []contracts.ServiceReport
}

// deployment returns what is known about one, nothing when it is unknown.
func (s agentStatus) deployment(name string) agentDeployment {
	for _, deployment := range s.Deployments {
		if deployment.Name == name {
			return deployment
		}
	}
	return agentDeployment{}
}

// status asks the agent on the device.
func (d *device) status(ctx context.Context) (agentStatus, error) {
	var status agentStatus
	out, err := d.run(ctx, "fleet-agent", "status", "--output", "json")
	if err != nil {
		return status, err
	}
	return status, json.Unmarshal([]byte(out), &status)
}

// awaitStatus waits until the agent's status is as wanted, and returns it.
func (d *device) awaitStatus(t *testing.T, what string, wanted func(agentStatus) bool) agentStatus {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	var status agentStatus
	require.NoError(t, fleettest.UntilEvery(ctx, lookInterval, d.name+" "+what, func() (bool, string) {
		var err error
		status, err = d.status(ctx)
		return err == nil && wanted(status), fmt.Sprintf("%+v (%v)", status, err)
	}))
	return status
}

// allRunning reports whether there is a deployment and all of them run.
func (s agentStatus) allRunning() bool {
	for _, deployment := range s.Deployments {
		if deployment.Phase != contracts.PhaseRunning {
			return false
		}
	}
	return s.Running && len(s.Deployments) > 0
}

// container is one that runs on a device. It is comparable: equal ones did not
// stop between two looks.
type container struct {
	ID        string
	PID       int
	StartedAt time.Time
}

// containers returns the running containers of a service, by deployment.
func (d *device) containers(t *testing.T) map[string]container {
	t.Helper()
	var listed []struct {
		ID        string `json:"Id"`
		Names     []string
		Labels    map[string]string
		Pid       int
		StartedAt int64
	}
	require.NoError(t, json.Unmarshal([]byte(d.must(t, "podman", "ps", "--format", "json")), &listed))
	found := map[string]container{}
	for _, one := range listed {
		found[one.Labels[deploymentLabel]] = container{ID: one.ID, PID: one.Pid, StartedAt: time.Unix(one.StartedAt, 0)}
	}
	require.Len(t, found, len(listed), "one container for each deployment: %+v", listed)
	return found
}
