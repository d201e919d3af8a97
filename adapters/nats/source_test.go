package nats_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/adapters/nats/natstest"
	"github.com/nationtech/harmony-fleet/contracts"
)

// followed follows until the test ends and keeps the last envelope.
func followed(t *testing.T, source *nats.DesiredStateSource, held uint64) *atomic.Value {
	t.Helper()
	var last atomic.Value
	last.Store("")
	background(t, func(ctx context.Context) error {
		return source.Follow(ctx, func() uint64 { return held }, func(envelope []byte) { last.Store(string(envelope)) })
	})
	return &last
}

// A device that comes before the sync service asks again.
func TestSourceAsksAgainWithoutASyncService(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{})
	envelope := publishFor(t, server.Operator(t), "pi-1", 1)
	last := followed(t, nats.NewDesiredStateSource(server.Device(t, "pi-1"), "pi-1"), 0)
	require.Never(t, func() bool { return last.Load() != "" }, 200*time.Millisecond, 20*time.Millisecond)
	serveSync(t, server)
	require.Eventually(t, func() bool { return last.Load() == string(envelope) }, patience, 5*time.Millisecond)
}

// What was not heard live is found at the next question, without a new
// connection.
func TestSourceAsksAtIntervals(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{})
	js, err := jetstream.New(server.Raw(t))
	require.NoError(t, err)
	stream, err := js.Stream(t.Context(), "KV_"+contracts.BucketDesiredState)
	require.NoError(t, err)
	deaf := stream.CachedInfo().Config
	deaf.RePublish = nil
	_, err = js.UpdateStream(t.Context(), deaf)
	require.NoError(t, err)

	service := serveSync(t, server)
	source := nats.NewDesiredStateSource(server.Device(t, "pi-1"), "pi-1")
	source.SetInterval(50 * time.Millisecond)
	last := followed(t, source, 4)
	require.Eventually(t, func() bool { return service.Stats().Answered > 2 }, patience, 5*time.Millisecond)
	operator := server.Operator(t)
	publishFor(t, operator, "pi-2", 9)
	require.Empty(t, last.Load())
	envelope := publishFor(t, operator, "pi-1", 5)
	require.Eventually(t, func() bool { return last.Load() == string(envelope) }, patience, 5*time.Millisecond)
}
