package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// CommandBusFixture is both sides of the bus, nobody serving yet.
type CommandBusFixture struct {
	Bus domain.CommandBus
	// Second is another client of the same backend.
	Second domain.CommandBus
	// Device connects a device.
	Device func(t *testing.T, id contracts.DeviceID) CommandDevice
	// Restart stops the backend and starts it again. Calls may give
	// ErrUnavailable for a while after it returned.
	Restart func(t *testing.T)
}

// CommandDevice is one device's side. SetConnected cuts and restores its link,
// nil when the fixture cannot; it returns once the link is as asked for.
type CommandDevice struct {
	Server       domain.CommandServer
	SetConnected func(t *testing.T, connected bool)
}

// CommandBus checks an implementation of domain.CommandBus and of
// domain.CommandServer.
func CommandBus(t *testing.T, open func(t *testing.T) CommandBusFixture) {
	t.Helper()
	restart := named("Restart", func(_ *testing.T, f CommandBusFixture) bool { return f.Restart != nil })
	link := named("SetConnected", func(t *testing.T, f CommandBusFixture) bool { return f.Device(t, "asked").SetConnected != nil })
	checkAll(t, open, []obligation[CommandBusFixture]{
		{name: "call is answered", check: commandAnswered},
		{name: "two clients call", check: commandTwoClients},
		{name: "each device gets its own commands", check: commandOwn},
		{name: "no responder is unavailable at once", check: commandNobody},
		{name: "device without a link is unavailable at once", check: commandNoLink, needs: link},
		{name: "reply that does not come in time is unavailable", check: commandLate},
		{name: "commands are carried out several at a time", check: commandConcurrent},
		{name: "errors keep their kind", check: commandErrors},
		{name: "large replies arrive whole", check: commandLarge},
		{name: "serve that is cancelled waits for commands under way and returns nil", check: commandCancelled},
		{name: "device that serves no longer is unavailable at once", check: commandEnded},
		{name: "logs are copied piece by piece", check: commandLogs},
		{name: "device serves on across a restart", check: commandRestart, needs: restart},
	})
}

// serve answers the device's commands until the subtest ends, and returns once
// it does.
func serve(t *testing.T, f CommandBusFixture, id contracts.DeviceID, server domain.CommandServer, handle domain.CommandHandler) *running {
	t.Helper()
	serving := start(t, func(ctx context.Context) error {
		return server.Serve(ctx, func(ctx context.Context, verb contracts.Verb, request []byte) []byte {
			if verb == contracts.VerbReport {
				return domain.Answer(contracts.Empty{}, nil)
			}
			return handle(ctx, verb, request)
		})
	})
	awaitServer(t, f.Bus, id)
	return serving
}

// awaitServer calls until somebody answers VerbReport.
func awaitServer(t *testing.T, bus domain.CommandBus, id contracts.DeviceID) {
	t.Helper()
	untilReachable(t, func() error {
		ctx, cancel := context.WithTimeout(t.Context(), atOnce)
		defer cancel()
		_, err := domain.Call[contracts.Empty](ctx, bus, id, contracts.VerbReport, contracts.Empty{})
		return err
	})
}

// answering returns a handler that gives each ping the device's name.
func answering(id contracts.DeviceID) domain.CommandHandler {
	return func(_ context.Context, verb contracts.Verb, _ []byte) []byte {
		if verb != contracts.VerbPing {
			return domain.Answer(nil, domain.Errorf(domain.ErrUnsupported, "%s is not known here", verb))
		}
		return domain.Answer(contracts.PingResult{AgentVersion: string(id)}, nil)
	}
}

// ping returns the name that the device answers with.
func ping(ctx context.Context, bus domain.CommandBus, id contracts.DeviceID) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	result, err := domain.Call[contracts.PingResult](ctx, bus, id, contracts.VerbPing, contracts.Empty{})
	return result.AgentVersion, err
}

// requireUnavailableAtOnce requires that, soon, calls are refused without
// waiting for their time to be over.
func requireUnavailableAtOnce(t *testing.T, bus domain.CommandBus, id contracts.DeviceID) {
	t.Helper()
	eventually(t, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), atOnce)
		defer cancel()
		_, err := ping(ctx, bus, id)
		return errors.Is(err, domain.ErrOffline) && errors.Is(err, domain.ErrUnavailable) && ctx.Err() == nil
	}, "a call to device %q must give ErrOffline at once", id)
}

