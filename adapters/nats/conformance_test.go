package nats_test

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/adapters/nats/natstest"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/conformance"
)

// patience bounds waits that nothing should ever wait for.
const patience = 15 * time.Second

func TestDeviceRegistry(t *testing.T) {
	t.Parallel()
	conformance.DeviceRegistry(t, func(t *testing.T) conformance.DeviceRegistryFixture {
		t.Helper()
		server := natstest.Start(t, natstest.Options{})
		first, second := server.Operator(t), server.Operator(t)
		return conformance.DeviceRegistryFixture{
			Registry: nats.NewDeviceRegistry(first),
			Second:   nats.NewDeviceRegistry(second),
			Restart:  restart(server, first, second),
			Stored: func(t *testing.T, id contracts.DeviceID) []byte {
				t.Helper()
				return stored(t, server, contracts.BucketDevices, string(id))
			},
		}
	})
}

func TestEnrollmentStore(t *testing.T) {
	t.Parallel()
	conformance.EnrollmentStore(t, func(t *testing.T) conformance.EnrollmentStoreFixture {
		t.Helper()
		server := natstest.Start(t, natstest.Options{})
		first, second := server.Operator(t), server.Operator(t)
		return conformance.EnrollmentStoreFixture{
			Store:   nats.NewEnrollmentStore(first),
			Second:  nats.NewEnrollmentStore(second),
			Restart: restart(server, first, second),
			Stored: func(t *testing.T, device contracts.DeviceID) []byte {
				t.Helper()
				return stored(t, server, contracts.BucketEnrollments, string(device))
			},
		}
	})
}

func TestDeploymentStore(t *testing.T) {
	t.Parallel()
	conformance.DeploymentStore(t, func(t *testing.T) conformance.DeploymentStoreFixture {
		t.Helper()
		server := natstest.Start(t, natstest.Options{})
		first, second := server.Operator(t), server.Operator(t)
		return conformance.DeploymentStoreFixture{
			Store:   nats.NewDeploymentStore(first),
			Second:  nats.NewDeploymentStore(second),
			Restart: restart(server, first, second),
			Stored: func(t *testing.T, name contracts.DeploymentName) []byte {
				t.Helper()
				return stored(t, server, contracts.BucketDeployments, string(name))
			},
		}
	})
}

func TestDeploymentStatusStore(t *testing.T) {
	t.Parallel()
	conformance.DeploymentStatusStore(t, func(t *testing.T) conformance.DeploymentStatusStoreFixture {
		t.Helper()
		server := natstest.Start(t, natstest.Options{})
		first, second := server.Operator(t), server.Operator(t)
		return conformance.DeploymentStatusStoreFixture{
			Store:   nats.NewDeploymentStatusStore(first),
			Second:  nats.NewDeploymentStatusStore(second),
			Restart: restart(server, first, second),
			Stored: func(t *testing.T, name contracts.DeploymentName) []byte {
				t.Helper()
				return stored(t, server, contracts.BucketDeploymentStatus, string(name))
			},
		}
	})
}

func TestDesiredState(t *testing.T) {
	t.Parallel()
	conformance.DesiredState(t, func(t *testing.T) conformance.DesiredStateFixture {
		t.Helper()
		server := natstest.Start(t, natstest.Options{})
		serveSync(t, server)
		first, second := server.Operator(t), server.Operator(t)
		return conformance.DesiredStateFixture{
			Publisher: nats.NewDesiredStatePublisher(first),
			Second:    nats.NewDesiredStatePublisher(second),
			Device: func(t *testing.T, id contracts.DeviceID) conformance.DesiredStateDevice {
				t.Helper()
				conn, setConnected := linkedDevice(t, server, id)
				return conformance.DesiredStateDevice{Source: nats.NewDesiredStateSource(conn, id), SetConnected: setConnected}
			},
			Restart: restart(server, first, second),
			Stored: func(t *testing.T, device contracts.DeviceID) []byte {
				t.Helper()
				return stored(t, server, contracts.BucketDesiredState, string(device))
			},
		}
	})
}

func TestObservedState(t *testing.T) {
	t.Parallel()
	conformance.ObservedState(t, func(t *testing.T) conformance.ObservedStateFixture {
		t.Helper()
		server := natstest.Start(t, natstest.Options{})
		first, second := server.Operator(t), server.Operator(t)
		return conformance.ObservedStateFixture{
			Consumer: nats.NewObservedStateConsumer(first),
			Second:   nats.NewObservedStateConsumer(second),
			Device: func(t *testing.T, id contracts.DeviceID) conformance.ObservedStateDevice {
				t.Helper()
				conn, setConnected := linkedDevice(t, server, id)
				return conformance.ObservedStateDevice{Reporter: nats.NewObservedStateReporter(conn, id), SetConnected: setConnected}
			},
			Restart: restart(server, first, second),
			Send: func(t *testing.T, device contracts.DeviceID, kind contracts.ReportKind, data []byte) {
				t.Helper()
				raw := server.Raw(t)
				require.NoError(t, raw.Publish(contracts.ReportSubject(device, kind), data))
				require.NoError(t, raw.Flush())
			},
		}
	})
}

