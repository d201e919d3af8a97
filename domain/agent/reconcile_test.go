package agent_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/agent"
	"github.com/nationtech/harmony-fleet/domain/memory"
)

func TestFailingDeploymentBlocksNoOther(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.runtime.Behave("broken", memory.Behaviour{Fail: contracts.ReasonImagePullFailed, Message: "no such image"})
		b.start()
		b.publish(1, process("a", 1, "broken"), process("b", 1, "serve"))
		assert.Equal(t, []string{"a/Failed/ImagePullFailed", "b/Running"}, b.phases())
		assert.Contains(t, b.reporter.last(t).Deployments[0].Message, "no such image")
	})
}

func TestUnusableScoresFailAlone(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.start()
		odd := process("odd", 1, "serve")
		odd.Score.Type = "WasmV9"
		bad := process("bad", 1, "serve")
		bad.Score.Data = []byte(`{"services":[]}`)
		b.publish(1, bad, odd, process("web", 1, "serve"))
		assert.Equal(t, []string{"bad/Failed/InvalidScore", "odd/Failed/UnsupportedScore", "web/Running"}, b.phases())
		report := b.reporter.last(t)
		assert.Contains(t, report.Deployments[0].Message, "services")
		assert.Contains(t, report.Deployments[1].Message, "WasmV9")
	})
}

func TestUnusableScoreLeavesTheEarlierOneRunning(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.start()
		b.publish(1, process("web", 1, "serve"))
		pid := b.pid("web")
		bad := process("web", 2, "serve")
		bad.Score.Data = []byte(`{"services":[]}`)
		b.publish(2, bad)
		assert.Equal(t, []string{"web/Failed/InvalidScore"}, b.phases())
		assert.Equal(t, pid, b.pid("web"))
		b.publish(3)
		assert.Empty(t, b.onHost())
		assert.Empty(t, b.phases())
	})
}

func TestBlockedAppliesStarveNoOther(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.runtime.Behave("slow", memory.Behaviour{Block: true, BlockReason: contracts.ReasonInitRunning, Message: "migrating"})
		b.start()
		deployments := []contracts.DesiredDeployment{process("z", 1, "serve")}
		for i := range 40 {
			deployments = append(deployments, process(fmt.Sprintf("a%02d", i), 1, "slow"))
		}
		b.publish(1, deployments...)
		b.advance(time.Minute)
		assert.Equal(t, contracts.PhaseRunning, b.status("z").Phase)
		slow := b.status("a39")
		assert.Equal(t, contracts.PhasePending, slow.Phase)
		assert.Equal(t, contracts.ReasonInitRunning, slow.Reason)
		assert.Contains(t, slow.Message, "migrating")
		b.publish(2, process("late", 1, "serve"), process("a00", 1, "slow"))
		b.advance(10 * time.Second)
		assert.Equal(t, contracts.PhaseRunning, b.status("late").Phase)
		b.runtime.Behave("slow", memory.Behaviour{})
		b.advance(time.Second)
		assert.Equal(t, []string{"a00/Running", "late/Running"}, b.phases())
	})
}

func TestSupersededApplyIsCancelled(t *testing.T) {
	for _, next := range []struct {
		name        string
		deployments []contracts.DesiredDeployment
		phases      []string
	}{
		{"by a newer spec", []contracts.DesiredDeployment{process("web", 2, "serve")}, []string{"web/Running"}},
		{"by its removal", nil, []string{}},
	} {
		t.Run(next.name, func(t *testing.T) {
			inBubble(t, func(b *bench) {
				b.runtime.Behave("stuck", memory.Behaviour{Block: true, BlockReason: contracts.ReasonImagePulling})
				b.start()
				b.publish(1, process("web", 1, "stuck"))
				assert.Equal(t, []string{"web/Pending/ImagePulling"}, b.phases())
				b.publish(2, next.deployments...)
				assert.Equal(t, next.phases, b.phases())
				assert.Zero(t, b.status("web").Failures, "to be overtaken is no failure")
			})
		})
	}
}

