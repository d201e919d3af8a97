package commands_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

func TestRevokeAndRestore(t *testing.T) {
	x := newTerminal(t)
	x.register("a", nil)
	x.register("b", nil)
	revoked := func() bool {
		device, err := x.fleet.Devices().Get(t.Context(), "a")
		require.NoError(t, err)
		return device.Revoked
	}
	assert.Equal(t, "device/a revoked: out of every rollout; where devices connect through the callout, it is disconnected within seconds and refused from now on\n",
		x.ok("device", "revoke", "a", "--reason", "stolen"))
	assert.True(t, revoked())
	assert.Equal(t, "device/a not revoked: it is so already\n", x.ok("device", "revoke", "device/a"))
	assert.Contains(t, x.ok("device", "restore", "a"), "device/a restored: it connects by itself")
	assert.False(t, revoked())

	var events []contracts.Event
	require.NoError(t, x.fleet.Events().Read(t.Context(), domain.EventQuery{Device: "a"}, func(e contracts.Event) error {
		events = append(events, e)
		return nil
	}))
	require.Len(t, events, 2)
	assert.Equal(t, contracts.EventDeviceRevoked, events[0].Kind)
	assert.Equal(t, "stolen", events[0].Message)
	assert.NotEmpty(t, events[0].Actor)
	assert.Equal(t, contracts.EventDeviceRestored, events[1].Kind)

	assert.Equal(t, 1, x.run("device", "revoke", "nobody").code)
	assert.Equal(t, 2, x.run("device", "revoke", "No Name").code)
	assert.Equal(t, 2, x.run("device", "revoke").code)
}

func TestRotateNeedsAnEnrolledDevice(t *testing.T) {
	t.Parallel()
	x := newTerminal(t)
	r := x.run("device", "rotate", "pi-1")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, "was not enrolled")
	x.ok("enroll", "create", "pi-1")
	_, err := domain.UpdateEnrollment(t.Context(), x.fleet.Enrollments(), "pi-1", func(i *domain.EnrollmentIntent) error {
		i.State, i.KeyID = contracts.EnrollmentDone, "1"
		return nil
	})
	require.NoError(t, err)
	r = x.run("device", "rotate", "pi-1")
	require.Equal(t, 1, r.code)
	require.Contains(t, r.stderr, "fleet describe device pi-1")
}
