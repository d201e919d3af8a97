package operator_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/operator"
)

func TestADeregisteredDeviceLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	inFleet(t, func(f *fleet) {
		t := f.t
		f.register("d1", nil)
		f.register("d2", nil)
		f.apply(process("web", nil, "serve"))
		f.start()
		a := f.agent("d1", nil)
		f.settle()
		a.leave()
		f.deregister("d1")
		f.settle()
		assert.Nil(t, f.document("d1"))
		assert.NotNil(t, f.document("d2"))
		state, err := domain.ReadFleetState(t.Context(), f.backend.Observed())
		require.NoError(t, err)
		assert.Empty(t, state.Devices())
		assert.Equal(t, 1, f.status("web").Matched)
		assert.Len(t, f.events(contracts.EventDeviceRemoved), 1)
		assert.Zero(t, f.operator.Status().Unregistered)

		f.stop()
		f.deregister("d2")
		f.start()
		assert.Nil(t, f.document("d2"), "orphans are collected after a restart")
		assert.Equal(t, operator.PhaseConverged, f.operator.Status().Phase)

		f.register("d1", nil)
		f.settle()
		assert.Equal(t, []name{"web"}, names(f.runs("d1")))
	})
}

func TestARegistrationThatComesBackGoesOn(t *testing.T) {
	t.Parallel()
	inFleet(t, func(f *fleet) {
		t := f.t
		f.register("d1", nil)
		f.apply(process("web", nil, "serve"))
		f.start()
		f.agent("d1", nil)
		f.settle()
		f.deregister("d1")
		f.register("d1", nil)
		f.settle()
		assert.Equal(t, []name{"web"}, names(f.runs("d1")))
		f.pass(time.Minute)
		assert.Equal(t, 1, f.status("web").Running)
		assert.Equal(t, 1, f.operator.Status().Online)
	})
}

func TestARemovalThatFailsIsTriedAgain(t *testing.T) {
	t.Parallel()
	for _, returns := range []bool{false, true} {
		inFleet(t, func(f *fleet) {
			t := f.t
			f.register("d1", nil)
			f.apply(process("web", nil, "serve"))
			f.start()
			f.faults.remove = func() error { return domain.Errorf(domain.ErrUnavailable, "no answer") }
			f.deregister("d1")
			f.pass(time.Minute)
			assert.NotNil(t, f.document("d1"))
			if returns {
				f.register("d1", nil)
				f.settle()
			}
			f.faults.set(func(f *faults) { f.remove = nil })
			f.pass(time.Minute)
			if returns {
				assert.Equal(t, []name{"web"}, names(f.runs("d1")))
			} else {
				assert.Nil(t, f.document("d1"))
			}
		})
	}
}

func TestARevokedDeviceTakesNoPart(t *testing.T) {
	t.Parallel()
	inFleet(t, func(f *fleet) {
		t := f.t
		f.register("d1", nil)
		f.register("d2", nil)
		f.apply(process("web", nil, "serve"))
		f.start()
		f.edit("d1", func(d *domain.FleetDevice) { d.Revoked = true })
		f.settle()
		assert.Equal(t, 1, f.status("web").Matched)
		assert.Equal(t, operator.Status{Devices: 2, Revoked: 1}, operator.Status{Devices: f.operator.Status().Devices, Revoked: f.operator.Status().Revoked})
		f.apply(process("web", nil, "serve2"))
		f.settle()
		f.restart()
		assert.Equal(t, map[name]string{"web": "serve"}, f.runs("d1"), "its document is left as it is")
		assert.Equal(t, map[name]string{"web": "serve2"}, f.runs("d2"))
		f.edit("d1", func(d *domain.FleetDevice) { d.Revoked = false })
		f.settle()
		assert.Equal(t, map[name]string{"web": "serve2"}, f.runs("d1"))
		assert.Equal(t, 2, f.status("web").Matched)
		assert.Empty(t, f.events(contracts.EventDeviceRevoked), "whoever revoked it says so")
		assert.Empty(t, f.events(contracts.EventDeviceRestored))
		assert.Zero(t, f.operator.Status().Revoked)
	})
}

func TestUnregisteredDevicesAreCountedAndNothingElse(t *testing.T) {
	t.Parallel()
	inFleet(t, func(f *fleet) {
		t := f.t
		f.apply(process("web", nil, "serve"))
		f.start()
		f.agent("stranger", nil)
		f.pass(time.Minute)
		assert.Equal(t, 1, f.operator.Status().Unregistered)
		assert.Zero(t, f.operator.Status().Devices)
		assert.Empty(t, f.faults.took())
		assert.Empty(t, f.events(contracts.EventDeviceOnline))
		f.register("stranger", nil)
		f.settle()
		assert.Zero(t, f.operator.Status().Unregistered)
		assert.Equal(t, 1, f.operator.Status().Online)
		assert.Equal(t, []name{"web"}, names(f.runs("stranger")))
	})
}