func TestBackoffDoublesAndIsReset(t *testing.T) {
	inBubble(t, func(b *bench) {
		counting := b.counting()
		b.runtime.Behave("broken", memory.Behaviour{Fail: contracts.ReasonStartFailed})
		b.start()
		b.publish(1, process("web", 1, "broken"))
		b.advance(20 * time.Minute)
		tries := counting.applied("web")
		for i := range 8 {
			assert.Equal(t, time.Second<<i, tries[i+1].Sub(tries[i]), "try %d", i+1)
		}
		last := len(tries) - 1
		assert.Equal(t, 5*time.Minute, tries[last].Sub(tries[last-1]))
		assert.Equal(t, len(tries), b.status("web").Failures)
		assert.Equal(t, tries[last].Add(5*time.Minute), b.status("web").NextRetry)

		b.publish(2, process("web", 1, "broken"), process("other", 1, "serve"))
		assert.Len(t, counting.applied("web"), len(tries), "a new document with the same spec resets nothing")
		b.publish(3, process("web", 2, "serve"))
		assert.Equal(t, contracts.PhaseRunning, b.status("web").Phase)
		assert.Zero(t, b.status("web").Failures)
	})
}

func TestBackoffIsShortenedAtRandomWithinAFifth(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.options.Jitter = func() float64 { return 0.999 }
		counting := b.counting()
		b.runtime.Behave("broken", memory.Behaviour{Fail: contracts.ReasonStartFailed})
		b.start()
		b.publish(1, process("web", 1, "broken"))
		b.advance(time.Minute)
		tries := counting.applied("web")
		assert.InDelta(t, 0.8, tries[1].Sub(tries[0]).Seconds(), 0.01)
	})
}

func TestFailureStaysUntilTheNextAttemptComesFurther(t *testing.T) {
	inBubble(t, func(b *bench) {
		counting := b.counting()
		counting.fail("apply", &domain.WorkloadError{Reason: contracts.ReasonRuntimeUnavailable, Message: "not there"})
		b.runtime.Behave("slow", memory.Behaviour{Block: true, BlockReason: contracts.ReasonImagePulling})
		b.start()
		b.publish(1, process("web", 1, "slow"))
		assert.Equal(t, contracts.ReasonRuntimeUnavailable, b.status("web").Reason)
		counting.fail("apply", nil)
		b.advance(time.Minute)
		assert.Equal(t, contracts.ReasonImagePulling, b.status("web").Reason)
		b.runtime.Behave("slow", memory.Behaviour{Fail: contracts.ReasonImagePullFailed})
		b.advance(time.Second)
		assert.Equal(t, contracts.ReasonImagePullFailed, b.status("web").Reason)
		b.runtime.Behave("slow", memory.Behaviour{Block: true, BlockReason: contracts.ReasonImagePulling})
		since := b.status("web").Since
		b.advance(10 * time.Minute)
		assert.Equal(t, contracts.ReasonImagePullFailed, b.status("web").Reason)
		assert.Equal(t, since, b.status("web").Since)
	})
}

func TestRuntimeThatComesBackEndsTheBackoff(t *testing.T) {
	inBubble(t, func(b *bench) {
		counting := b.counting()
		gone := &domain.WorkloadError{Reason: contracts.ReasonRuntimeUnavailable, Message: "not there"}
		counting.fail("apply", gone)
		counting.fail("list", gone)
		b.start()
		b.publish(1, process("web", 1, "serve"))
		b.advance(20 * time.Minute)
		assert.Contains(t, b.agent.Status().Runtimes[0].Problem, "not there")
		counting.fail("apply", nil)
		counting.fail("list", nil)
		b.advance(31 * time.Second)
		assert.Equal(t, []string{"web/Running"}, b.phases())
		assert.Empty(t, b.agent.Status().Runtimes[0].Problem)
	})
}

func TestUnknownErrorsDoNotReachTheReport(t *testing.T) {
	inBubble(t, func(b *bench) {
		counting := b.counting()
		counting.fail("apply", errors.New("token=hunter2"))
		b.start()
		b.publish(1, process("web", 1, "serve"))
		assert.Equal(t, []string{"web/Failed/StartFailed"}, b.phases())
		assert.NotContains(t, b.reporter.last(t).Deployments[0].Message, "hunter2")
	})
}

