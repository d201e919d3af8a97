package agent_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain/memory"
)

// TestClockThatIsSetBetweenTwoRuns starts the agent again with a clock that
// jumped by years, which it can tell only by the times that it saved. While it
// runs, it measures by the clock that never jumps.
func TestClockThatIsSetBetweenTwoRuns(t *testing.T) {
	t.Parallel()
	const years = 30 * 365 * 24 * time.Hour
	for name, jump := range map[string]time.Duration{"forward": years, "back": -years, "back a little": -time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(b *bench) {
				b.runtime.Behave("broken", memory.Behaviour{Fail: contracts.ReasonStartFailed})
				b.runtime.Behave("fragile", memory.Behaviour{Exits: true, ExitAfter: time.Second, ExitCode: 3})
				b.start()
				b.publish(1, process("bad", 1, "broken"), process("loop", 1, "fragile"), process("web", 1, "serve"))
				b.advance(time.Minute)
				before := b.reporter.last(t)
				b.end()

				saved, err := b.store.LoadReport()
				require.NoError(t, err)
				for i := range saved.Deployments {
					saved.Deployments[i].Since = saved.Deployments[i].Since.Add(-jump)
				}
				require.NoError(t, b.store.SaveReport(saved))
				counting := b.counting()
				b.start()
				again := time.Now()
				b.advance(10 * time.Minute)

				tries := counting.applied("bad")
				for i := range 8 {
					assert.Equal(t, time.Second<<i, tries[i+1].Sub(tries[i]), "try %d", i+1)
				}
				after := b.reporter.last(t)
				assert.Greater(t, after.Sequence, before.Sequence)
				require.Len(t, after.Deployments, 3)
				for i, d := range after.Deployments {
					assert.Equal(t, before.Deployments[i].Phase, d.Phase, d.Name)
					assert.Equal(t, before.Deployments[i].Reason, d.Reason, d.Name)
					assert.False(t, d.Since.After(time.Now()), "%s is so since a time to come: %s", d.Name, d.Since)
				}
				web := after.Deployments[2]
				assert.Equal(t, before.Deployments[2].Services, web.Services, "what runs is left alone")
				if jump > 0 {
					assert.Equal(t, saved.Deployments[2].Since, web.Since)
				} else if jump == -years {
					assert.WithinDuration(t, again, web.Since, 2*time.Second)
				}

				sent := len(b.reporter.sent())
				require.True(t, b.runtime.Crash("web", "main", 9))
				b.advance(10 * time.Second)
				assert.Equal(t, contracts.PhaseRunning, b.status("web").Phase, "it is healed as ever")
				assert.Greater(t, len(b.reporter.sent()), sent)
			})
		})
	}
}
