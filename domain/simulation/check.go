package simulation

import (
	"context"
	"errors"
	"fmt"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/operator"
)

// check compares what every device runs, and what every status says, with what
// the stores declare.
func (w *World) check(ctx context.Context) error {
	registered, err := w.backend.Devices().List(ctx, contracts.LabelSelector{})
	if err != nil {
		return err
	}
	deployments, err := domain.ListDeployments(ctx, w.backend.Deployments())
	if err != nil {
		return err
	}
	var problems []error
	matched := map[contracts.DeploymentName]int{}
	for _, device := range registered {
		want := map[contracts.DeploymentName]uint64{}
		labels := contracts.EffectiveLabels(device.ID, device.Labels, nil)
		for _, deployment := range deployments {
			if deployment.Spec.TargetSelector.Matches(labels) {
				want[deployment.Name] = deployment.Generation
				matched[deployment.Name]++
			}
		}
		problems = append(problems, checkDevice(ctx, w.devices[device.ID], want))
	}
	for _, deployment := range deployments {
		status, err := w.backend.Statuses().Get(ctx, deployment.Name)
		if err != nil {
			problems = append(problems, fmt.Errorf("deployment %s has no status: %w", deployment.Name, err))
			continue
		}
		n := matched[deployment.Name]
		if status.ObservedGeneration != deployment.Generation || status.Matched != n || status.Updated != n || status.Running != n || status.Offline != 0 {
			problems = append(problems, fmt.Errorf("deployment %s generation %d runs on %d devices, its status says %+v", deployment.Name, deployment.Generation, n, status))
		}
	}
	problems = append(problems, w.checkNoLeftovers(ctx, deployments))
	if phase := w.operator.Status().Phase; phase != operator.PhaseConverged {
		problems = append(problems, fmt.Errorf("the operator is %s", phase))
	}
	return errors.Join(problems...)
}

func checkDevice(ctx context.Context, d *device, want map[contracts.DeploymentName]uint64) error {
	running, err := d.runtime.List(ctx)
	if err != nil {
		return fmt.Errorf("device %s: %w", d.id, err)
	}
	for _, workload := range running {
		generation, ok := want[workload.Name]
		if !ok {
			return fmt.Errorf("device %s still runs %s", d.id, workload.Name)
		}
		if workload.Generation != generation {
			return fmt.Errorf("device %s runs %s generation %d, wanted is %d", d.id, workload.Name, workload.Generation, generation)
		}
		if phase, reason := workload.Assess(); phase != contracts.PhaseRunning {
			return fmt.Errorf("device %s: %s is %s (%s)", d.id, workload.Name, phase, reason)
		}
		delete(want, workload.Name)
	}
	if len(want) > 0 {
		return fmt.Errorf("device %s does not run %v", d.id, want)
	}
	return nil
}

// checkNoLeftovers looks for statuses of deployments that are gone.
func (w *World) checkNoLeftovers(ctx context.Context, deployments []domain.FleetDeployment) error {
	known := map[contracts.DeploymentName]bool{}
	for _, deployment := range deployments {
		known[deployment.Name] = true
	}
	for i := range mostDeployments {
		name := contracts.DeploymentName(fmt.Sprintf("app%d", i))
		status, err := w.backend.Statuses().Get(ctx, name)
		if !known[name] && !errors.Is(err, domain.ErrNotFound) {
			return errors.Join(fmt.Errorf("the deleted deployment %s still has a status: %+v", name, status), err)
		}
	}
	return nil
}
