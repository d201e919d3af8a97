package rollout_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain/rollout"
)

const generation = 4

func device(n int, edit func(*rollout.Device)) rollout.Device {
	d := rollout.Device{
		ID: contracts.DeviceID(fmt.Sprintf("d%04d", n)), Online: true,
		Assigned: generation, Reported: generation, Phase: contracts.PhaseRunning,
	}
	if edit != nil {
		edit(&d)
	}
	return d
}

func input(devices ...rollout.Device) rollout.Input {
	return rollout.Input{Now: time.Unix(1000, 0), Generation: generation, Devices: devices}
}

func offline(d *rollout.Device) { d.Online = false }

func failed(d *rollout.Device) {
	d.Phase, d.Reason, d.Message = contracts.PhaseFailed, contracts.ReasonCrashLoop, "exit code 1"
}

func old(d *rollout.Device) { d.Reported, d.Assigned = generation-1, generation-1 }

func TestPlan(t *testing.T) {
	t.Parallel()
	type want struct {
		running, pending, degraded, failed, offline, updated int
		available, progressing, stalled                      contracts.ConditionStatus
		complete                                             bool
	}
	const (
		yes     = contracts.ConditionTrue
		no      = contracts.ConditionFalse
		unknown = contracts.ConditionUnknown
	)
	tests := map[string]struct {
		devices []rollout.Device
		want    want
	}{
		"no device": {nil, want{available: yes, progressing: no, stalled: no, complete: true}},
		"all run": {
			[]rollout.Device{device(1, nil), device(2, nil)},
			want{running: 2, updated: 2, available: yes, progressing: no, stalled: no, complete: true},
		},
		"one is on its way": {
			[]rollout.Device{device(1, nil), device(2, old)},
			want{running: 1, pending: 1, updated: 1, available: no, progressing: yes, stalled: no},
		},
		"an offline device neither blocks nor fails": {
			[]rollout.Device{device(1, nil), device(2, func(d *rollout.Device) { old(d); offline(d) })},
			want{running: 1, pending: 1, updated: 1, offline: 1, available: yes, progressing: no, stalled: no, complete: true},
		},
		"all offline, none ran it": {
			[]rollout.Device{device(1, func(d *rollout.Device) { old(d); offline(d) })},
			want{pending: 1, offline: 1, available: unknown, progressing: no, stalled: no},
		},
		"one fails, none moves": {
			[]rollout.Device{device(1, nil), device(2, failed)},
			want{running: 1, failed: 1, updated: 2, available: no, progressing: no, stalled: yes},
		},
		"one fails, one moves": {
			[]rollout.Device{device(1, old), device(2, failed)},
			want{pending: 1, failed: 1, updated: 1, available: no, progressing: yes, stalled: no},
		},
		"a failure of the old generation is no failure of the new": {
			[]rollout.Device{device(1, func(d *rollout.Device) { failed(d); old(d) })},
			want{pending: 1, available: no, progressing: yes, stalled: no},
		},
		"the score is not valid on a device that runs the old one": {
			[]rollout.Device{device(1, func(d *rollout.Device) { d.Failure = "no label" })},
			want{failed: 1, available: no, progressing: no, stalled: yes},
		},
		"a device refuses": {
			[]rollout.Device{device(1, func(d *rollout.Device) { old(d); d.Refusal = "UnknownKey: x" })},
			want{pending: 1, available: no, progressing: no, stalled: yes},
		},
		"degraded": {
			[]rollout.Device{device(1, func(d *rollout.Device) { d.Phase = contracts.PhaseDegraded })},
			want{degraded: 1, updated: 1, available: no, progressing: no, stalled: yes},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			decision := rollout.Plan(input(test.devices...))
			s := decision.Status
			assert.Equal(t, test.want, want{
				running: s.Running, pending: s.Pending, degraded: s.Degraded, failed: s.Failed,
				offline: s.Offline, updated: s.Updated,
				available:   s.Condition(contracts.ConditionAvailable).Status,
				progressing: s.Condition(contracts.ConditionProgressing).Status,
				stalled:     s.Condition(contracts.ConditionStalled).Status,
				complete:    decision.Complete,
			})
			assert.Equal(t, len(test.devices), s.Matched)
			assert.Equal(t, uint64(generation), s.ObservedGeneration)
		})
	}
}

func TestProblemsSayWhyWorstFirst(t *testing.T) {
	t.Parallel()
	var devices []rollout.Device
	for n := range 30 {
		devices = append(devices, device(n, func(d *rollout.Device) {
			switch n % 3 {
			case 0:
				d.Phase, d.Reason = contracts.PhaseDegraded, contracts.ReasonUnhealthy
			case 1:
				failed(d)
			}
		}))
	}
	devices = append(devices, device(99, func(d *rollout.Device) { d.Failure = "has no label \"site\"" }))
	problems := rollout.Plan(input(devices...)).Status.Problems
	require.Len(t, problems, contracts.MaxProblems)
	for _, problem := range problems {
		assert.Equal(t, contracts.PhaseFailed, problem.Phase)
		assert.NotEmpty(t, problem.Reason)
	}

	problems = rollout.Plan(input(devices[:6]...)).Status.Problems
	require.Len(t, problems, 4)
	assert.Equal(t, contracts.Problem{Device: "d0001", Phase: contracts.PhaseFailed, Reason: contracts.ReasonCrashLoop, Message: "exit code 1"}, problems[0])
	assert.Equal(t, contracts.PhaseDegraded, problems[3].Phase)

	problems = rollout.Plan(input(devices[30])).Status.Problems
	assert.Equal(t, []contracts.Problem{{Device: "d0099", Phase: contracts.PhaseFailed, Reason: contracts.ReasonInvalidScore, Message: "has no label \"site\""}}, problems)
}

