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
		server := natstest.Start(t, natstest.Options{})
		return conformance.DeviceRegistryFixture{
			Registry: nats.NewDeviceRegistry(server.Operator(t)),
			Second:   nats.NewDeviceRegistry(server.Operator(t)),
			Restart:  restart(server),
			Stored: func(t *testing.T, id contracts.DeviceID) []byte {
				return stored(t, server, contracts.BucketDevices, string(id))
			},
		}
	})
}

func TestDeploymentStore(t *testing.T) {
	t.Parallel()
	conformance.DeploymentStore(t, func(t *testing.T) conformance.DeploymentStoreFixture {
		server := natstest.Start(t, natstest.Options{})
		return conformance.DeploymentStoreFixture{
			Store:   nats.NewDeploymentStore(server.Operator(t)),
			Second:  nats.NewDeploymentStore(server.Operator(t)),
			Restart: restart(server),
			Stored: func(t *testing.T, name contracts.DeploymentName) []byte {
				return stored(t, server, contracts.BucketDeployments, string(name))
			},
		}
	})
}

func TestDeploymentStatusStore(t *testing.T) {
	t.Parallel()
	conformance.DeploymentStatusStore(t, func(t *testing.T) conformance.DeploymentStatusStoreFixture {
		server := natstest.Start(t, natstest.Options{})
		return conformance.DeploymentStatusStoreFixture{
			Store:   nats.NewDeploymentStatusStore(server.Operator(t)),
			Second:  nats.NewDeploymentStatusStore(server.Operator(t)),
			Restart: restart(server),
			Stored: func(t *testing.T, name contracts.DeploymentName) []byte {
				return stored(t, server, contracts.BucketDeploymentStatus, string(name))
			},
		}
	})
}

func TestDesiredState(t *testing.T) {
	t.Parallel()
	conformance.DesiredState(t, func(t *testing.T) conformance.DesiredStateFixture {
		server := natstest.Start(t, natstest.Options{})
		serveSync(t, server)
		return conformance.DesiredStateFixture{
			Publisher: nats.NewDesiredStatePublisher(server.Operator(t)),
			Second:    nats.NewDesiredStatePublisher(server.Operator(t)),
			Device: func(t *testing.T, id contracts.DeviceID) conformance.DesiredStateDevice {
				conn, setConnected := linkedDevice(t, server, id)
				return conformance.DesiredStateDevice{Source: nats.NewDesiredStateSource(conn, id), SetConnected: setConnected}
			},
			Restart: restart(server),
			Stored: func(t *testing.T, device contracts.DeviceID) []byte {
				return stored(t, server, contracts.BucketDesiredState, string(device))
			},
		}
	})
}

func TestObservedState(t *testing.T) {
	t.Parallel()
	conformance.ObservedState(t, func(t *testing.T) conformance.ObservedStateFixture {
		server := natstest.Start(t, natstest.Options{})
		return conformance.ObservedStateFixture{
			Consumer: nats.NewObservedStateConsumer(server.Operator(t)),
			Second:   nats.NewObservedStateConsumer(server.Operator(t)),
			Device: func(t *testing.T, id contracts.DeviceID) conformance.ObservedStateDevice {
				conn, setConnected := linkedDevice(t, server, id)
				return conformance.ObservedStateDevice{Reporter: nats.NewObservedStateReporter(conn, id), SetConnected: setConnected}
			},
			Restart: restart(server),
			Send: func(t *testing.T, device contracts.DeviceID, kind contracts.ReportKind, data []byte) {
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
		server := natstest.Start(t, natstest.Options{})
		return conformance.CommandBusFixture{
			Bus:    nats.NewCommandBus(server.Operator(t)),
			Second: nats.NewCommandBus(server.Operator(t)),
			Device: func(t *testing.T, id contracts.DeviceID) conformance.CommandDevice {
				conn, setConnected := linkedDevice(t, server, id)
				return conformance.CommandDevice{Server: nats.NewCommandServer(conn, id), SetConnected: setConnected}
			},
			Restart: restart(server),
		}
	})
}

func TestEventLog(t *testing.T) {
	t.Parallel()
	conformance.EventLog(t, func(t *testing.T) conformance.EventLogFixture {
		server := natstest.Start(t, natstest.Options{})
		return conformance.EventLogFixture{
			Log:     nats.NewEventLog(server.Operator(t)),
			Second:  nats.NewEventLog(server.Operator(t)),
			Restart: restart(server),
			Stored: func(t *testing.T) []byte {
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
		server := natstest.Start(t, natstest.Options{})
		return conformance.LeaderElectorFixture{
			Contender: func(t *testing.T, identity string) conformance.Contender {
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

func restart(server *natstest.Server) func(*testing.T) {
	return func(*testing.T) { server.Restart() }
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
