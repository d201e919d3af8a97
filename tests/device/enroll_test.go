package device

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"github.com/nationtech/harmony-fleet/tests/fleettest"
)

// startAuthFleet starts a fleet whose devices enroll. It is on this host's
// loopback interface alone.
func startAuthFleet(t *testing.T) *fleettest.Dev {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	fleet, err := fleettest.StartDev(ctx, built.bin, t.TempDir(), nil,
		"--auth", "--devices", "0", "--port", "0", "--heartbeat-interval", "1s", "--no-agents")
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(fleet.Output())
		}
		require.NoError(t, fleet.End())
	})
	require.NoError(t, fleettest.Until(ctx, "the fleet to admit clients", func() (bool, string) {
		out, err := fleet.CLI(ctx, "get", "devices")
		return err == nil, fmt.Sprint(out, err)
	}))
	return fleet
}

// tunnel lets the device reach a port of this host's loopback interface at the
// same port of its own, over SSH.
func (d *device) tunnel(t *testing.T, address, user, keyFile string, ports ...string) {
	t.Helper()
	pem, err := os.ReadFile(keyFile)
	require.NoError(t, err)
	key, err := ssh.ParsePrivateKey(pem)
	require.NoError(t, err)
	client, err := ssh.Dial("tcp", net.JoinHostPort(address, "22"), &ssh.ClientConfig{
		User: user, Auth: []ssh.AuthMethod{ssh.PublicKeys(key)}, HostKeyCallback: ssh.InsecureIgnoreHostKey(), //nolint:gosec // a device of this test
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	for _, port := range ports {
		local := net.JoinHostPort("127.0.0.1", port)
		listener, err := client.Listen("tcp", local)
		require.NoError(t, err)
		go func() {
			for {
				from, err := listener.Accept()
				if err != nil {
					return // the client was closed
				}
				go relay(from, local)
			}
		}()
	}
}

// relay passes on what comes until either end closes.
func relay(from net.Conn, address string) {
	defer func() { _ = from.Close() }()
	to, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(to, from)
		_ = to.Close()
	}()
	_, _ = io.Copy(from, to)
}

// enrolling is a device, reached by SSH, with the file of its site.
type enrolling struct {
	fleet   *fleettest.Dev
	device  *device
	address string
	key     string
	hostKey string
}

func newEnrolling(t *testing.T) *enrolling {
	t.Helper()
	e := &enrolling{fleet: startAuthFleet(t), device: newDevice(t, newPodman(t), "paris-01")}
	network := newNetwork(t)
	network.plug(t, e.device)
	e.address = network.prefix + ".2"
	e.key = e.device.letIn(t, "pi")
	e.device.eventually(t, "systemctl", "is-active", "ssh")
	e.hostKey = strings.Fields(e.device.must(t, "ssh-keygen", "-lf", "/etc/ssh/ssh_host_ed25519_key.pub"))[1]
	server, err := url.Parse(e.fleet.Server)
	require.NoError(t, err)
	identity, err := os.ReadFile(filepath.Join(e.fleet.Dir, "identity-address"))
	require.NoError(t, err)
	_, port, err := net.SplitHostPort(strings.TrimSpace(string(identity)))
	require.NoError(t, err)
	e.device.tunnel(t, e.address, "pi", e.key, server.Port(), port)
	return e
}

// describe writes the site's file. enroll and host are more of their tables.
func (e *enrolling) describe(t *testing.T, enroll, host string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "site.yaml")
	require.NoError(t, os.WriteFile(path, fmt.Appendf(nil, `agents:
  packages: [%q]
  servers: [%q]
  ssh: {user: pi, keyFile: %q}
  fleet: {server: %q, nkeyFile: %q}
  enroll: {%s}
  hosts:
    - {device: paris-01, address: %q, hostKey: %q, %s}
`, built.packages[0], e.fleet.Server, e.key, e.fleet.Server, e.fleet.NKey, enroll, e.address, e.hostKey, host), 0o600))
	return path
}

const (
	tokenOnDevice    = "/etc/fleet-agent/enrollment.token"
	identityOnDevice = "/var/lib/fleet-agent/identity"
)