func TestUnknownStrategyMovesNothing(t *testing.T) {
	t.Parallel()
	for _, strategy := range []contracts.Strategy{contracts.StrategyRolling, contracts.StrategyStaged, "FromTheFuture"} {
		in := input(device(1, old), device(2, nil), device(3, func(d *rollout.Device) { d.Assigned = 0 }))
		in.Rollout.Strategy = strategy
		decision := rollout.Plan(in)
		assert.Equal(t, []uint64{generation - 1, generation, 0}, decision.Assign)
		stalled := decision.Status.Condition(contracts.ConditionStalled)
		assert.Equal(t, contracts.ConditionTrue, stalled.Status)
		assert.Contains(t, stalled.Message, string(strategy))
		assert.False(t, decision.Complete)
	}
}

// TestProperties checks what must hold for every fleet, on random ones.
func TestProperties(t *testing.T) {
	t.Parallel()
	for seed := range uint64(500) {
		random := rand.New(rand.NewPCG(seed, 1))
		in := randomInput(random)
		before := slices.Clone(in.Devices)
		decision := rollout.Plan(in)
		s := decision.Status

		require.Equal(t, before, in.Devices, "seed %d: the input was edited", seed)
		require.Equal(t, decision, rollout.Plan(in), "seed %d: not deterministic", seed)
		require.Len(t, decision.Assign, len(in.Devices))
		for _, assigned := range decision.Assign {
			require.Equal(t, in.Generation, assigned)
		}
		require.Equal(t, s.Matched, s.Pending+s.Running+s.Degraded+s.Failed, "seed %d: counted once", seed)
		require.LessOrEqual(t, s.Offline, s.Matched)
		require.GreaterOrEqual(t, s.Updated, s.Running)
		require.NoError(t, s.Validate())
		if decision.Complete {
			require.NotEqual(t, contracts.ConditionTrue, s.Condition(contracts.ConditionProgressing).Status)
			require.NotEqual(t, contracts.ConditionTrue, s.Condition(contracts.ConditionStalled).Status)
		}
		require.False(t, s.Condition(contracts.ConditionProgressing).Status == contracts.ConditionTrue &&
			s.Condition(contracts.ConditionStalled).Status == contracts.ConditionTrue, "seed %d: both moving and stuck", seed)

		random.Shuffle(len(in.Devices), func(i, j int) { in.Devices[i], in.Devices[j] = in.Devices[j], in.Devices[i] })
		require.Equal(t, s, rollout.Plan(in).Status, "seed %d: the order of devices matters", seed)

		removal, done := rollout.Removal(in.Generation, in.Devices)
		require.NoError(t, removal.Validate())
		require.Equal(t, removal.Matched, removal.Pending+removal.Running+removal.Degraded+removal.Failed)
		for _, d := range in.Devices {
			require.False(t, done && (d.Online || d.Assigned > 0), "seed %d: done too early", seed)
		}
	}
}

func randomInput(random *rand.Rand) rollout.Input {
	phases := append(contracts.Phases(), "")
	in := input()
	for n := range random.IntN(40) {
		in.Devices = append(in.Devices, device(n, func(d *rollout.Device) {
			d.Online = random.IntN(3) > 0
			d.Assigned = uint64(random.IntN(generation + 1))
			d.Reported = generation - uint64(random.IntN(2))
			d.Phase = phases[random.IntN(len(phases))]
			if random.IntN(8) == 0 {
				d.Failure = "no label"
			}
			if random.IntN(8) == 0 {
				d.Refusal = "UnknownKey"
			}
		}))
	}
	return in
}

func TestRemoval(t *testing.T) {
	t.Parallel()
	removing := func(d *rollout.Device) { d.Phase, d.Assigned = contracts.PhaseRemoving, 0 }
	status, done := rollout.Removal(generation, []rollout.Device{
		device(1, removing), device(2, func(d *rollout.Device) { removing(d); offline(d) }),
	})
	assert.False(t, done)
	assert.True(t, status.Removing)
	assert.Equal(t, 2, status.Matched)
	assert.Equal(t, 1, status.Offline)

	_, done = rollout.Removal(generation, []rollout.Device{device(2, func(d *rollout.Device) { removing(d); offline(d) })})
	assert.True(t, done, "an offline device does not hold a removal up")
	_, done = rollout.Removal(generation, []rollout.Device{device(2, offline)})
	assert.False(t, done, "its desired state still has it")
	_, done = rollout.Removal(generation, nil)
	assert.True(t, done)
}

func BenchmarkPlan100k(b *testing.B) {
	in := input()
	for n := range 100_000 {
		in.Devices = append(in.Devices, device(n, nil))
	}
	for b.Loop() {
		rollout.Plan(in)
	}
}
