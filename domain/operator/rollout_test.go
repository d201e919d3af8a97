package operator_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

func TestAStatusTellsHowFarADeploymentIs(t *testing.T) {
	t.Parallel()
	inFleet(t, func(f *fleet) {
		t := f.t
		f.register("d1", nil)
		f.register("d2", nil)
		f.start()
		f.apply(process("web", nil, "serve"))
		f.settle()
		status := f.status("web")
		assert.Equal(t, 2, status.Pending)
		assert.Equal(t, 2, status.Offline)
		since := status.Condition(contracts.ConditionAvailable).LastTransitionTime

		f.agent("d1", nil)
		f.agent("d2", nil)
		f.settle()
		status = f.status("web")
		assert.Equal(t, 2, status.Running)
		assert.Equal(t, 2, status.Updated)
		assert.Zero(t, status.Offline)
		available := status.Condition(contracts.ConditionAvailable)
		assert.Equal(t, contracts.ConditionTrue, available.Status)
		assert.True(t, available.LastTransitionTime.After(since))

		f.apply(process("web", nil, "serve2"))
		f.settle()
		f.restart()
		f.pass(time.Minute)
		status = f.status("web")
		assert.Equal(t, uint64(2), status.ObservedGeneration)
		assert.Equal(t, 2, status.Running)
		kept := status.Condition(contracts.ConditionStalled).LastTransitionTime
		assert.False(t, kept.After(available.LastTransitionTime), "a condition that did not change keeps its time, across restarts too")

		assert.Len(t, f.events(contracts.EventDeploymentApplied), 2)
		assert.Len(t, f.events(contracts.EventRolloutComplete), 2, "once for each generation")
	})
}

func TestStatusesAreWrittenSeldom(t *testing.T) {
	t.Parallel()
	inFleet(t, func(f *fleet) {
		t := f.t
		f.register("d1", nil)
		f.apply(process("web", nil, "serve"))
		f.start()
		a := f.agent("d1", nil)
		f.settle()
		before := f.faults.puts("web")
		f.pass(time.Hour)
		assert.Equal(t, before, f.faults.puts("web"), "nothing changed")
		a.edit(func(a *agent) { a.silent = true })
		for n := range 1000 { // for ten seconds
			a.edit(func(a *agent) {
				a.report.Sequence++
				phase := contracts.PhaseRunning
				if n%7 < 3 { // seven and a hundred have nothing in common
					phase = contracts.PhasePending
				}
				a.report.Deployments = []contracts.DeploymentReport{{Name: "web", Generation: 1, Phase: phase}}
				require.NoError(t, a.link.Report(t.Context(), a.report))
			})
			f.pass(10 * time.Millisecond)
		}
		written := f.faults.puts("web") - before
		assert.LessOrEqual(t, written, 11)
		assert.Positive(t, written)
	})
}

func TestStatusesAreWrittenSeldomWhileDevicesJoin(t *testing.T) {
	t.Parallel()
	inFleet(t, func(f *fleet) {
		t := f.t
		f.apply(process("web", nil, "serve"))
		f.start()
		before := f.faults.puts("web")
		for n := range 100 { // for ten seconds
			f.register(id(fmt.Sprintf("d%d", n)), nil)
			f.pass(100 * time.Millisecond)
		}
		assert.LessOrEqual(t, f.faults.puts("web")-before, 11)
		f.settle()
		assert.Equal(t, 100, f.status("web").Matched)
		assert.Len(t, f.faults.took(), 100)
	})
}

func TestARemovalWaitsForTheDocuments(t *testing.T) {
	t.Parallel()
	inFleet(t, func(f *fleet) {
		t := f.t
		f.register("d1", nil)
		f.apply(process("web", nil, "serve"))
		f.start()
		f.faults.set(func(f *faults) {
			f.publish = func(id) (error, bool) { return domain.Errorf(domain.ErrUnavailable, "no answer"), false }
		})
		f.delete("web")
		f.pass(time.Minute)
		require.NotNil(t, f.status("web"), "the offline device would still be given it")
		f.faults.set(func(f *faults) { f.publish = nil })
		f.pass(time.Minute)
		assert.Nil(t, f.status("web"))
		assert.Empty(t, f.runs("d1"))
	})
}

