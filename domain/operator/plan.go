package operator

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain/rollout"
)

// planShare bounds the time spent on planning one deployment: after a plan
// that took t, the next is made no earlier than planShare times t later.
const planShare = 20

// markMembers asks for a new plan of a deployment because its spec or its
// members changed. Documents are composed after it.
func (e *engine) markMembers(deployment *deployment) {
	deployment.reassign = true
	e.planNotBefore(deployment, e.now.Add(e.options.SettleDelay))
}

// markStatus asks for a new plan because a member is not what it was.
func (e *engine) markStatus(deployment *deployment) {
	at := deployment.plannedAt.Add(e.options.StatusInterval)
	e.planNotBefore(deployment, later(at, e.now.Add(e.options.SettleDelay)))
}

func (e *engine) planNotBefore(deployment *deployment, at time.Time) {
	if e.recovering {
		return
	}
	at = later(at, deployment.plannedAt.Add(planShare*deployment.cost))
	if !deployment.planAt.IsZero() && !at.Before(deployment.planAt) {
		return
	}
	deployment.planAt = at
	e.attend(deployment, at)
}

// attend looks at a deployment again at the given time.
func (e *engine) attend(deployment *deployment, at time.Time) {
	e.attention[deployment] = struct{}{}
	e.wakeAt(at)
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// planDue makes the plans whose time has come, and writes the statuses whose
// time has come. It reports whether a plan that may reassign is still to be
// made: documents wait for it.
func (e *engine) planDue(ctx context.Context) (waiting bool) {
	due := slices.SortedFunc(maps.Keys(e.attention), func(a, b *deployment) int { return cmp.Compare(a.name, b.name) })
	for _, deployment := range due {
		if !deployment.planAt.IsZero() && !deployment.planAt.After(e.now) {
			e.plan(ctx, deployment)
		}
		e.writeStatus(ctx, deployment)
		switch {
		case !deployment.planAt.IsZero():
			e.wakeAt(deployment.planAt)
			waiting = waiting || deployment.reassign
		case !deployment.status.unsaved:
			delete(e.attention, deployment)
		}
	}
	return waiting
}

func (e *engine) plan(ctx context.Context, deployment *deployment) {
	started := time.Now()
	deployment.planAt, deployment.reassign = time.Time{}, false
	if deployment.removing() {
		e.planRemoval(ctx, deployment)
	} else {
		e.planRollout(deployment)
	}
	deployment.plannedAt = e.now
	deployment.cost = time.Since(started)
}

func (e *engine) planRollout(deployment *deployment) {
	in := rollout.Input{
		Now:        e.now,
		Generation: deployment.spec.generation,
		Rollout:    deployment.rollout,
		Devices:    make([]rollout.Device, 0, len(deployment.members)),
	}
	for _, d := range deployment.members {
		in.Devices = append(in.Devices, e.view(d, deployment))
	}
	decision := rollout.Plan(in)
	for i, d := range deployment.members {
		m := d.membership(deployment)
		if m.assigned != decision.Assign[i] {
			m.assigned, m.since, m.failure = decision.Assign[i], e.now.UnixNano(), ""
			e.markDirty(d)
		}
	}
	e.newStatus(deployment, decision.Status)
	if decision.Complete && decision.Status.Matched > 0 && deployment.completed != deployment.spec.generation {
		deployment.completed = deployment.spec.generation
		e.emit(contracts.Event{
			Kind: contracts.EventRolloutComplete, Deployment: deployment.name,
			Message: fmt.Sprintf("generation %d runs on %d of %d devices, %d offline",
				deployment.spec.generation, decision.Status.Running, decision.Status.Matched, decision.Status.Offline),
		})
	}
}

// view is what the planner sees of a device.
func (e *engine) view(d *device, deployment *deployment) rollout.Device {
	view := rollout.Device{ID: d.id, Online: d.countsAsOnline()}
	if m := d.membership(deployment); m != nil {
		view.Assigned, view.AssignedAt = m.assigned, time.Unix(0, m.since)
		view.Failure = m.failure
		if d.blocked != "" && d.stored.generationOf(deployment.handle) != m.assigned {
			view.Failure = d.blocked
		}
	}
	if w := d.workload(deployment.handle); w != nil {
		h := w.health.Value()
		view.Reported, view.Phase, view.Reason, view.Message = w.generation, h.phase, h.reason, h.message
		view.Since = time.Unix(0, w.since)
	}
	if refusal, ok := d.refusal(); ok {
		view.Refusal = string(refusal.Reason) + ": " + refusal.Message
	}
	return view
}