func commandAnswered(t *testing.T, f CommandBusFixture) {
	want := contracts.ExecRequest{Command: []string{"uname", "-a"}, Timeout: contracts.Duration(time.Minute)}
	result := contracts.ExecResult{ExitCode: 3, Output: []byte("Linux\x00\xff"), Truncated: true}
	serve(t, f, "pi-1", f.Device(t, "pi-1").Server, func(ctx context.Context, verb contracts.Verb, request []byte) []byte {
		assert.NoError(t, ctx.Err())
		assert.Equal(t, contracts.VerbExec, verb)
		got, err := contracts.Decode[contracts.ExecRequest](request)
		assert.NoError(t, err)
		assert.Equal(t, want, got)
		return domain.Answer(result, nil)
	})
	got, err := domain.Call[contracts.ExecResult](bounded(t), f.Bus, "pi-1", contracts.VerbExec, want)
	require.NoError(t, err)
	require.Equal(t, result, got)
}

func commandTwoClients(t *testing.T, f CommandBusFixture) {
	serve(t, f, "pi-1", f.Device(t, "pi-1").Server, answering("pi-1"))
	for _, bus := range []domain.CommandBus{f.Bus, f.Second} {
		got, err := ping(t.Context(), bus, "pi-1")
		require.NoError(t, err)
		require.Equal(t, "pi-1", got)
	}
}

func commandOwn(t *testing.T, f CommandBusFixture) {
	devices := []contracts.DeviceID{"pi-1", "pi-2", "pi-10"}
	for _, id := range devices {
		serve(t, f, id, f.Device(t, id).Server, answering(id))
	}
	for _, id := range devices {
		got, err := ping(t.Context(), f.Bus, id)
		require.NoError(t, err)
		require.Equal(t, string(id), got)
	}
}

func commandNobody(t *testing.T, f CommandBusFixture) {
	requireAtOnce(t, func() {
		_, err := ping(t.Context(), f.Bus, "pi-1")
		assert.ErrorIs(t, err, domain.ErrOffline)
	})
}

func commandNoLink(t *testing.T, f CommandBusFixture) {
	device := f.Device(t, "pi-1")
	serve(t, f, "pi-1", device.Server, answering("pi-1"))
	device.SetConnected(t, false)
	requireUnavailableAtOnce(t, f.Bus, "pi-1")
	device.SetConnected(t, true)
	awaitServer(t, f.Bus, "pi-1")
	got, err := ping(t.Context(), f.Bus, "pi-1")
	require.NoError(t, err)
	require.Equal(t, "pi-1", got)
}

func commandLate(t *testing.T, f CommandBusFixture) {
	release := make(chan struct{})
	serve(t, f, "pi-1", f.Device(t, "pi-1").Server, func(context.Context, contracts.Verb, []byte) []byte {
		<-release
		return domain.Answer(contracts.PingResult{}, nil)
	})
	defer close(release)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	requireAtOnce(t, func() {
		_, err := ping(ctx, f.Bus, "pi-1")
		assert.ErrorIs(t, err, domain.ErrUnavailable)
		assert.NotErrorIs(t, err, domain.ErrOffline)
	})
}

func commandConcurrent(t *testing.T, f CommandBusFixture) {
	const together = 4
	var inside sync.WaitGroup
	inside.Add(together)
	serve(t, f, "pi-1", f.Device(t, "pi-1").Server, func(_ context.Context, _ contracts.Verb, request []byte) []byte {
		inside.Done()
		inside.Wait() // comes back only when all are here
		got, err := contracts.Decode[contracts.ExecRequest](request)
		return domain.Answer(contracts.ExecResult{Output: []byte(strings.Join(got.Command, " "))}, err)
	})
	var callers sync.WaitGroup
	for i := range together {
		callers.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			command := []string{"echo", fmt.Sprint(i)}
			got, err := domain.Call[contracts.ExecResult](ctx, f.Bus, "pi-1", contracts.VerbExec,
				contracts.ExecRequest{Command: command, Timeout: contracts.Duration(time.Minute)})
			assert.NoError(t, err)
			assert.Equal(t, strings.Join(command, " "), string(got.Output))
		})
	}
	callers.Wait()
}

