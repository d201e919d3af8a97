package domain_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

func TestFleetStateKeepsTheLastOfEachKind(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	state := domain.NewFleetState()
	require.Nil(t, state.Observe(domain.Observation{CaughtUp: true}))
	report := &contracts.DeviceReport{AppliedGeneration: 3, Deployments: []contracts.DeploymentReport{
		{Name: "a", Phase: contracts.PhaseRunning}, {Name: "b", Phase: contracts.PhaseFailed},
	}}
	state.Observe(domain.Observation{Device: "d", At: start.Add(2 * time.Second), Report: report})
	state.Observe(domain.Observation{Device: "d", At: start, Info: &contracts.DeviceInfo{Labels: contracts.Labels{"arch": "arm64"}}})
	state.Observe(domain.Observation{Device: "d", At: start.Add(time.Second), Heartbeat: &contracts.Heartbeat{AppliedGeneration: 5}})

	device := state.Device("d")
	require.Equal(t, start.Add(2*time.Second), device.SeenAt, "an older observation does not make it older")
	require.Equal(t, uint64(5), device.AppliedGeneration())
	require.Equal(t, contracts.Labels{"arch": "arm64"}, device.ReportedLabels())
	b, ok := device.Deployment("b")
	require.True(t, ok)
	require.Equal(t, contracts.PhaseFailed, b.Phase)
	_, ok = device.Deployment("c")
	require.False(t, ok)
	require.Equal(t, []contracts.DeviceID{"d"}, state.Devices())
	state.Forget("d")
	require.Empty(t, state.Devices())
	require.Equal(t, domain.DeviceState{ID: "d"}, state.Device("d"))
}

func TestOnlineUntilHeartbeatsAreMissed(t *testing.T) {
	t.Parallel()
	const interval = 30 * time.Second
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	limit := domain.OfflineAfter(interval)
	require.Greater(t, limit, 3*interval)
	require.True(t, domain.DeviceState{SeenAt: now.Add(-limit)}.Online(now, interval))
	require.False(t, domain.DeviceState{SeenAt: now.Add(-limit - 1)}.Online(now, interval))
	require.False(t, domain.DeviceState{}.Online(now, interval), "never seen")
}

func TestAssess(t *testing.T) {
	t.Parallel()
	zero, one := 0, 1
	running := contracts.ServiceReport{Name: "a", State: contracts.ServiceRunning}
	waiting := contracts.ServiceReport{Name: "b", State: contracts.ServiceRestarting}
	done := contracts.ServiceReport{Name: "b", State: contracts.ServiceExited, ExitCode: &zero}
	failed := contracts.ServiceReport{Name: "b", State: contracts.ServiceExited, ExitCode: &one}
	cases := map[string]struct {
		services []contracts.ServiceReport
		reason   contracts.Reason
		want     contracts.Phase
	}{
		"all run":             {[]contracts.ServiceReport{running}, "", contracts.PhaseRunning},
		"one has ended well":  {[]contracts.ServiceReport{running, done}, "", contracts.PhaseRunning},
		"one on its way":      {[]contracts.ServiceReport{running, waiting}, "", contracts.PhasePending},
		"one crashes":         {[]contracts.ServiceReport{running, waiting}, contracts.ReasonCrashLoop, contracts.PhaseDegraded},
		"one has failed":      {[]contracts.ServiceReport{running, failed}, contracts.ReasonExited, contracts.PhaseDegraded},
		"all crash":           {[]contracts.ServiceReport{waiting}, contracts.ReasonCrashLoop, contracts.PhaseFailed},
		"nothing there yet":   {nil, "", contracts.PhasePending},
		"nothing and a cause": {nil, contracts.ReasonStartFailed, contracts.PhaseFailed},
	}
	for name, c := range cases {
		phase, reason := domain.WorkloadStatus{Services: c.services, Reason: c.reason}.Assess()
		require.Equal(t, c.want, phase, name)
		if c.reason != "" {
			require.Equal(t, c.reason, reason, name)
		}
	}
}
