package agent_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain/agent"
)

// TestWorkloadsAreReportedWithoutATrustedDesiredState loses the desired state
// under a running workload: it goes on, and people still see it.
func TestWorkloadsAreReportedWithoutATrustedDesiredState(t *testing.T) {
	t.Parallel()
	inBubble(t, func(b *bench) {
		b.start()
		b.publish(1, process("web", 7, "run"))
		b.advance(time.Minute)
		b.end()
		b.stop = nil
		b.store = agent.NewMemoryStore()
		b.key = keyOf("another fleet") // what the broker has is not trusted any more
		b.start()
		b.advance(time.Minute)

		running, err := b.runtime.List(t.Context())
		require.NoError(t, err)
		require.Len(t, running, 1)
		reported := b.reporter.last(t).Deployments
		require.Len(t, reported, 1)
		require.Equal(t, contracts.DeploymentName("web"), reported[0].Name)
		require.Equal(t, uint64(7), reported[0].Generation)
		require.Equal(t, contracts.PhaseRunning, reported[0].Phase)
	})
}
