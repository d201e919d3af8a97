package device

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
)

// runs reports whether a device said that it runs a generation of a deployment.
func (s *site) runs(d *device, name string, generation uint64) bool {
	report, ok := s.observer.Device(d.name).Deployment(contracts.DeploymentName(name))
	return ok && report.Generation == generation && report.Phase == contracts.PhaseRunning
}

// TestDevicesInTheField takes two devices through what happens to them: the
// link is cut, the power is cut with and without a network afterwards, and the
// broker dies in the middle of a rollout.
func TestDevicesInTheField(t *testing.T) {
	requireDevices(t)
	t.Parallel()
	podman := newPodman(t)
	s := newSite(t, 2)
	s.join(t, podman, "paris-01")
	s.join(t, podman, "paris-02")
	first, second := s.devices[0], s.devices[1]

	s.apply(t, "base", "one")
	s.apply(t, "web", "one")
	s.awaitRunning(t, "base")
	require.EqualValues(t, 1, s.awaitRunning(t, "web"))
	pulls := s.registry.Pulls()
	require.Positive(t, pulls)

	// Each step needs the ones before it.
	require.True(t, t.Run("cut off", func(t *testing.T) { s.cutOff(t, first, second) }))
	require.True(t, t.Run("power cut", func(t *testing.T) { s.losePower(t, second) }))
	require.True(t, t.Run("power cut without a network", func(t *testing.T) { s.losePowerAndNetwork(t, first) }))
	require.True(t, t.Run("broker killed in a rollout", func(t *testing.T) { s.killBroker(t, first, second) }))
	require.True(t, t.Run("removal", func(t *testing.T) { s.remove(t) }))
	require.Equal(t, pulls, s.registry.Pulls(), "an image that is present is not asked for again")
}

// cutOff takes the link of one device down, changes a deployment meanwhile, and
// takes the link up again.
func (s *site) cutOff(t *testing.T, off, on *device) {
	t.Helper()
	before := off.containers(t)
	require.Len(t, before, 2)
	off.cutLink(t)
	off.awaitStatus(t, "knows that it is cut off", func(status agentStatus) bool { return !status.Link.Connected && status.allRunning() })
	off.mustFail(t, "fleet-agent", "doctor")

	// The device that is online gets the change, the other keeps what it has.
	s.apply(t, "web", "two")
	s.awaitUpdated(t, on, "web", 2)
	require.False(t, s.runs(off, "web", 2))
	require.Equal(t, before, off.containers(t), "nothing stops while the link is down")

	// It heals what breaks without asking anybody.
	off.must(t, "podman", "kill", "--signal", "KILL", before["base"].ID)
	healed := off.awaitStatus(t, "heals a container while it is cut off", func(status agentStatus) bool {
		base := status.deployment("base")
		return status.allRunning() && base.Restarts == 1
	})
	require.False(t, healed.Link.Connected)
	require.Equal(t, before["web"], off.containers(t)["web"])

	restored := time.Now()
	off.restoreLink(t)
	s.awaitHeard(t, off, restored)
	s.awaitUpdated(t, off, "web", 2)
	require.EqualValues(t, 2, s.awaitRunning(t, "web"))
	report, ok := s.observer.Service(off.name, "base")
	require.True(t, ok)
	require.EqualValues(t, 1, report.Restarts, "what happened while it was cut off is reported")
	require.NotEqual(t, before["web"], off.containers(t)["web"])
	require.Equal(t, contracts.ServiceRunning, report.State)
}

// losePower cuts a device's power; the network is there when it starts.
func (s *site) losePower(t *testing.T, d *device) {
	t.Helper()
	before := d.containers(t)
	d.cutPower(t)
	started := time.Now()
	d.powerOn(t)
	s.network.plug(t, d)
	d.awaitStatus(t, "runs everything again", agentStatus.allRunning)
	requireRestarted(t, before, d.containers(t))
	s.awaitHeard(t, d, started)
	s.awaitRunning(t, "web")
	d.must(t, "fleet-agent", "doctor")
}

// losePowerAndNetwork cuts a device's power; it starts without any network, and
// gets one later.
func (s *site) losePowerAndNetwork(t *testing.T, d *device) {
	t.Helper()
	before := d.containers(t)
	generation := s.observer.Device(d.name).AppliedGeneration()
	d.cutPower(t)
	d.powerOn(t)
	alone := d.awaitStatus(t, "runs everything from its disk", agentStatus.allRunning)
	require.False(t, alone.Link.Connected)
	require.Equal(t, generation, alone.DesiredGeneration)
	after := d.containers(t)
	requireRestarted(t, before, after)

	plugged := time.Now()
	s.network.plug(t, d)
	s.awaitHeard(t, d, plugged)
	s.awaitRunning(t, "web")
	require.Equal(t, after, d.containers(t), "the network's return restarts nothing")
}

// requireRestarted checks that the same deployments run in other processes.
func requireRestarted(t *testing.T, before, after map[string]container) {
	t.Helper()
	require.Len(t, after, len(before))
	for name := range before {
		require.NotEqual(t, before[name], after[name], name)
	}
}

// killBroker kills the broker while one device has the new generation and the
// other has not, and starts it again on the same files.
func (s *site) killBroker(t *testing.T, updated, waiting *device) {
	t.Helper()
	held := waiting.containers(t)
	waiting.cutLink(t)
	s.apply(t, "web", "three")
	s.awaitUpdated(t, updated, "web", 3)
	has := updated.containers(t)
	s.broker.Kill()
	require.False(t, s.runs(waiting, "web", 3), "the rollout is in its middle")
	// What the kernel still holds of the broker's connections may yet arrive.
	waiting.restoreLink(t)

	for _, d := range s.devices {
		d.awaitStatus(t, "knows that the broker is gone", func(status agentStatus) bool { return !status.Link.Connected && status.allRunning() })
	}
	require.Equal(t, has, updated.containers(t), "nothing stops while the broker is gone")
	require.Equal(t, held["base"], waiting.containers(t)["base"])
	restarted := time.Now()
	s.startBroker(t, len(s.devices))
	for _, d := range s.devices {
		s.awaitHeard(t, d, restarted)
	}
	require.EqualValues(t, 3, s.awaitRunning(t, "web"), "what was applied before the kill is not lost")
	require.EqualValues(t, 1, s.awaitRunning(t, "base"))
	require.Equal(t, has, updated.containers(t), "who had the new generation keeps it")
	after := waiting.containers(t)
	require.Equal(t, held["base"], after["base"])
	require.NotEqual(t, held["web"], after["web"], "the other gets it")
	for _, d := range s.devices {
		require.Contains(t, d.must(t, "podman", "logs", d.containers(t)["web"].ID), "three")
	}
}

// remove deletes both deployments.
func (s *site) remove(t *testing.T) {
	t.Helper()
	for _, name := range []string{"web", "base"} {
		_, err := s.broker.CLI(t.Context(), "delete", "deployment", name)
		require.NoError(t, err)
		require.NoError(t, s.observer.AwaitGone(t.Context(), name, []string{s.devices[0].name, s.devices[1].name}))
	}
	for _, d := range s.devices {
		var left []json.RawMessage
		require.NoError(t, json.Unmarshal([]byte(d.must(t, "podman", "ps", "--all", "--format", "json")), &left))
		require.Empty(t, left)
		require.False(t, strings.Contains(d.must(t, "podman", "volume", "ls", "--quiet"), "fleet"))
	}
}
