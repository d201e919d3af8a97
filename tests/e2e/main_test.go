// Package e2e runs the real programs against each other and breaks them.
package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/tests/fleettest"
)

const root = "../.."

// bin holds the programs under test; TestMain builds them.
var bin string

func TestMain(m *testing.M) {
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "fleet-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if err := fleettest.Build(context.Background(), root, dir, runtime.GOARCH, append(fleettest.Programs(), "fleet-dev-identity")...); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	bin = dir
	return m.Run()
}

// timeout bounds each wait of a test; a healthy fleet needs a second or two.
const timeout = time.Minute

func example(name string) string { return filepath.Join(root, "examples", name) }

// start starts a fleet of separate programs and an observer, both ended with
// the test.
func start(t *testing.T, devices int) (context.Context, *fleettest.Separate, *fleettest.Observer) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*timeout)
	t.Cleanup(cancel)
	fleet, err := fleettest.StartSeparate(ctx, bin, t.TempDir(), devices)
	require.NoError(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(fleet.Logs())
		}
		require.NoError(t, fleet.End(context.WithoutCancel(ctx)))
	})
	observer, err := fleettest.Observe(ctx, fleet.Broker.Server, fleet.Broker.NKey)
	require.NoError(t, err)
	t.Cleanup(observer.Close)
	awaitSeen(ctx, t, fleet, observer, time.Time{})
	return ctx, fleet, observer
}

// awaitSeen waits until every device was heard of after a time.
func awaitSeen(ctx context.Context, t *testing.T, fleet *fleettest.Separate, observer *fleettest.Observer, since time.Time) {
	t.Helper()
	want := len(fleet.Broker.Devices)
	require.NoError(t, fleettest.Until(ctx, "every device to be heard of", func() (bool, string) {
		n := observer.Seen(fleet.Broker.Devices, since)
		return n == want, fmt.Sprintf("%d of %d", n, want)
	}))
}

// apply applies an example and waits until it runs everywhere.
func apply(ctx context.Context, t *testing.T, fleet *fleettest.Separate, observer *fleettest.Observer, file string) {
	t.Helper()
	_, err := fleet.Broker.CLI(ctx, "apply", "-f", example(file))
	require.NoError(t, err)
	_, err = observer.AwaitRunning(ctx, "hello", len(fleet.Broker.Devices), nil)
	require.NoError(t, err)
}

// pids returns the workload's process on each device.
func pids(t *testing.T, fleet *fleettest.Separate, observer *fleettest.Observer) map[string]int {
	t.Helper()
	all := map[string]int{}
	for _, device := range fleet.Broker.Devices {
		service, ok := observer.Service(device, "hello")
		require.True(t, ok, device)
		require.True(t, fleettest.Alive(service.PID), "%s: %+v", device, service)
		all[device] = service.PID
	}
	return all
}

func requireAlive(t *testing.T, pids map[string]int) {
	t.Helper()
	for device, pid := range pids {
		require.True(t, fleettest.Alive(pid), "process %d on %s", pid, device)
	}
}
