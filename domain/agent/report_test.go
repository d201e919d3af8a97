package agent_test

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/agent"
	"github.com/nationtech/harmony-fleet/domain/memory"
)

func TestReportsAreSentOnChangeAlone(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.start()
		b.publish(1, process("web", 1, "serve"))
		sent := len(b.reporter.sent())
		b.advance(time.Hour)
		assert.Len(t, b.reporter.sent(), sent)
		require.True(t, b.runtime.Crash("web", "main", 1))
		b.advance(time.Minute)
		assert.Greater(t, len(b.reporter.sent()), sent)
	})
}

func TestReportsAreCoalesced(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.start()
		many := []contracts.DesiredDeployment{}
		for i := range 50 {
			many = append(many, process(fmt.Sprintf("a%02d", i), 1, "serve"))
		}
		before := len(b.reporter.sent())
		b.publish(1, many...)
		assert.LessOrEqual(t, len(b.reporter.sent())-before, 4)
		assert.Len(t, b.phases(), 50)
		assert.NotContains(t, b.phases(), "a00/Pending/Starting")
		at := b.reporter.heard().at
		for i := 1; i < len(at); i++ {
			assert.GreaterOrEqual(t, at[i].Sub(at[i-1]), 250*time.Millisecond)
		}
	})
}

func TestEveryConnectionGetsInfoAndReport(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.options.Info = func() contracts.DeviceInfo {
			return contracts.DeviceInfo{Labels: contracts.Labels{"arch": "arm64"}, BootID: "b1"}
		}
		b.link.SetConnected(false)
		b.start()
		assert.Empty(t, b.reporter.sent())
		for n := 1; n <= 3; n++ {
			b.link.SetConnected(true)
			b.advance(time.Second)
			assert.Len(t, b.reporter.sent(), n)
			assert.Len(t, b.reporter.heard().infos, n)
			b.link.SetConnected(false)
			b.advance(time.Minute)
		}
		info := b.reporter.heard().infos[0]
		assert.Equal(t, "v1.2.3", info.AgentVersion)
		assert.Equal(t, []string{"memory"}, info.Inventory.Runtimes)
		assert.Equal(t, "arm64", info.Labels["arch"])
		assert.False(t, info.StartedAt.IsZero())
	})
}

func TestInfoIsSentWhenItChanges(t *testing.T) {
	inBubble(t, func(b *bench) {
		var site atomic.Pointer[string]
		site.Store(new("paris"))
		b.options.Info = func() contracts.DeviceInfo {
			return contracts.DeviceInfo{Labels: contracts.Labels{"site": *site.Load()}}
		}
		b.start()
		b.advance(time.Hour)
		assert.Len(t, b.reporter.heard().infos, 1)
		site.Store(new("lyon"))
		b.advance(6 * time.Minute)
		assert.Len(t, b.reporter.heard().infos, 2)
	})
}

func TestChangesWithoutConnectionAreReportedLater(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.start()
		b.publish(1, process("web", 1, "serve"))
		b.link.SetConnected(false)
		b.runtime.Behave("serve", memory.Behaviour{Fail: contracts.ReasonStartFailed})
		require.NoError(t, b.runtime.Remove(b.t.Context(), "web"))
		b.advance(time.Second)
		failedAt := time.Now()
		b.advance(time.Hour)
		assert.Equal(t, []string{"web/Running"}, b.phases())
		b.link.SetConnected(true)
		b.advance(time.Second)
		assert.Equal(t, []string{"web/Failed/StartFailed"}, b.phases())
		assert.WithinDuration(t, failedAt, b.reporter.last(t).Deployments[0].Since, 2*time.Second)
	})
}

func TestSequenceNeverRepeats(t *testing.T) {
	inBubble(t, func(b *bench) {
		store := &brokenStore{MemoryStore: agent.NewMemoryStore()}
		b.store = store
		last := uint64(0)
		for life := range 5 {
			b.start()
			b.publish(uint64(life+1), process("web", uint64(life+1), "serve"))
			// What comes in the last seconds is not on disk when the power is cut.
			store.broken.Store(life%2 == 1)
			require.True(t, b.runtime.Crash("web", "main", 1))
			b.advance(2 * time.Second)
			b.end()
			store.broken.Store(false)
		}
		for _, report := range b.reporter.sent() {
			assert.Greater(t, report.Sequence, last)
			last = report.Sequence
		}
	})
}

func TestSequenceIsReservedOnDiskBeforeTheFirstReport(t *testing.T) {
	inBubble(t, func(b *bench) {
		spy := &spyingReporter{ObservedStateReporter: b.reporter.ObservedStateReporter, store: b.store}
		b.reporter.ObservedStateReporter = spy
		b.start()
		b.publish(1, process("web", 1, "serve"))
		require.NotEmpty(t, spy.ahead)
		for _, ahead := range spy.ahead {
			assert.Less(t, ahead, uint64(1000), "a restart leaves a gap of 1,000 after what is on disk")
		}
	})
}

func TestCrashingServiceDoesNotWearOutTheDisk(t *testing.T) {
	inBubble(t, func(b *bench) {
		store := &brokenStore{MemoryStore: agent.NewMemoryStore()}
		b.store = store
		b.start()
		b.publish(1, process("web", 1, "serve"))
		before, sent := store.writes.Load(), len(b.reporter.sent())
		for range 60 {
			b.runtime.Crash("web", "main", 1)
			b.advance(time.Second)
		}
		assert.Greater(t, len(b.reporter.sent()), sent+10)
		assert.LessOrEqual(t, store.writes.Load()-before, int32(7))
	})
}

