package operator

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain/rollout"
)

// beginRemoval finds who still has a deleted deployment.
func (e *engine) beginRemoval(deployment *deployment, generation uint64) {
	deployment.holders = map[*device]struct{}{}
	deployment.status.current.ObservedGeneration = generation
	e.leaving[deployment] = struct{}{}
	for _, d := range e.devices {
		if d.holds(deployment) {
			deployment.holders[d] = struct{}{}
		}
	}
	e.markMembers(deployment)
}

// holds reports whether a device has a deployment, by its own word or by its
// stored desired state.
func (d *device) holds(deployment *deployment) bool {
	return d.eligible() && (d.workload(deployment.handle) != nil || d.stored.generationOf(deployment.handle) != 0)
}

// checkLeaving looks whether a device still has the deleted deployments. It is
// called when what it reports or what is stored for it changed.
func (e *engine) checkLeaving(d *device) {
	for deployment := range e.leaving {
		_, held := deployment.holders[d]
		holds := d.holds(deployment)
		switch {
		case holds && !held:
			deployment.holders[d] = struct{}{}
		case !holds && held:
			delete(deployment.holders, d)
		}
		if holds || held {
			e.markStatus(deployment)
		}
	}
}

// planRemoval says how far a removal is, and ends it when it is done.
func (e *engine) planRemoval(ctx context.Context, deployment *deployment) {
	devices := make([]rollout.Device, 0, len(deployment.holders))
	for d := range deployment.holders {
		view := e.view(d, deployment)
		view.Assigned = d.stored.generationOf(deployment.handle)
		devices = append(devices, view)
	}
	status, done := rollout.Removal(deployment.status.current.ObservedGeneration, devices)
	if !done {
		e.newStatus(deployment, status)
		return
	}
	if !deployment.status.writing {
		e.endRemoval(ctx, deployment)
	}
}

// endRemoval deletes the status of a deployment that is gone. Devices that are
// offline remove it when they connect: their desired state is without it.
func (e *engine) endRemoval(ctx context.Context, deployment *deployment) {
	name, offline := deployment.name, len(deployment.holders)
	deployment.status.writing = true
	e.chores.start(ctx, e, func(ctx context.Context) func(context.Context) {
		err := e.operator.capabilities.Statuses.Delete(ctx, name)
		return func(context.Context) {
			deployment.status.writing = false
			switch {
			case err != nil:
				e.log.Warn("deleting the status of a removed deployment failed; it is tried again",
					slog.String("deployment", string(name)), slog.Any("error", err))
				e.planNotBefore(deployment, e.now.Add(retryDelay))
			case !deployment.removing():
				deployment.status.forget() // it was declared again meanwhile
				e.markMembers(deployment)
			default:
				delete(e.leaving, deployment)
				delete(e.deployments, name)
				delete(e.attention, deployment)
				message := ""
				if offline > 0 {
					message = fmt.Sprintf("%d devices are offline and remove it when they connect", offline)
				}
				e.emit(contracts.Event{Kind: contracts.EventDeploymentRemoved, Deployment: name, Message: message})
			}
		}
	})
}

// retryDelay is the pause before a small task is tried again.
const retryDelay = 2 * time.Second
