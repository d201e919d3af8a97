package e2e

import (
	"context"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/tests/fleettest"
)

// followLog starts to follow a device's log and waits for its first line.
func followLog(ctx context.Context, t *testing.T, fleet *fleettest.Separate, device string) *fleettest.Program {
	t.Helper()
	reader, err := fleet.Broker.StartCLI("logs", "-f", device+"/hello")
	require.NoError(t, err)
	t.Cleanup(reader.Kill)
	require.NoError(t, fleettest.Until(ctx, "a line of the log", func() (bool, string) {
		return strings.Contains(reader.Output(), "from "+device), reader.Output()
	}))
	return reader
}

// ended waits until the reader ends by itself and returns how.
func ended(ctx context.Context, t *testing.T, reader *fleettest.Program) error {
	t.Helper()
	select {
	case <-reader.Done():
	case <-ctx.Done():
		require.FailNow(t, "the log goes on", reader.Output())
	}
	return reader.Stop(syscall.SIGTERM, timeout)
}

// TestFollowedLogEnds: on either side's death, and with the service.
func TestFollowedLogEnds(t *testing.T) {
	ctx, fleet, observer := start(t, 1)
	apply(ctx, t, fleet, observer, "hello.yaml")
	device := fleet.Broker.Devices[0]

	interrupted := followLog(ctx, t, fleet, device)
	require.NoError(t, interrupted.Stop(syscall.SIGINT, timeout), "the reader's own end is no failure")
	followLog(ctx, t, fleet, device).Kill() // the device must not mind

	orphan := followLog(ctx, t, fleet, device)
	fleet.Agents[device].Kill()
	require.Error(t, ended(ctx, t, orphan))
	require.Contains(t, orphan.Output(), device)
	require.Contains(t, orphan.Output(), "Error: ")

	require.NoError(t, fleet.StartAgent(device))
	awaitReachable(ctx, t, fleet, device)
	last := followLog(ctx, t, fleet, device)
	_, err := fleet.Broker.CLI(ctx, "delete", "deployment", "hello")
	require.NoError(t, err)
	require.NoError(t, ended(ctx, t, last), last.Output())
}

func awaitReachable(ctx context.Context, t *testing.T, fleet *fleettest.Separate, device string) {
	t.Helper()
	require.NoError(t, fleettest.Until(ctx, "the agent to answer", func() (bool, string) {
		out, err := fleet.Broker.CLI(ctx, "ping", device)
		return err == nil, out
	}))
}