func TestReportThatCouldNotBeSentIsSentAgain(t *testing.T) {
	inBubble(t, func(b *bench) {
		deaf := &deafReporter{ObservedStateReporter: b.link}
		deaf.deaf.Store(true)
		b.reporter.ObservedStateReporter = deaf
		b.start()
		b.publish(1, process("web", 1, "serve"))
		assert.Empty(t, b.reporter.sent())
		deaf.deaf.Store(false)
		b.advance(6 * time.Second)
		assert.Equal(t, []string{"web/Running"}, b.phases())
	})
}

func TestRuntimeThatBreaksTheRulesDoesNotSilenceTheDevice(t *testing.T) {
	inBubble(t, func(b *bench) {
		odd := &oddRuntime{runtime: newRuntime(b.runtime)}
		b.runtimes = []domain.WorkloadRuntime{odd}
		b.start()
		b.publish(1, process("web", 1, "serve"))
		assert.Equal(t, []string{"web/Running"}, b.phases())
		assert.Empty(t, b.reporter.last(t).Deployments[0].Services)
	})
}

func TestHeartbeats(t *testing.T) {
	inBubble(t, func(b *bench) {
		var tenths atomic.Int32
		b.options.Jitter = func() float64 { return float64(tenths.Load()) / 10 }
		b.start()
		require.Len(t, b.reporter.heard().beats, 1, "the first comes right after connecting")
		assert.Equal(t, uint64(1), b.reporter.heard().beats[0].Sequence)
		assert.Zero(t, b.reporter.heard().beats[0].AppliedGeneration)
		b.publish(5, process("web", 1, "serve"))
		b.advance(time.Hour)
		beats, at := b.reporter.heard().beats, b.reporter.heard().beatsAt
		last := beats[len(beats)-1]
		assert.Equal(t, uint64(5), last.AppliedGeneration)
		assert.Equal(t, b.reporter.last(t).Sequence, last.ReportSequence)
		assert.Equal(t, "v1.2.3", last.AgentVersion)
		assert.Equal(t, uint64(len(beats)), last.Sequence)
		assert.Equal(t, 27*time.Second, at[len(at)-1].Sub(at[len(at)-2]))
		tenths.Store(5)
		b.advance(time.Minute)
		at = b.reporter.heard().beatsAt
		assert.Equal(t, 30*time.Second, at[len(at)-1].Sub(at[len(at)-2]))
	})
}

func TestHeartbeatIntervalIsTheOperatorsWish(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.start()
		state := desired(1)
		state.HeartbeatInterval = contracts.Duration(time.Second)
		b.offer(contracts.Sign(encode(t, state), b.key))
		before := len(b.reporter.heard().beats)
		b.advance(10 * time.Second)
		assert.InDelta(t, 11, len(b.reporter.heard().beats)-before, 1)
		b.link.SetConnected(false)
		before = len(b.reporter.heard().beats)
		b.advance(time.Hour)
		assert.Len(t, b.reporter.heard().beats, before)
		b.link.SetConnected(true)
		b.advance(time.Millisecond)
		assert.Len(t, b.reporter.heard().beats, before+1)
	})
}

func TestReportHoldsWhatIsWantedFirst(t *testing.T) {
	inBubble(t, func(b *bench) {
		b.runtime.Behave("stubborn", memory.Behaviour{IgnoresStop: true})
		b.start()
		set := func(prefix, program string) []contracts.DesiredDeployment {
			all := []contracts.DesiredDeployment{}
			for i := range 200 {
				all = append(all, process(fmt.Sprintf("%s%03d", prefix, i), 1, program))
			}
			return all
		}
		b.publish(1, set("a", "stubborn")...)
		assert.Len(t, b.phases(), 200)
		b.publish(2, set("b", "serve")...)
		b.advance(5 * time.Minute)
		assert.Len(t, b.phases(), 200)
		for _, report := range b.reporter.sent() {
			require.NoError(t, report.Validate())
			if report.AppliedGeneration == 2 {
				_, found := slices.BinarySearchFunc(report.Deployments, "b199", func(d contracts.DeploymentReport, n contracts.DeploymentName) int {
					return strings.Compare(string(d.Name), string(n))
				})
				assert.True(t, found)
			}
		}
	})
}

func TestReportThatIsTooLargeLeavesOutTheServices(t *testing.T) {
	inBubble(t, func(b *bench) {
		wide := &wideRuntime{runtime: newRuntime(b.runtime)}
		b.runtimes = []domain.WorkloadRuntime{wide}
		b.start()
		all := []contracts.DesiredDeployment{}
		for i := range 100 {
			all = append(all, process(fmt.Sprintf("a%03d", i), 1, "serve"))
		}
		b.publish(1, all...)
		b.advance(time.Minute)
		report := b.reporter.last(t)
		_, err := contracts.Encode(report)
		require.NoError(t, err)
		assert.Len(t, report.Deployments, 100)
		assert.Equal(t, contracts.PhaseRunning, report.Deployments[99].Phase)
		assert.Empty(t, report.Deployments[99].Services)
	})
}
