package operator

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// Every registered device that is not revoked has a document, an empty one too
// when nothing is assigned to it: the document also carries the heartbeat
// interval and the wished agent version, and a device that never had one could
// not be told from one whose document was lost.

// markDirty has a device's document composed again. It is stored only when it
// changed.
func (e *engine) markDirty(d *device) {
	if d.dirty || e.recovering || !d.eligible() {
		return
	}
	d.dirty = true
	if !d.busy {
		e.queue(d)
	}
}

func (e *engine) queue(d *device) {
	if e.dirty.len() == 0 {
		e.dirtySince = e.now
	}
	e.dirty.push(d)
	e.wakeAt(later(e.now.Add(e.options.SettleDelay), e.publishAfter))
}

// dispatch gives dirty devices to idle workers.
func (e *engine) dispatch(ctx context.Context) {
	if e.publishAfter.After(e.now) {
		e.wakeAt(e.publishAfter)
		return
	}
	for e.publishers.idle() > 0 && e.dirty.len() > 0 {
		// All workers get something, so that all processors work.
		size := min(max(e.dirty.len()/e.options.Publishers, minBatch), e.options.BatchSize)
		tasks := make([]task, 0, min(size, e.dirty.len()))
		for len(tasks) < size && e.dirty.len() > 0 {
			d := e.dirty.pop()
			d.dirty = false
			if d.eligible() {
				d.busy = true
				e.busy++
				tasks = append(tasks, d.task())
			}
		}
		if len(tasks) == 0 {
			return
		}
		worker := publisher{composer: e.operator.composer, store: e.operator.capabilities.Desired}
		e.publishers.start(ctx, e, func(ctx context.Context) func(context.Context) {
			outcomes := worker.do(ctx, tasks)
			return func(ctx context.Context) { e.published(ctx, outcomes) }
		})
	}
}

// minBatch is the size below which sharing a batch among workers is in vain.
const minBatch = 100

// task copies what a worker needs.
func (d *device) task() task {
	t := task{
		device:    d,
		id:        d.id,
		stored:    d.stored,
		inDoubt:   d.inDoubt,
		applied:   d.applied(),
		conflicts: d.conflicts(),
		workloads: d.workloads,
	}
	peoples, reported := d.labels, d.reportedLabels
	t.labels = func() contracts.Labels {
		return contracts.EffectiveLabels(t.id, peoples.labels(), reported.labels())
	}
	for i := range d.memberships {
		if m := &d.memberships[i]; m.assigned != 0 {
			t.assigned = append(t.assigned, assigned{spec: m.deployment.spec, generation: m.assigned})
		}
	}
	return t
}

// Bounds of the pause after the store did not answer.
const (
	leastPublishPause = 100 * time.Millisecond
	mostPublishPause  = 10 * time.Second
)

// published takes the outcomes of a batch in.
func (e *engine) published(ctx context.Context, outcomes []outcome) {
	var unanswered error
	for i := range outcomes {
		o := &outcomes[i]
		d := o.device
		d.busy = false
		e.busy--
		d.stored, d.inDoubt = o.stored, o.inDoubt
		switch {
		case o.err == nil:
			e.setBlocked(d, "")
			e.countPublished(o)
		case errors.Is(o.err, domain.ErrInvalid):
			e.status.PublishErrors++
			e.setBlocked(d, contracts.Clip(o.err.Error(), maxFailure))
		default:
			e.status.PublishErrors++
			if !errors.Is(o.err, domain.ErrConflict) {
				unanswered = o.err
			}
			d.dirty = true
		}
		e.setFailures(d, o)
		e.checkLeaving(d)
		e.release(ctx, d)
	}
	if unanswered == nil {
		e.publishPause = 0
		return
	}
	if e.publishAfter.After(e.now) {
		return // another batch of the same time failed before
	}
	e.publishPause = min(max(2*e.publishPause, leastPublishPause), mostPublishPause)
	e.publishAfter = e.now.Add(e.publishPause)
	e.wakeAt(e.publishAfter)
	e.log.Warn("desired state could not be stored; it is tried again",
		slog.Any("error", unanswered), slog.Duration("pause", e.publishPause))
}

func (e *engine) countPublished(o *outcome) {
	if o.published == 0 {
		return
	}
	e.status.Published++
	e.status.PublishedBytes += uint64(o.published) //nolint:gosec // a length
	if o.lost {
		o.device.repairedAt = e.now.UnixNano()
		e.emit(contracts.Event{
			Kind: contracts.EventDesiredStateLost, Device: o.device.id, Actor: actorOperator,
			Message: "the store did not have the desired state that the device has; it was published again with a higher generation",
		})
	}
}

// release makes a device available again that a worker was at.
func (e *engine) release(ctx context.Context, d *device) {
	switch {
	case !d.registered:
		d.dirty = false
		e.collect(ctx, d)
	case d.dirty && d.eligible():
		e.queue(d)
	default:
		d.dirty = false
	}
}

func (e *engine) setBlocked(d *device, why string) {
	if d.blocked == why {
		return
	}
	if d.blocked == "" {
		e.status.Blocked++
		e.log.Warn("a device cannot be given its desired state",
			slog.String("device", string(d.id)), slog.String("reason", why))
	}
	if why == "" {
		e.status.Blocked--
	}
	d.blocked = why
	for i := range d.memberships {
		e.markStatus(d.memberships[i].deployment)
	}
}

// setFailures notes which deployments the device could not be given.
func (e *engine) setFailures(d *device, o *outcome) {
	if o.err != nil && !errors.Is(o.err, domain.ErrInvalid) {
		return // nothing is known
	}
	for i := range d.memberships {
		m := &d.memberships[i]
		message := ""
		for _, f := range o.failures {
			if f.name == m.deployment.handle {
				message = f.message
			}
		}
		if m.failure != message {
			m.failure = message
			e.markStatus(m.deployment)
		}
	}
}

// repairInterval is the least time between two documents published because
// one device says that it is ahead: a hostile one must not keep the store busy.
const repairInterval = 10 * time.Second

// checkAhead publishes a document again when the device has a later one than
// the store, or another one of the same generation, because it would refuse
// what is stored.
func (e *engine) checkAhead(d *device) {
	if d.busy || d.dirty || (d.applied() <= d.stored.generation && !d.conflicts()) || d.blocked != "" {
		return
	}
	if e.now.UnixNano()-d.repairedAt >= int64(repairInterval) {
		e.markDirty(d)
	}
}
