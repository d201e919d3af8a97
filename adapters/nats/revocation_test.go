package nats_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	natsgo "github.com/nats-io/nats.go"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/adapters/nats/natstest"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

func setRevoked(t *testing.T, registry domain.DeviceRegistry, device contracts.DeviceID, revoked bool) {
	t.Helper()
	_, err := domain.UpdateDevice(t.Context(), registry, device, func(d *domain.FleetDevice) error {
		d.Revoked = revoked
		return nil
	})
	require.NoError(t, err)
}

// A revoked device is disconnected and refused while its token is valid for
// hours; others are left alone; and it comes back by itself when restored.
func TestRevocation(t *testing.T) {
	t.Parallel()
	identity := make(chan string, 100)
	var away atomic.Bool
	away.Store(true)
	tell := func(what string) func(context.Context, contracts.DeviceID) error {
		return func(_ context.Context, device contracts.DeviceID) error {
			if away.CompareAndSwap(true, false) {
				return domain.Errorf(domain.ErrUnavailable, "the provider is away")
			}
			identity <- what + " " + string(device)
			return nil
		}
	}
	server := natstest.Start(t, natstest.Options{Callout: true, CalloutOptions: nats.CalloutOptions{Revoke: tell("revoke"), Restore: tell("restore")}})
	registry := nats.NewDeviceRegistry(server.Operator(t))
	stolen, second, honest := server.Device(t, "stolen"), server.Device(t, "stolen"), server.Device(t, "honest")

	setRevoked(t, registry, "stolen", true)
	awaitLink(t, stolen, false)
	awaitLink(t, second, false)
	_, err := server.Callout.RawToken(t, server.Callout.Token("stolen").Value)
	require.ErrorIs(t, err, natsgo.ErrAuthorization)
	require.Equal(t, "revoke stolen", <-identity, "after one failure")
	require.NoError(t, nats.NewObservedStateReporter(honest, "honest").Heartbeat(t.Context(), contracts.Heartbeat{Sequence: 1}))
	require.GreaterOrEqual(t, server.Callout.Stats().Disconnected, uint64(2))

	setRevoked(t, registry, "stolen", false)
	awaitLink(t, stolen, true)
	awaitLink(t, second, true)
	require.Equal(t, "restore stolen", <-identity)
}

// A device that is removed from the registry is out, too, and one that is
// revoked while no callout runs is found when one starts.
func TestRevocationWhileNobodyWatches(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{Callout: true, Bare: true})
	require.NoError(t, nats.Setup(t.Context(), server.Operator(t), nats.SetupOptions{}))
	_, stop := server.Callout.Run(t, server.Callout.Identity, nats.CalloutOptions{})
	registry := nats.NewDeviceRegistry(server.Operator(t))
	names := []contracts.DeviceID{"d-1", "d-2", "d-3", "d-4", "d-5", "d-6"}
	var conns []*nats.Conn
	for _, name := range names {
		conns = append(conns, server.Device(t, name))
	}
	stop()
	for _, name := range names[:3] {
		setRevoked(t, registry, name, true)
	}
	server.Callout.Run(t, server.Callout.Identity, nats.CalloutOptions{})
	for _, conn := range conns[:3] {
		awaitLink(t, conn, false)
	}
	record, err := registry.Get(t.Context(), names[3])
	require.NoError(t, err)
	require.NoError(t, registry.Delete(t.Context(), names[3], record.Revision))
	awaitLink(t, conns[3], false)
	for _, conn := range conns[4:] {
		awaitLink(t, conn, true)
	}
}

// One device cannot hold the broker's connections.
func TestTooManyConnections(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{Callout: true, CalloutOptions: nats.CalloutOptions{ConnectionsPerDevice: 2, LookEvery: 50 * time.Millisecond}})
	server.Device(t, "greedy").Close()
	closed := make(chan int, 10)
	for i := range 4 {
		_, err := server.Callout.RawToken(t, server.Callout.Token("greedy").Value, natsgo.NoReconnect(),
			natsgo.ClosedHandler(func(*natsgo.Conn) { closed <- i }))
		require.NoError(t, err)
	}
	require.ElementsMatch(t, []int{0, 1}, []int{<-closed, <-closed}, "the oldest")
	require.Never(t, func() bool { return len(closed) > 0 }, 200*time.Millisecond, 20*time.Millisecond)

	for {
		_, err := server.Callout.RawToken(t, server.Callout.Token("greedy").Value, natsgo.NoReconnect())
		if err != nil {
			require.ErrorIs(t, err, natsgo.ErrAuthorization)
			break
		}
	}
	require.Positive(t, server.Callout.Stats().Denied[nats.DeniedTooOften])
}

// TestTooManyConnectionsWithAnEnrollmentToken: such a token is good for weeks, and
// must not be worth all connections of the broker.
func TestTooManyConnectionsWithAnEnrollmentToken(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{Callout: true, CalloutOptions: nats.CalloutOptions{ConnectionsPerDevice: 2, LookEvery: 50 * time.Millisecond}})
	token := server.Callout.Identity.Issue(principal("enroll:greedy", "greedy", domain.RoleEnroll), time.Hour).Value
	closed := make(chan int, 100)
	connect := func(i int) error {
		_, err := server.Callout.RawToken(t, token, natsgo.NoReconnect(), natsgo.ClosedHandler(func(*natsgo.Conn) { closed <- i }))
		return err
	}
	for i := range 4 {
		require.NoError(t, connect(i))
	}
	require.Eventually(t, func() bool { return len(closed) >= 2 }, patience, 10*time.Millisecond)
	require.ElementsMatch(t, []int{0, 1}, []int{<-closed, <-closed}, "the oldest")
	var refused error
	for i := 4; i < 70 && refused == nil; i++ {
		refused = connect(i)
	}
	require.ErrorIs(t, refused, natsgo.ErrAuthorization)
	require.Positive(t, server.Callout.Stats().Denied[nats.DeniedTooOften])
}
