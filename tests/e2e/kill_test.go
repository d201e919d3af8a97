package e2e

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/tests/fleettest"
)

func TestBrokerKilledAndStartedAgain(t *testing.T) {
	ctx, fleet, observer := start(t, 3)
	apply(ctx, t, fleet, observer, "hello.yaml")
	before := pids(t, fleet, observer)
	stored, err := observer.Deployments.Get(ctx, "hello")
	require.NoError(t, err)

	fleet.Broker.Kill()
	requireAlive(t, before)
	restarted := time.Now()
	require.NoError(t, fleet.StartBroker(ctx))

	// Applied at once, while operator and agents are still reconnecting.
	_, err = fleet.Broker.CLI(ctx, "apply", "-f", example("hello-v2.yaml"))
	require.NoError(t, err)
	awaitSeen(ctx, t, fleet, observer, restarted)
	generation, err := observer.AwaitRunning(ctx, "hello", 3, nil)
	require.NoError(t, err)
	require.Equal(t, stored.Generation+1, generation, "the deployment from before the kill must not be lost")
	for device, pid := range pids(t, fleet, observer) {
		require.NotEqual(t, before[device], pid)
	}
}

func TestOperatorKilledAndStartedAgain(t *testing.T) {
	ctx, fleet, observer := start(t, 3)
	apply(ctx, t, fleet, observer, "hello.yaml")
	before := pids(t, fleet, observer)

	fleet.Operator.Kill()
	_, err := fleet.Broker.CLI(ctx, "apply", "-f", example("hello-v2.yaml"))
	require.NoError(t, err)
	requireAlive(t, before)
	require.NoError(t, fleet.StartOperator())
	_, err = observer.AwaitRunning(ctx, "hello", 3, nil)
	require.NoError(t, err)
}

func TestOperatorRestartRewritesNothing(t *testing.T) {
	ctx, fleet, observer := start(t, 3)
	apply(ctx, t, fleet, observer, "hello.yaml")
	before := pids(t, fleet, observer)
	generations := appliedGenerations(fleet, observer)

	fleet.Operator.Kill()
	require.NoError(t, fleet.StartOperator())
	// A later change is seen by all, so an unwanted rewrite would have come
	// before it: every device must be exactly one generation further.
	_, err := fleet.Broker.CLI(ctx, "apply", "-f", example("hello-v2.yaml"))
	require.NoError(t, err)
	_, err = observer.AwaitRunning(ctx, "hello", 3, nil)
	require.NoError(t, err)
	for device, generation := range appliedGenerations(fleet, observer) {
		require.Equal(t, generations[device]+1, generation, device)
	}
	for device, pid := range pids(t, fleet, observer) {
		require.NotEqual(t, before[device], pid)
	}
}

func appliedGenerations(fleet *fleettest.Separate, observer *fleettest.Observer) map[string]uint64 {
	all := map[string]uint64{}
	for _, device := range fleet.Broker.Devices {
		all[device] = observer.Device(device).AppliedGeneration()
	}
	return all
}

func TestAgentKilledAndStartedAgain(t *testing.T) {
	ctx, fleet, observer := start(t, 2)
	apply(ctx, t, fleet, observer, "hello.yaml")
	before := pids(t, fleet, observer)
	device := fleet.Broker.Devices[0]

	fleet.Agents[device].Kill()
	requireAlive(t, before)
	restarted := time.Now()
	require.NoError(t, fleet.StartAgent(device))
	awaitSeen(ctx, t, fleet, observer, restarted)
	require.NoError(t, awaitService(ctx, observer, device, func(s contracts.ServiceReport) bool {
		return s.PID == before[device] && s.State == contracts.ServiceRunning
	}), "the workload must be adopted, not started again")
	requireAlive(t, before)

	// What is applied while it is dead is done as soon as it lives again.
	fleet.Agents[device].Kill()
	_, err := fleet.Broker.CLI(ctx, "apply", "-f", example("hello-v2.yaml"))
	require.NoError(t, err)
	require.NoError(t, fleet.StartAgent(device))
	_, err = observer.AwaitRunning(ctx, "hello", 2, nil)
	require.NoError(t, err)
	require.False(t, fleettest.Alive(before[device]))
}

func TestWorkloadStartsFromDiskWithoutBroker(t *testing.T) {
	ctx, fleet, observer := start(t, 1)
	apply(ctx, t, fleet, observer, "hello.yaml")
	device := fleet.Broker.Devices[0]
	before := pids(t, fleet, observer)[device]

	fleet.Broker.Kill()
	fleet.Agents[device].Kill()
	require.NoError(t, killProcess(before))
	require.NoError(t, fleettest.Until(ctx, "the old process to end", func() (bool, string) {
		return !fleettest.Alive(before), fmt.Sprint(before)
	}))
	require.NoError(t, fleet.StartAgent(device))
	log := fleet.Broker.Dir + "/devices/" + device + "/state/process"
	require.NoError(t, fleettest.Until(ctx, "the workload to run again without a broker", func() (bool, string) {
		pid := processUnder(log)
		return pid != 0 && pid != before, fmt.Sprintf("process %d below %s", pid, log)
	}))
	require.NoError(t, fleet.StartBroker(ctx))
	_, err := observer.AwaitRunning(ctx, "hello", 1, nil)
	require.NoError(t, err)
}

func awaitService(ctx context.Context, observer *fleettest.Observer, device string, good func(contracts.ServiceReport) bool) error {
	return fleettest.Until(ctx, "the workload of "+device, func() (bool, string) {
		service, _ := observer.Service(device, "hello")
		return good(service), fmt.Sprintf("%+v", service)
	})
}