func TestOnlineAndOffline(t *testing.T) {
	t.Parallel()
	inFleet(t, func(f *fleet) {
		t := f.t
		f.register("d1", nil)
		f.apply(process("web", nil, "serve"))
		f.start()
		a := f.agent("d1", nil)
		f.settle()
		assert.Len(t, f.events(contracts.EventDeviceOnline), 1)
		assert.Zero(t, f.status("web").Offline)

		f.restart()
		f.pass(time.Hour)
		assert.Len(t, f.events(contracts.EventDeviceOnline), 1, "a restart of the operator changed nothing")
		assert.Empty(t, f.events(contracts.EventDeviceOffline))

		a.leave()
		f.pass(domain.OfflineAfter(30*time.Second) - 5*time.Second)
		assert.Equal(t, 1, f.operator.Status().Online)
		f.pass(15 * time.Second)
		assert.Zero(t, f.operator.Status().Online)
		assert.Len(t, f.events(contracts.EventDeviceOffline), 1)
		assert.Equal(t, 1, f.status("web").Offline)
		assert.Equal(t, 1, f.status("web").Running, "it is counted by what it last said")

		f.restart()
		f.pass(time.Hour)
		assert.Len(t, f.events(contracts.EventDeviceOffline), 1)
		f.agent("d1", nil)
		f.settle()
		assert.Len(t, f.events(contracts.EventDeviceOnline), 2)
	})
}

func TestLostHeartbeatsAreNoEvents(t *testing.T) {
	t.Parallel()
	inFleet(t, func(f *fleet) {
		t := f.t
		f.register("d1", nil)
		f.register("d2", nil)
		f.apply(process("web", nil, "serve"))
		// They said something long ago, and the broker has lost their heartbeats.
		for _, device := range []id{"d1", "d2"} {
			require.NoError(t, f.backend.Device(device).Info(t.Context(), contracts.DeviceInfo{AgentVersion: "1.0.0"}))
		}
		f.pass(24 * time.Hour)
		f.start()
		assert.Zero(t, f.status("web").Offline, "there was no time yet to hear of them")
		f.agent("d1", nil)
		f.settle()
		assert.Empty(t, f.events(contracts.EventDeviceOnline))
		f.pass(time.Hour)
		assert.Empty(t, f.events(contracts.EventDeviceOffline))
		assert.Equal(t, 1, f.operator.Status().Online)
		assert.Equal(t, 1, f.status("web").Offline)
	})
}

func TestWorkloadsThatFailAndRecover(t *testing.T) {
	t.Parallel()
	inFleet(t, func(f *fleet) {
		t := f.t
		f.register("d1", nil)
		f.apply(process("web", nil, "serve"))
		f.start()
		a := f.agent("d1", nil)
		f.settle()
		a.set("web", contracts.PhaseFailed, contracts.ReasonCrashLoop)
		a.set("web", contracts.PhasePending, contracts.ReasonStarting)
		a.set("web", contracts.PhaseFailed, contracts.ReasonCrashLoop)
		failed := f.events(contracts.EventWorkloadFailed)
		require.Len(t, failed, 1, "trying again is no news")
		assert.Equal(t, string(contracts.ReasonCrashLoop), failed[0].Reason)
		assert.Equal(t, name("web"), failed[0].Deployment)
		assert.Equal(t, []contracts.Problem{{Device: "d1", Phase: contracts.PhaseFailed, Reason: contracts.ReasonCrashLoop}}, f.status("web").Problems)
		assert.Equal(t, contracts.ConditionTrue, f.status("web").Condition(contracts.ConditionStalled).Status)

		f.restart()
		f.pass(time.Minute)
		assert.Len(t, f.events(contracts.EventWorkloadFailed), 1)
		f.apply(process("web", nil, "serve2"))
		f.settle()
		assert.Len(t, f.events(contracts.EventWorkloadFailed), 2, "the new generation fails too")
		a.set("web", contracts.PhaseRunning, "")
		assert.Len(t, f.events(contracts.EventWorkloadRecovered), 1)
		assert.Equal(t, 1, f.status("web").Running)
	})
}

func TestARefusalIsSaid(t *testing.T) {
	t.Parallel()
	inFleet(t, func(f *fleet) {
		t := f.t
		f.register("d1", nil)
		f.apply(process("web", nil, "serve"))
		f.start()
		a := f.agent("d1", nil)
		f.settle()
		f.faults.took()
		a.edit(func(a *agent) {
			a.silent = true
			a.report.Sequence++
			a.report.Refused = &contracts.Refusal{Reason: contracts.RefusedUnknownKey, Message: "the key is not pinned"}
			a.report.Deployments = nil
			require.NoError(t, a.link.Report(t.Context(), a.report))
			require.NoError(t, a.link.Report(t.Context(), a.report))
		})
		f.settle()
		refused := f.events(contracts.EventDesiredStateRefused)
		require.Len(t, refused, 1)
		assert.Equal(t, string(contracts.RefusedUnknownKey), refused[0].Reason)
		require.Len(t, f.status("web").Problems, 1)
		assert.Contains(t, f.status("web").Problems[0].Message, "not pinned")
		assert.Empty(t, f.faults.took())
	})
}

