package live_test

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/cli"
	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/live"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/memory"
)

func capabilities(fleet *memory.Fleet) cli.Fleet {
	return cli.Fleet{
		Devices: fleet.Devices(), Deployments: fleet.Deployments(), Statuses: fleet.Statuses(),
		Observed: fleet.Observed(), Commands: fleet.Commands(), Events: fleet.Events(),
	}
}

func all() live.Parts {
	return live.Parts{Devices: true, State: true, Deployments: true, Statuses: true}
}

func TestWatchSeesEverything(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fleet := memory.New()
		ctx, cancel := context.WithCancel(t.Context())
		_, err := fleet.Devices().Create(ctx, domain.FleetDevice{ID: "a"})
		require.NoError(t, err)

		snapshots := make(chan [4]int)
		done := make(chan error, 1)
		go func() {
			done <- live.Watch(ctx, capabilities(fleet), all(), func(s *live.Snapshot) error {
				select {
				case snapshots <- [4]int{len(s.Devices), len(s.State.Devices()), len(s.Deployments), len(s.Statuses)}:
				case <-ctx.Done():
				}
				return nil
			})
		}()
		assert.Equal(t, [4]int{1, 0, 0, 0}, <-snapshots, "what is stored comes at once and together")

		_, err = fleet.Devices().Create(ctx, domain.FleetDevice{ID: "b"})
		require.NoError(t, err)
		fleet.Device("b").SetConnected(true)
		require.NoError(t, fleet.Device("b").Heartbeat(ctx, contracts.Heartbeat{}))
		require.NoError(t, fleet.Statuses().Put(ctx, "web", contracts.DeploymentStatus{}))
		assert.Equal(t, [4]int{2, 1, 0, 1}, <-snapshots, "changes are shown together")
		require.NoError(t, fleet.Statuses().Delete(ctx, "web"))
		assert.Equal(t, [4]int{2, 1, 0, 0}, <-snapshots)
		assert.Equal(t, [4]int{2, 1, 0, 0}, <-snapshots, "time passes")
		cancel()
		require.NoError(t, <-done)
	})
}

func TestReadFailsWithoutTheFleet(t *testing.T) {
	fleet := memory.New()
	fleet.Stop()
	_, err := live.Read(t.Context(), capabilities(fleet), all())
	require.ErrorIs(t, err, domain.ErrUnavailable)
}