func TestChangedSpecReplacesTheService(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.start()
		b.publish(1, process("web", 1, "one"), process("db", 1, "serve"))
		web, db := b.pid("web"), b.pid("db")
		b.publish(2, process("web", 1, "two"), process("db", 1, "serve"))
		assert.NotEqual(t, web, b.pid("web"), "the same generation with other data is another spec")
		assert.Equal(t, db, b.pid("db"))
		require.Len(t, b.runtime.Stops(), 1)
		assert.Equal(t, web, b.runtime.Stops()[0].PID)
	})
}

func TestRunningIsReportedOnlyOnceSeen(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.runtimes = []domain.WorkloadRuntime{&slowRuntime{newRuntime(b.runtime)}}
		b.start()
		b.publish(1, process("web", 1, "one"))
		b.advance(time.Second)
		b.publish(2, process("web", 1, "two"))
		b.advance(time.Second)
		assert.Equal(t, []string{"web/Running"}, b.phases())
		for _, report := range b.reporter.sent() {
			if report.AppliedGeneration == 2 && report.Deployments[0].Phase == contracts.PhaseRunning {
				assert.Equal(t, b.pid("web"), report.Deployments[0].Services[0].PID)
			}
		}
	})
}

func TestRemovalIsReportedUntilGone(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.runtime.Behave("stubborn", memory.Behaviour{IgnoresStop: true})
		b.start()
		b.publish(1, process("web", 4, "stubborn"), process("db", 1, "serve"))
		b.publish(2, process("db", 1, "serve"))
		assert.Equal(t, []string{"db/Running", "web/Removing/Stopping"}, b.phases())
		assert.Equal(t, uint64(4), b.reporter.last(t).Deployments[1].Generation)
		b.advance(contracts.DefaultGracePeriod)
		assert.Equal(t, []string{"db/Running"}, b.phases())
		assert.Equal(t, []string{"db@1"}, b.onHost())
	})
}

func TestFailedRemovalIsTriedAgain(t *testing.T) {
	inBubble(t, func(b *bench) {
		counting := b.counting()
		b.start()
		b.publish(1, process("web", 1, "serve"))
		counting.fail("remove", &domain.WorkloadError{Reason: contracts.ReasonRuntimeUnavailable, Message: "busy"})
		b.publish(2)
		assert.Equal(t, []string{"web/Removing/StopFailed"}, b.phases())
		assert.Contains(t, b.reporter.last(t).Deployments[0].Message, "busy")
		b.advance(time.Minute)
		assert.Greater(t, counting.removed()["web"], 3)
		counting.fail("remove", nil)
		b.advance(time.Minute)
		assert.Empty(t, b.phases())
		assert.Empty(t, b.onHost())
	})
}

func TestRemovalThatDoesNothingIsNotBelieved(t *testing.T) {
	inBubble(t, func(b *bench) {
		liar := &lyingRuntime{runtime: newRuntime(b.runtime)}
		b.runtimes = []domain.WorkloadRuntime{liar}
		b.start()
		b.publish(1, process("web", 1, "serve"))
		b.publish(2)
		assert.Equal(t, []string{"web/Removing/StopFailed"}, b.phases())
	})
}

func TestRemovedDeploymentCanComeBackAtOnce(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.runtime.Behave("stubborn", memory.Behaviour{IgnoresStop: true})
		b.start()
		b.publish(1, process("web", 1, "stubborn"))
		b.publish(2)
		b.publish(3, process("web", 2, "serve"))
		b.advance(contracts.DefaultGracePeriod)
		assert.Equal(t, []string{"web/Running"}, b.phases())
		assert.Equal(t, []string{"web@2"}, b.onHost())
	})
}

func TestUnwantedWorkloadIsFoundAndRemoved(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.start()
		b.publish(1, process("web", 1, "serve"))
		stray := process("stray", 9, "serve")
		err := b.runtime.Apply(b.t.Context(), domain.Workload{Name: stray.Name, Generation: 9, Score: stray.Score}, func(contracts.Reason, string) {})
		require.NoError(t, err)
		b.advance(31 * time.Second)
		assert.Equal(t, []string{"web@1"}, b.onHost())
		assert.Equal(t, []string{"web/Running"}, b.phases())
	})
}