func TestDevicesThatLagAreAsked(t *testing.T) {
	t.Parallel()
	inFleet(t, func(f *fleet) {
		t := f.t
		f.register("d1", nil)
		f.start()
		a := f.agent("d1", nil)
		f.pass(time.Minute)
		assert.Zero(t, a.asked(), "a report that arrived is not asked for")
		a.edit(func(a *agent) { a.silent = true; a.report.Sequence += 3 })
		f.pass(3 * time.Second)
		assert.Equal(t, 1, f.operator.Status().Lagging)
		assert.Zero(t, a.asked(), "it may be on its way")
		f.pass(7 * time.Second)
		assert.Equal(t, 1, a.asked())
		f.pass(time.Hour)
		assert.InDelta(t, 8, a.asked(), 2, "less and less often")
		a.edit(func(a *agent) { assert.NoError(t, a.link.Report(t.Context(), a.report)) })
		f.settle()
		assert.Zero(t, f.operator.Status().Lagging)
	})
}

func TestABrokenWatchRebuildsEverything(t *testing.T) {
	t.Parallel()
	inFleet(t, func(f *fleet) {
		t := f.t
		broken := make(chan struct{})
		f.faults.breakWatch = broken
		f.register("d1", paris)
		f.register("d2", paris)
		f.apply(process("web", paris, "serve"))
		f.start()
		f.agent("d1", nil)
		f.settle()
		f.faults.took()
		f.faults.set(func(f *faults) { f.breakWatch = nil })
		close(broken)
		f.settle()
		assert.Equal(t, operator.PhaseConverged, f.operator.Status().Phase)
		assert.Empty(t, f.faults.took())
		f.edit("d2", func(d *domain.FleetDevice) { d.Labels = lyon })
		f.settle()
		assert.Empty(t, f.runs("d2"))
		assert.Len(t, f.events(contracts.EventDeviceOnline), 1)
	})
}

func TestABackendThatIsDownIsWaitedFor(t *testing.T) {
	t.Parallel()
	inFleet(t, func(f *fleet) {
		t := f.t
		f.register("d1", nil)
		f.apply(process("web", nil, "serve"))
		f.backend.Stop()
		f.start()
		f.pass(time.Hour)
		assert.Equal(t, operator.PhaseRecovering, f.operator.Status().Phase)
		f.backend.Start()
		f.pass(20 * time.Second)
		assert.Equal(t, operator.PhaseConverged, f.operator.Status().Phase)
		f.agent("d1", nil)
		f.settle()
		f.backend.Stop()
		f.pass(time.Minute)
		f.backend.Start()
		f.apply(process("web", nil, "serve2"))
		f.pass(time.Minute)
		assert.Equal(t, map[name]string{"web": "serve2"}, f.runs("d1"))
		assert.Equal(t, 1, f.status("web").Running)
	})
}

func TestEventsNeverHoldTheEngineUp(t *testing.T) {
	t.Parallel()
	inFleet(t, func(f *fleet) {
		t := f.t
		release := make(chan struct{})
		f.faults.append = func(ctx context.Context) error {
			select {
			case <-release:
			case <-ctx.Done():
			}
			return ctx.Err()
		}
		f.register("d1", nil)
		f.apply(process("web", nil, "serve"))
		f.start()
		f.agent("d1", nil)
		f.settle()
		for n := range 10_000 { // more than the queue holds, each a change of its own
			f.apply(process("web", nil, fmt.Sprintf("serve-%d", n)))
			synctest.Wait()
		}
		f.settle()
		assert.Positive(t, f.operator.Status().EventsDropped)
		f.apply(process("web", nil, "serve2"))
		f.settle()
		assert.Equal(t, map[name]string{"web": "serve2"}, f.runs("d1"))
		close(release)
		f.settle()
		assert.NotEmpty(t, f.events(contracts.EventDeploymentApplied))
	})
}

func TestOneDeviceCannotFillTheEventLog(t *testing.T) {
	t.Parallel()
	inFleet(t, func(f *fleet) {
		t := f.t
		f.register("d1", nil)
		f.apply(process("web", nil, "serve"))
		f.start()
		a := f.agent("d1", nil)
		f.settle()
		a.edit(func(a *agent) { a.silent = true })
		for n := range 1000 {
			a.edit(func(a *agent) {
				a.report.Sequence++
				a.report.Refused = &contracts.Refusal{Reason: contracts.RefusedMalformed, Generation: uint64(n + 1)}
				a.report.Deployments = []contracts.DeploymentReport{{
					Name: "made-up", Generation: uint64(n + 1), Phase: contracts.PhaseFailed, Since: time.Now(),
				}}
				require.NoError(t, a.link.Report(t.Context(), a.report))
			})
			synctest.Wait()
		}
		f.settle()
		assert.NotEmpty(t, f.events(contracts.EventDesiredStateRefused))
		assert.LessOrEqual(t, len(f.events(contracts.EventDesiredStateRefused)), 100)
		assert.Empty(t, f.events(contracts.EventWorkloadFailed), "it was never assigned")
	})
}