func TestCommandBus(t *testing.T) {
	t.Parallel()
	conformance.CommandBus(t, func(t *testing.T) conformance.CommandBusFixture {
		t.Helper()
		server := natstest.Start(t, natstest.Options{})
		first, second := server.Operator(t), server.Operator(t)
		return conformance.CommandBusFixture{
			Bus:    nats.NewCommandBus(first),
			Second: nats.NewCommandBus(second),
			Device: func(t *testing.T, id contracts.DeviceID) conformance.CommandDevice {
				t.Helper()
				conn, setConnected := linkedDevice(t, server, id)
				return conformance.CommandDevice{Server: nats.NewCommandServer(conn, id), SetConnected: setConnected}
			},
			Restart: restart(server, first, second),
		}
	})
}

func TestEventLog(t *testing.T) {
	t.Parallel()
	conformance.EventLog(t, func(t *testing.T) conformance.EventLogFixture {
		t.Helper()
		server := natstest.Start(t, natstest.Options{})
		first, second := server.Operator(t), server.Operator(t)
		return conformance.EventLogFixture{
			Log:     nats.NewEventLog(first),
			Second:  nats.NewEventLog(second),
			Restart: restart(server, first, second),
			Stored: func(t *testing.T) []byte {
				t.Helper()
				js, err := jetstream.New(server.Raw(t))
				require.NoError(t, err)
				stream, err := js.Stream(t.Context(), contracts.StreamEvents)
				require.NoError(t, err)
				last, err := stream.GetMsg(t.Context(), stream.CachedInfo().State.LastSeq)
				require.NoError(t, err)
				return last.Data
			},
		}
	})
}

func TestLeaderElector(t *testing.T) {
	t.Parallel()
	conformance.LeaderElector(t, func(t *testing.T) conformance.LeaderElectorFixture {
		t.Helper()
		server := natstest.Start(t, natstest.Options{})
		return conformance.LeaderElectorFixture{
			Contender: func(t *testing.T, identity string) conformance.Contender {
				t.Helper()
				link := server.NewLink(t)
				conn := server.OperatorAt(t, link.URL())
				return conformance.Contender{
					Elector: nats.NewElector(conn, identity, nats.ElectorOptions{TTL: testTTL}),
					Kill:    func(*testing.T) { link.SetConnected(false) },
				}
			},
			// A follower looks three times per TTL, and waits for a whole one.
			Failover: 2 * testTTL,
			Restart:  restart(server),
		}
	})
}

// linkedDevice connects a device over a link that can be cut.
func linkedDevice(t *testing.T, server *natstest.Server, id contracts.DeviceID) (*nats.Conn, func(*testing.T, bool)) {
	t.Helper()
	link := server.NewLink(t)
	conn := server.DeviceAt(t, id, link.URL())
	return conn, func(t *testing.T, connected bool) {
		t.Helper()
		link.SetConnected(connected)
		awaitLink(t, conn, connected)
	}
}

// serveSync answers the devices of a test.
func serveSync(t *testing.T, server *natstest.Server) *nats.SyncService {
	t.Helper()
	service := nats.NewSyncService(server.Operator(t), nats.SyncOptions{})
	background(t, service.Run)
	return service
}

// background runs until the test ends and requires that it then returns nil.
func background(t *testing.T, run func(context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- run(ctx) }()
	t.Cleanup(func() {
		cancel()
		assert.NoError(t, <-ended)
	})
}

func awaitLink(t *testing.T, conn *nats.Conn, connected bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	reached := false
	require.NoError(t, conn.Watch(ctx, func(state domain.LinkState) {
		if state.Connected == connected {
			reached = true
			cancel()
		}
	}))
	require.True(t, reached, "the link must become connected: %t", connected)
}

// restart restarts the broker and waits until its clients are back: each comes
// back in its own time, which is no matter of the stores.
func restart(server *natstest.Server, clients ...*nats.Conn) func(*testing.T) {
	return func(t *testing.T) {
		t.Helper()
		server.Stop()
		for _, client := range clients {
			awaitLink(t, client, false)
		}
		server.Start()
		for _, client := range clients {
			awaitLink(t, client, true)
		}
	}
}

// stored reads a key as any NATS tool would.
func stored(t *testing.T, server *natstest.Server, bucket, key string) []byte {
	t.Helper()
	js, err := jetstream.New(server.Raw(t))
	require.NoError(t, err)
	kv, err := js.KeyValue(t.Context(), bucket)
	require.NoError(t, err)
	entry, err := kv.Get(t.Context(), key)
	require.NoError(t, err)
	return entry.Value()
}
