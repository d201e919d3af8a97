package nats_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/adapters/nats"
	"github.com/nationtech/harmony-fleet/adapters/nats/natstest"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

func ping(ctx context.Context, bus domain.CommandBus) error {
	_, err := domain.Call[contracts.PingResult](ctx, bus, "pi-1", contracts.VerbPing, contracts.Empty{})
	return err
}

func pong(context.Context, contracts.Verb, []byte) []byte {
	return domain.Answer(contracts.PingResult{AgentVersion: "v1"}, nil)
}

func TestOfflineDeviceIsSaidAtOnce(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{})
	bus := nats.NewCommandBus(server.Operator(t))
	began := time.Now()
	err := ping(t.Context(), bus)
	require.ErrorIs(t, err, domain.ErrUnavailable)
	require.ErrorContains(t, err, `device "pi-1" is offline`)
	require.Less(t, time.Since(began), time.Second)
	_, err = bus.Call(t.Context(), "pi.1", contracts.VerbPing, nil)
	require.ErrorIs(t, err, domain.ErrInvalid)
	_, err = bus.Call(t.Context(), "pi-1", "reboot", nil)
	require.ErrorIs(t, err, domain.ErrInvalid)
}

// Many commands are carried out at once; more are refused rather than queued
// behind those that take long, and a quiet device takes commands again.
func TestCommandsAtOnce(t *testing.T) {
	t.Parallel()
	const workers = 16
	server := natstest.Start(t, natstest.Options{})
	device := server.Device(t, "pi-1")
	release := make(chan struct{})
	var started sync.WaitGroup
	started.Add(workers)
	background(t, func(ctx context.Context) error {
		return nats.NewCommandServer(device, "pi-1").Serve(ctx, func(ctx context.Context, verb contracts.Verb, request []byte) []byte {
			if verb == contracts.VerbReport {
				started.Done()
				<-release
			}
			return pong(ctx, verb, request)
		})
	})
	bus := nats.NewCommandBus(server.Operator(t))
	require.Eventually(t, func() bool { return ping(t.Context(), bus) == nil }, patience, 5*time.Millisecond)

	var calls sync.WaitGroup
	errs := make([]error, workers)
	for i := range workers {
		calls.Go(func() {
			_, errs[i] = domain.Call[contracts.PingResult](t.Context(), bus, "pi-1", contracts.VerbReport, contracts.Empty{})
		})
	}
	started.Wait()
	err := ping(t.Context(), bus)
	require.ErrorIs(t, err, domain.ErrUnavailable)
	require.ErrorContains(t, err, "busy")
	close(release)
	calls.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return ping(t.Context(), bus) == nil }, patience, 5*time.Millisecond)
}

func TestUnknownVerbIsAnswered(t *testing.T) {
	t.Parallel()
	server := natstest.Start(t, natstest.Options{})
	device := server.Device(t, "pi-1")
	background(t, func(ctx context.Context) error { return nats.NewCommandServer(device, "pi-1").Serve(ctx, pong) })
	bus := nats.NewCommandBus(server.Operator(t))
	require.Eventually(t, func() bool { return ping(t.Context(), bus) == nil }, patience, 5*time.Millisecond)
	msg, err := server.Raw(t).Request("device-commands.pi-1.reboot", nil, patience)
	require.NoError(t, err)
	reply, err := contracts.Decode[contracts.CommandReply](msg.Data)
	require.NoError(t, err)
	require.Equal(t, "Unsupported", reply.Error.Kind)
}