func TestWhatWasAppliedWhileNobodyLedIsAnnounced(t *testing.T) {
	t.Parallel()
	inFleet(t, func(f *fleet) {
		t := f.t
		f.register("d1", nil)
		f.apply(process("web", nil, "serve"))
		f.start()
		assert.Len(t, f.events(contracts.EventDeploymentApplied), 1)
		f.restart()
		assert.Len(t, f.events(contracts.EventDeploymentApplied), 1)
		f.stop()
		f.apply(process("web", nil, "serve2"))
		f.start()
		applied := f.events(contracts.EventDeploymentApplied)
		require.Len(t, applied, 2)
		assert.Contains(t, applied[1].Message, "generation 2")
	})
}

func TestADeletedDeploymentIsRemovedEverywhere(t *testing.T) {
	t.Parallel()
	for _, restarted := range []bool{false, true} {
		inFleet(t, func(f *fleet) {
			t := f.t
			f.register("d1", nil)
			f.register("d2", nil)
			f.apply(process("web", nil, "serve"))
			f.apply(process("other", nil, "x"))
			f.start()
			a := f.agent("d1", nil)
			gone := f.agent("d2", nil)
			f.settle()
			gone.leave()
			f.pass(5 * time.Minute)
			a.edit(func(a *agent) { a.silent = true })
			if restarted {
				f.stop()
			}
			f.delete("web")
			if restarted {
				f.start()
			}
			f.settle()
			if restarted {
				f.restart()
			}
			assert.Equal(t, []name{"other"}, names(f.runs("d1")))
			assert.Equal(t, []name{"other"}, names(f.runs("d2")))
			status := f.status("web")
			require.NotNil(t, status)
			assert.True(t, status.Removing)
			assert.Equal(t, 2, status.Matched)
			assert.Equal(t, 1, status.Offline)
			assert.Equal(t, uint64(1), status.ObservedGeneration)
			assert.Equal(t, 1, f.operator.Status().Removing)
			assert.Equal(t, 1, f.operator.Status().Deployments)
			assert.Len(t, f.events(contracts.EventDeploymentDeleted), 1)
			assert.Empty(t, f.events(contracts.EventDeploymentRemoved))

			a.edit(func(a *agent) { a.silent = false })
			f.settle()
			assert.Nil(t, f.status("web"), "the offline device does not hold it up")
			assert.NotNil(t, f.status("other"))
			assert.Len(t, f.events(contracts.EventDeploymentRemoved), 1)
			assert.Zero(t, f.operator.Status().Removing)

			f.apply(process("web", nil, "again"))
			f.settle()
			assert.Equal(t, map[name]string{"web": "again", "other": "x"}, f.runs("d1"))
			assert.Equal(t, 1, f.status("web").Running)
			assert.Equal(t, 2, f.status("web").Matched)
		})
	}
}

func TestADeploymentThatComesBackWhileItIsRemoved(t *testing.T) {
	t.Parallel()
	inFleet(t, func(f *fleet) {
		t := f.t
		f.register("d1", nil)
		f.apply(process("web", nil, "serve"))
		f.start()
		a := f.agent("d1", nil)
		f.settle()
		a.edit(func(a *agent) { a.silent = true })
		f.delete("web")
		f.settle()
		require.True(t, f.status("web").Removing)
		f.apply(process("web", nil, "again"))
		a.edit(func(a *agent) { a.silent = false })
		f.settle()
		assert.Equal(t, map[name]string{"web": "again"}, f.runs("d1"))
		status := f.status("web")
		require.NotNil(t, status)
		assert.False(t, status.Removing)
		assert.Equal(t, 1, status.Running)
		assert.Empty(t, f.events(contracts.EventDeploymentRemoved))
	})
}
