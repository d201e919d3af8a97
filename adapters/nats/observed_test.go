package nats_test

import (
	"context"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/adapters/nats/natstest"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// observer keeps the last heartbeat of each device.
type observer struct {
	mu         sync.Mutex
	heartbeats map[contracts.DeviceID]uint64
	caughtUp   int
}

func observe(t *testing.T, consumer domain.ObservedStateConsumer) *observer {
	t.Helper()
	o := &observer{heartbeats: map[contracts.DeviceID]uint64{}}
	background(t, func(ctx context.Context) error {
		return consumer.Consume(ctx, func(observation domain.Observation) error {
			o.mu.Lock()
			defer o.mu.Unlock()
			if observation.CaughtUp {
				o.caughtUp++
			}
			if observation.Heartbeat != nil {
				o.heartbeats[observation.Device] = observation.Heartbeat.Sequence
			}
			return nil
		})
	})
	o.await(t, func(o *observer) bool { return o.caughtUp == 1 })
	return o
}

func (o *observer) await(t *testing.T, check func(*observer) bool) {
	t.Helper()
	require.Eventually(t, func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return check(o)
	}, patience, 5*time.Millisecond)
}

// The heartbeats are in memory: after a restart of the broker their stream is
// gone, and the one consumer goes on with the new one.
func TestConsumeOutlivesTheHeartbeatStream(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{})
	o := observe(t, nats.NewObservedStateConsumer(server.Operator(t)))
	conn := server.Device(t, "pi-1")
	reporter := nats.NewObservedStateReporter(conn, "pi-1")
	for round := uint64(1); round <= 3; round++ {
		require.Eventually(t, func() bool {
			// At most once: what is sent before the stream is there again is lost.
			_ = reporter.Heartbeat(t.Context(), contracts.Heartbeat{Sequence: round})
			o.mu.Lock()
			defer o.mu.Unlock()
			return o.heartbeats["pi-1"] == round
		}, patience, 20*time.Millisecond, "round %d", round)
		server.Restart()
	}
	o.await(t, func(o *observer) bool { return o.caughtUp == 1 })
}

func TestConsumeDropsWhatIsMalformed(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{})
	consumer := nats.NewObservedStateConsumer(server.Operator(t))
	o := observe(t, consumer)
	raw := server.Raw(t)
	for _, subject := range []string{
		contracts.HeartbeatSubject("broken"), contracts.ReportSubject("broken", contracts.ReportInfo),
		contracts.ReportSubject("broken", contracts.ReportState), contracts.HeartbeatSubject("NOT-A-LABEL"),
	} {
		require.NoError(t, raw.Publish(subject, []byte(`{"seq":`)))
	}
	require.NoError(t, raw.Publish(contracts.HeartbeatSubject("empty"), nil))
	require.NoError(t, raw.Publish(contracts.HeartbeatSubject("pi-1"), []byte(`{"seq":7}`)))
	o.await(t, func(o *observer) bool { return o.heartbeats["pi-1"] == 7 })
	require.Eventually(t, func() bool { return consumer.Dropped() == 5 }, patience, 5*time.Millisecond)
	o.mu.Lock()
	defer o.mu.Unlock()
	require.Equal(t, map[contracts.DeviceID]uint64{"pi-1": 7}, maps.Clone(o.heartbeats))
}

// What was said before is told with the time at which it was said.
func TestObservationTime(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{})
	began := time.Now()
	require.NoError(t, nats.NewObservedStateReporter(server.Device(t, "pi-1"), "pi-1").
		Report(t.Context(), contracts.DeviceReport{Sequence: 1}))
	operator := server.Operator(t)
	require.Eventually(t, func() bool {
		state, err := domain.ReadFleetState(t.Context(), nats.NewObservedStateConsumer(operator))
		return err == nil && state.Device("pi-1").Report != nil
	}, patience, 5*time.Millisecond)
	later := time.Now()
	for time.Since(later) < 200*time.Millisecond {
		state, err := domain.ReadFleetState(t.Context(), nats.NewObservedStateConsumer(operator))
		require.NoError(t, err)
		require.WithinRange(t, state.Device("pi-1").SeenAt, began.Add(-50*time.Millisecond), later.Add(50*time.Millisecond))
	}
}

func TestForgetLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{})
	operator := server.Operator(t)
	consumer := nats.NewObservedStateConsumer(operator)
	o := observe(t, consumer)
	for _, id := range []contracts.DeviceID{"pi-1", "pi-2"} {
		reporter := nats.NewObservedStateReporter(server.Device(t, id), id)
		require.NoError(t, reporter.Info(t.Context(), contracts.DeviceInfo{}))
		require.NoError(t, reporter.Report(t.Context(), contracts.DeviceReport{}))
		require.NoError(t, reporter.Heartbeat(t.Context(), contracts.Heartbeat{Sequence: 1}))
	}
	o.await(t, func(o *observer) bool { return len(o.heartbeats) == 2 })
	require.NoError(t, consumer.Forget(t.Context(), "pi-1"))
	require.NoError(t, consumer.Forget(t.Context(), "never-seen"))
	require.ErrorIs(t, consumer.Forget(t.Context(), ">"), domain.ErrInvalid)
	state, err := domain.ReadFleetState(t.Context(), consumer)
	require.NoError(t, err)
	require.Equal(t, []contracts.DeviceID{"pi-2"}, state.Devices())
}
