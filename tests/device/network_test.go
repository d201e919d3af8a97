package device

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/tests/fleettest"
)

// network is a switch that devices are plugged into and that this host has an
// address on.
type network struct {
	name, prefix string
	plugged      int
}

// newNetwork makes a network of addresses that nothing on this host uses.
func newNetwork(t *testing.T) *network {
	t.Helper()
	n := &network{name: fmt.Sprintf("fleet%05d", rand.IntN(100_000)), prefix: freePrefix(t)}
	ip(t, "link", "add", n.name, "type", "bridge")
	t.Cleanup(func() {
		_, _, err := fleettest.Run(context.WithoutCancel(t.Context()), "ip", []string{"link", "delete", n.name}, nil)
		require.NoError(t, err)
	})
	ip(t, "address", "add", n.host()+"/24", "dev", n.name)
	ip(t, "link", "set", n.name, "up")
	return n
}

// freePrefix returns the first three bytes of a network under 10.200.
func freePrefix(t *testing.T) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	require.NoError(t, err)
	first := rand.IntN(256)
	for i := range 256 {
		prefix := fmt.Sprintf("10.200.%d", (first+i)%256)
		taken := false
		for _, address := range addresses {
			taken = taken || strings.HasPrefix(address.String(), prefix+".")
		}
		if !taken {
			return prefix
		}
	}
	t.Fatal("every network under 10.200.0.0/16 is in use")
	return ""
}

// host is this host's address on the network.
func (n *network) host() string { return n.prefix + ".1" }

// plug joins a device by a cable, and gives it an address. A device that loses
// its power loses the cable too.
func (n *network) plug(t *testing.T, d *device) {
	t.Helper()
	pid, err := d.podman.Run(t.Context(), "inspect", "--format", "{{.State.Pid}}", d.name)
	require.NoError(t, err)
	n.plugged++
	d.cable = fmt.Sprintf("%s-%d", n.name, n.plugged)
	ip(t, "link", "add", d.cable, "master", n.name, "type", "veth", "peer", "name", "eth0", "netns", pid)
	inside(t, pid, "address", "add", fmt.Sprintf("%s.%d/24", n.prefix, n.plugged+1), "dev", "eth0")
	inside(t, pid, "link", "set", "eth0", "up")
	d.restoreLink(t)
}

// cutLink takes the device's link down: it sees no carrier, and packets on
// their way are lost.
func (d *device) cutLink(t *testing.T) {
	t.Helper()
	ip(t, "link", "set", d.cable, "down")
}

// restoreLink takes the link up again.
func (d *device) restoreLink(t *testing.T) {
	t.Helper()
	ip(t, "link", "set", d.cable, "up")
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	_, said, err := fleettest.Run(t.Context(), "ip", args, nil)
	require.NoError(t, err, "ip %v: %s", args, said)
}

// inside runs ip in the network of a process.
func inside(t *testing.T, pid string, args ...string) {
	t.Helper()
	_, said, err := fleettest.Run(t.Context(), "nsenter", append([]string{"--target", pid, "--net", "ip"}, args...), nil)
	require.NoError(t, err, "ip %v: %s", args, said)
}