func TestCrashIsReportedAndHealed(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.runtime.Behave("fragile", memory.Behaviour{Exits: true, ExitAfter: time.Second, ExitCode: 3})
		b.start()
		b.publish(1, process("web", 1, "serve"), process("loop", 1, "fragile"))
		require.True(t, b.runtime.Crash("web", "main", 9))
		b.advance(time.Second)
		crashed := false
		for _, report := range b.reporter.sent() {
			service := report.Deployments
			for _, d := range service {
				crashed = crashed || d.Name == "web" && d.Phase == contracts.PhasePending && len(d.Services) == 1 && d.Services[0].State == contracts.ServiceRestarting
			}
		}
		assert.True(t, crashed, "the crash was reported")
		report := b.reporter.last(t).Deployments[1]
		assert.Equal(t, contracts.PhaseRunning, report.Phase)
		assert.Equal(t, uint64(1), report.Services[0].Restarts)
		assert.Equal(t, 9, *report.Services[0].ExitCode)
		b.advance(20 * time.Second)
		assert.Equal(t, contracts.ReasonCrashLoop, b.status("loop").Reason)
		assert.Equal(t, contracts.PhaseRunning, b.status("web").Phase)
	})
}

func TestVanishedWorkloadIsStartedAgain(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.start()
		b.publish(1, process("web", 1, "serve"))
		require.NoError(t, b.runtime.Remove(b.t.Context(), "web"))
		b.advance(time.Second)
		assert.Equal(t, []string{"web@1"}, b.onHost())
		assert.Equal(t, []string{"web/Running"}, b.phases())
		b.publish(2)
		assert.Empty(t, b.onHost())
	})
}

func TestTickFindsWhatNobodyTold(t *testing.T) {
	inBubble(t, func(b *bench) {
		quiet := &quietRuntime{runtime: newRuntime(b.runtime)}
		b.runtimes = []domain.WorkloadRuntime{quiet}
		b.start()
		b.publish(1, process("web", 1, "serve"))
		require.NoError(t, b.runtime.Remove(b.t.Context(), "web"))
		b.advance(time.Second)
		assert.Empty(t, b.onHost())
		b.advance(30 * time.Second)
		assert.Equal(t, []string{"web/Running"}, b.phases())
	})
}

func TestTypeChangeRemovesFromTheOldRuntime(t *testing.T) {
	inBubble(t, func(b *bench) {
		processes, containers := newRuntime(memory.NewRuntime()), newRuntime(b.runtime)
		processes.kind, processes.name = contracts.ScoreProcessV0, "process"
		containers.kind, containers.name = contracts.ScorePodmanV0, "podman 5"
		b.runtimes = []domain.WorkloadRuntime{processes, containers}
		b.start()
		b.publish(1, process("web", 1, "serve"))
		assert.Empty(t, b.onHost())
		b.publish(2, container("web", 2, "web:2"))
		assert.Equal(t, []string{"web@2"}, b.onHost())
		assert.Equal(t, []string{"web/Running"}, b.phases())
		left, err := processes.List(b.t.Context())
		require.NoError(t, err)
		assert.Empty(t, left)

		// Also when it happened while the agent was away.
		b.end()
		b.offer(contracts.Sign(encode(t, desired(3, process("web", 3, "serve"))), b.key))
		b.start()
		assert.Empty(t, b.onHost())
		assert.Equal(t, []string{"web/Running"}, b.phases())
	})
}

func TestAgentAtRestDoesNothing(t *testing.T) {
	inBubble(t, func(b *bench) {
		store := &brokenStore{MemoryStore: agent.NewMemoryStore()}
		b.store = store
		counting := b.counting()
		b.start()
		b.publish(1, process("web", 1, "serve"), process("db", 1, "serve"))
		assert.Len(t, counting.applied("web"), 1, "what an Apply changed asks for no other")
		b.advance(time.Minute)
		reports, writes, lists, applies := len(b.reporter.sent()), store.writes.Load(), counting.listed(), len(counting.applied("web"))
		b.advance(10 * time.Minute)
		assert.Len(t, b.reporter.sent(), reports)
		assert.Equal(t, writes, store.writes.Load())
		assert.Equal(t, 20, counting.listed()-lists, "one look at each tick")
		assert.Len(t, counting.applied("web"), applies+20, "one comparison at each tick")
	})
}
