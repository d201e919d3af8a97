package operator_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/operator"
)

// TestRandomFleets does random things to a fleet, in the midst of faults and
// restarts, and then compares every document and status with what follows from
// the declarations alone.
func TestRandomFleets(t *testing.T) {
	t.Parallel()
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			inFleet(t, func(f *fleet) {
				r := &randomFleet{fleet: f, random: rand.New(rand.NewPCG(seed, 3)), generations: map[id]uint64{}} //nolint:gosec // repeatable on purpose
				f.start()
				for range 60 {
					r.step()
					f.pass(time.Duration(r.random.IntN(400)) * time.Millisecond)
					r.checkGenerations()
				}
				f.faults.set(func(f *faults) { f.publish, f.remove, f.slow = nil, nil, 0 })
				f.pass(5 * time.Minute)
				r.check()
				f.faults.took()
				f.restart()
				f.pass(time.Minute)
				assert.Empty(f.t, f.faults.took(), "a restart changes nothing")
				r.check()
			})
		})
	}
}

type randomFleet struct {
	*fleet
	random      *rand.Rand
	generations map[id]uint64
}

func (r *randomFleet) step() {
	ctx := r.t.Context()
	device := id(fmt.Sprintf("d%d", r.random.IntN(8)))
	deployment := name(fmt.Sprintf("w%d", r.random.IntN(4)))
	sites := []contracts.Labels{paris, lyon, nil}
	site := sites[r.random.IntN(len(sites))]
	switch r.random.IntN(12) {
	case 0, 1:
		_, _ = r.backend.Devices().Create(ctx, domain.FleetDevice{ID: device, Labels: site})
	case 2, 3:
		_, _ = domain.UpdateDevice(ctx, r.backend.Devices(), device, func(d *domain.FleetDevice) error { d.Labels = site; return nil })
	case 4:
		_, _ = domain.UpdateDevice(ctx, r.backend.Devices(), device, func(d *domain.FleetDevice) error { d.Revoked = !d.Revoked; return nil })
	case 5:
		if stored, err := r.backend.Devices().Get(ctx, device); err == nil {
			require.NoError(r.t, r.backend.Devices().Delete(ctx, device, stored.Revision))
		}
	case 6, 7:
		r.apply(process(deployment, site, fmt.Sprintf("run-%d", r.random.IntN(3))))
	case 8:
		if stored, err := r.backend.Deployments().Get(ctx, deployment); err == nil {
			require.NoError(r.t, r.backend.Deployments().Delete(ctx, deployment, stored.Revision))
		}
	case 9:
		if a, ok := r.devices[device]; ok {
			a.leave()
		} else {
			r.agent(device, nil)
		}
	case 10:
		r.restart()
	case 11:
		r.weather()
	}
}

// weather makes writes fail from now on, or no longer.
func (r *randomFleet) weather() {
	kinds := []error{nil, domain.ErrUnavailable, domain.ErrConflict}
	kind := kinds[r.random.IntN(len(kinds))]
	turn := r.random.Uint64()
	slow := time.Duration(r.random.IntN(3)) * 500 * time.Millisecond
	r.faults.set(func(f *faults) {
		f.publish, f.remove, f.slow = nil, nil, slow
		if kind == nil {
			return
		}
		random := rand.New(rand.NewPCG(turn, 4)) //nolint:gosec // repeatable on purpose
		f.publish = func(id) (error, bool) {
			if random.IntN(2) == 0 {
				return nil, true
			}
			return domain.Errorf(kind, "bad weather"), errors.Is(kind, domain.ErrUnavailable) && random.IntN(2) == 0
		}
		f.remove = func() error { return domain.Errorf(domain.ErrUnavailable, "bad weather") }
	})
}

// checkGenerations: a document that is there never goes back.
func (r *randomFleet) checkGenerations() {
	r.t.Helper()
	for n := range 8 {
		device := id(fmt.Sprintf("d%d", n))
		state := r.document(device)
		if state == nil {
			delete(r.generations, device) // deregistered
			continue
		}
		require.GreaterOrEqual(r.t, state.Generation, r.generations[device], "%s", device)
		r.generations[device] = state.Generation
	}
}

func (r *randomFleet) check() {
	t := r.t
	t.Helper()
	ctx := t.Context()
	deployments, err := listDeployments(ctx, r.backend.Deployments())
	require.NoError(t, err)
	devices, err := r.backend.Devices().List(ctx, contracts.LabelSelector{})
	require.NoError(t, err)
	assert.Equal(t, operator.PhaseConverged, r.operator.Status().Phase)
	assert.Zero(t, r.operator.Status().Dirty)
	assert.Equal(t, len(devices), r.operator.Status().Devices)
	assert.Equal(t, len(deployments), r.operator.Status().Deployments)

	registered, matched, running := map[id]bool{}, map[name]int{}, map[name]int{}
	for _, device := range devices {
		registered[device.ID] = true
		if device.Revoked {
			continue
		}
		want := map[name]string{}
		labels := contracts.EffectiveLabels(device.ID, device.Labels, nil)
		for _, d := range deployments {
			if !d.Spec.TargetSelector.Matches(labels) {
				continue
			}
			score, err := d.Spec.Score.ProcessV0()
			require.NoError(t, err)
			want[d.Name] = score.Services[0].Command[0]
			matched[d.Name]++
			if _, ok := r.devices[device.ID]; ok {
				running[d.Name]++
			}
		}
		require.Equal(t, want, r.runs(device.ID), "%s", device.ID)
	}
	for n := range 8 {
		if device := id(fmt.Sprintf("d%d", n)); !registered[device] {
			require.Nil(t, r.document(device), "%s is not registered", device)
		}
	}
	for n := range 4 {
		deployment := name(fmt.Sprintf("w%d", n))
		status := r.status(deployment)
		if _, ok := deployments[deployment]; !ok {
			require.Nil(t, status, "%s is deleted", deployment)
			continue
		}
		require.NotNil(t, status, "%s", deployment)
		require.Equal(t, deployments[deployment].Generation, status.ObservedGeneration)
		require.Equal(t, matched[deployment], status.Matched, "%s", deployment)
		require.GreaterOrEqual(t, status.Running, running[deployment], "%s", deployment)
		require.Equal(t, running[deployment], status.Matched-status.Offline, "%s", deployment)
	}
}

func listDeployments(ctx context.Context, store domain.DeploymentStore) (map[name]domain.FleetDeployment, error) {
	all, err := domain.ListDeployments(ctx, store)
	deployments := map[name]domain.FleetDeployment{}
	for _, d := range all {
		deployments[d.Name] = d
	}
	return deployments, err
}