func commandErrors(t *testing.T, f CommandBusFixture) {
	kinds := []error{
		domain.ErrNotFound, domain.ErrAlreadyExists, domain.ErrConflict, domain.ErrInvalid,
		domain.ErrUnauthenticated, domain.ErrPermissionDenied, domain.ErrUnavailable, domain.ErrUnsupported,
	}
	next := make(chan error, 1)
	serve(t, f, "pi-1", f.Device(t, "pi-1").Server, func(context.Context, contracts.Verb, []byte) []byte {
		return domain.Answer(nil, domain.Errorf(<-next, "exec is off on this device"))
	})
	for _, kind := range kinds {
		next <- kind
		_, err := ping(t.Context(), f.Bus, "pi-1")
		require.ErrorIs(t, err, kind)
		require.ErrorContains(t, err, "exec is off on this device")
		for _, other := range kinds {
			require.Equal(t, errors.Is(other, kind), errors.Is(err, other), "%v is not also %v", kind, other)
		}
	}
}

func commandLarge(t *testing.T, f CommandBusFixture) {
	output := bytes.Repeat([]byte("0123456789abcdef"), contracts.MaxExecOutput/16)
	serve(t, f, "pi-1", f.Device(t, "pi-1").Server, func(context.Context, contracts.Verb, []byte) []byte {
		return domain.Answer(contracts.ExecResult{Output: output}, nil)
	})
	got, err := domain.Call[contracts.ExecResult](bounded(t), f.Bus, "pi-1", contracts.VerbExec,
		contracts.ExecRequest{Command: []string{"cat"}, Timeout: contracts.Duration(time.Minute)})
	require.NoError(t, err)
	require.True(t, bytes.Equal(output, got.Output), "%d of %d bytes", len(got.Output), len(output))
}

func commandCancelled(t *testing.T, f CommandBusFixture) {
	entered, release := make(chan struct{}), make(chan struct{})
	serving := serve(t, f, "pi-1", f.Device(t, "pi-1").Server, func(context.Context, contracts.Verb, []byte) []byte {
		close(entered)
		<-release
		return domain.Answer(contracts.PingResult{}, nil)
	})
	calling := start(t, func(ctx context.Context) error {
		_, err := ping(ctx, f.Bus, "pi-1")
		return err
	})
	<-entered
	serving.cancel()
	select {
	case err := <-serving.result:
		require.FailNow(t, "a command was under way", "%v", err)
	case <-time.After(20 * time.Millisecond):
	}
	close(release)
	require.NoError(t, serving.wait(t))
	require.NoError(t, calling.wait(t), "the command under way is answered")
}

func commandEnded(t *testing.T, f CommandBusFixture) {
	server := f.Device(t, "pi-1").Server
	serving := serve(t, f, "pi-1", server, answering("pi-1"))
	require.NoError(t, serving.end(t))
	requireUnavailableAtOnce(t, f.Bus, "pi-1")
	serve(t, f, "pi-1", server, answering("pi-1"))
	_, err := ping(t.Context(), f.Bus, "pi-1")
	require.NoError(t, err)
}

func commandLogs(t *testing.T, f CommandBusFixture) {
	const pieces = 3
	given := 0
	serve(t, f, "pi-1", f.Device(t, "pi-1").Server, func(_ context.Context, _ contracts.Verb, request []byte) []byte {
		got, err := contracts.Decode[contracts.LogsRequest](request)
		if err != nil {
			return domain.Answer(nil, domain.WrapError(domain.ErrInvalid, err, "logs"))
		}
		assert.Equal(t, given > 0, got.Session == "s1")
		given++
		return domain.Answer(contracts.LogsResult{
			Session: "s1", Chunk: bytes.Repeat([]byte{byte('0' + given)}, contracts.MaxLogChunk), End: given == pieces,
		}, nil)
	})
	var got bytes.Buffer
	require.NoError(t, domain.CopyLogs(bounded(t), f.Bus, "pi-1", contracts.LogsRequest{Deployment: "web", Tail: -1}, &got))
	require.Equal(t, pieces*contracts.MaxLogChunk, got.Len())
	require.Equal(t, byte('3'), got.Bytes()[got.Len()-1])
}

func commandRestart(t *testing.T, f CommandBusFixture) {
	serve(t, f, "pi-1", f.Device(t, "pi-1").Server, answering("pi-1"))
	f.Restart(t)
	awaitServer(t, f.Bus, "pi-1")
	got, err := ping(t.Context(), f.Bus, "pi-1")
	require.NoError(t, err)
	require.Equal(t, "pi-1", got)
}