// TestFleetDeployEnrolls brings a device from nothing to a heartbeat with a key
// that was made on it, which a person approves between two runs.
func TestFleetDeployEnrolls(t *testing.T) {
	requireDevices(t)
	t.Parallel()
	e := newEnrolling(t)
	d := e.device
	waiting := e.describe(t, "manual: true, wait: 1s", "fleetLabels: {site: paris}")

	result, said, code := fleetDeploy(t.Context(), t, "apply", waiting, "--yes")
	require.Equal(t, 1, code, said)
	require.NotNil(t, result.Results[0].Failure, said)
	require.Equal(t, "enrollment", result.Results[0].Failure.Step, said)
	require.Contains(t, result.Results[0].Failure.Error, "nobody has approved the device within 1s")
	require.Contains(t, result.Results[0].Failure.Next, "fleet enroll approve paris-01")
	require.Contains(t, said, "a person has to approve it", "progress says what it waits for")
	require.Equal(t, "600 root", d.must(t, "stat", "--format", "%a %U", tokenOnDevice))
	token := d.must(t, "cat", tokenOnDevice)
	e.tellsNoToken(t, said, token)
	_, err := d.run(t.Context(), "systemctl", "is-active", "fleet-agent")
	require.Error(t, err, "it is not started without an identity")

	_, err = e.fleet.CLI(t.Context(), "enroll", "approve", "paris-01")
	require.NoError(t, err)
	result, said, code = fleetDeploy(t.Context(), t, "apply", waiting, "--yes")
	require.Zero(t, code, said)
	require.Equal(t, "changed", result.states()["enrollment"])
	require.Equal(t, "passed", result.states()["heartbeat seen by the fleet"])
	require.Contains(t, said, "go on with an enrollment that has begun")
	require.Contains(t, said, "is enrolled as")
	e.tellsNoToken(t, said, token)
	require.NoFileExists(t, filepath.Join(d.path("root"), tokenOnDevice))
	for file := range strings.FieldsSeq(d.must(t, "find", identityOnDevice, "-type", "f")) {
		require.Equal(t, "600 root", d.must(t, "stat", "--format", "%a %U", file), file)
	}
	out, err := e.fleet.CLI(t.Context(), "get", "devices", "-l", "site=paris")
	require.NoError(t, err)
	require.Contains(t, out, "paris-01", "it has the labels of its invitation")

	result, said, code = fleetDeploy(t.Context(), t, "apply", waiting, "--yes")
	require.Zero(t, code, said)
	require.Zero(t, result.changed(), said)
	require.Contains(t, said, "enrolled as paris-01")

	e.loseIdentity(t)
	e.useTokens(t)
}

func (e *enrolling) tellsNoToken(t *testing.T, said, token string) {
	t.Helper()
	require.NotContains(t, said, strings.TrimSpace(token))
	require.NotContains(t, said, "fleet-enroll-v1.", "not a part of it either")
}

// loseIdentity has the device lose its identity: it gets another one only when
// the file says so.
func (e *enrolling) loseIdentity(t *testing.T) {
	t.Helper()
	d := e.device
	d.must(t, "rm", "-r", identityOnDevice)
	result, said, code := fleetDeploy(t.Context(), t, "apply", e.describe(t, "", ""), "--yes")
	require.Equal(t, 1, code, said)
	require.Equal(t, "enrollment", result.Results[0].Failure.Step, said)
	require.Contains(t, result.Results[0].Failure.Error, "device paris-01 has an identity already, which is not on this host")
	require.Contains(t, result.Results[0].Failure.Next, "replace: true")

	result, said, code = fleetDeploy(t.Context(), t, "apply", e.describe(t, "", "replace: true"), "--yes")
	require.Zero(t, code, said)
	require.Equal(t, "changed", result.states()["service fleet-agent"], "the daemon has the lost identity still")
	require.Equal(t, "passed", result.states()["heartbeat seen by the fleet"])
}

// useTokens enrolls with tokens that a person made: one of another device, one
// that was used elsewhere, and a good one.
func (e *enrolling) useTokens(t *testing.T) {
	t.Helper()
	d := e.device
	make := func(device string, more ...string) string {
		path := filepath.Join(t.TempDir(), "token")
		_, err := e.fleet.CLI(t.Context(), append([]string{"enroll", "create", device, "--token-file", path}, more...)...)
		require.NoError(t, err)
		return path
	}
	apply := func(token string) (deployed, string, int) {
		return fleetDeploy(t.Context(), t, "apply", e.describe(t, "", fmt.Sprintf("tokenFile: %q", token)), "--yes")
	}
	result, said, code := apply("/nonexistent")
	require.Zero(t, code, "an enrolled device needs no token: %s", said)
	require.Zero(t, result.changed(), said)

	used := make("paris-01", "--replace")
	d.must(t, "rm", "-r", identityOnDevice)
	for token, says := range map[string][2]string{
		"/nonexistent":  {"no such file", "fleet enroll create paris-01 --token-file /nonexistent"},
		make("lyon-01"): {`is that of device "lyon-01"`, "name that of paris-01"},
	} {
		result, said, code = apply(token)
		require.Equal(t, 1, code, said)
		require.Contains(t, result.Results[0].Failure.Error, says[0])
		require.Contains(t, result.Results[0].Failure.Next, says[1])
	}
	d.must(t, "mkdir", "-p", "/root/thief")
	text, err := os.ReadFile(used)
	require.NoError(t, err)
	d.write(t, "/root/token", string(text), 0o600)
	d.write(t, "/root/thief.toml", "state_dir = \"/root/thief\"\n", 0o600)
	d.must(t, "fleet-agent", "enroll", "--config", "/root/thief.toml", "--server", e.fleet.Server, "--token-file", "/root/token")
	result, said, code = apply(used)
	require.Equal(t, 1, code, said)
	require.Contains(t, result.Results[0].Failure.Error, "the token was used with another key already")
	require.Contains(t, result.Results[0].Failure.Next, "fleet enroll create paris-01 --replace")
	e.tellsNoToken(t, said, string(text))

	result, said, code = apply(make("paris-01", "--replace"))
	require.Zero(t, code, said)
	require.Equal(t, "passed", result.states()["heartbeat seen by the fleet"])
}
