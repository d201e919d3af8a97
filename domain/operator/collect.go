package operator

import (
	"context"
	"errors"
	"log/slog"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// collect removes what is kept for a device that is no longer registered. What
// it said goes first: if the operator dies in between, the stored document
// still tells its successor that there is something to collect.
func (e *engine) collect(ctx context.Context, d *device) {
	if d.registered || d.busy {
		return
	}
	d.busy = true
	e.collecting++
	id, revision, inDoubt := d.id, d.stored.revision, d.inDoubt
	e.chores.start(ctx, e, func(ctx context.Context) func(context.Context) {
		err := e.removeDevice(ctx, id, revision, inDoubt)
		return func(ctx context.Context) { e.collected(ctx, d, err) }
	})
}

// removeDevice runs in a worker. In doubt, a document may be stored even when
// no revision is known.
func (e *engine) removeDevice(ctx context.Context, id contracts.DeviceID, revision domain.Revision, inDoubt bool) error {
	if err := e.operator.capabilities.Observed.Forget(ctx, id); err != nil {
		return err
	}
	if revision == 0 && !inDoubt {
		return nil
	}
	desired := e.operator.capabilities.Desired
	if !inDoubt {
		err := desired.Remove(ctx, id, revision)
		if !errors.Is(err, domain.ErrConflict) {
			return err
		}
	}
	stored, err := desired.Get(ctx, id)
	if errors.Is(err, domain.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return desired.Remove(ctx, id, stored.Revision)
}

func (e *engine) collected(ctx context.Context, d *device, err error) {
	d.busy = false
	e.collecting--
	if d.registered {
		// It came back meanwhile: it needs a document again, whose generation goes
		// on from where it was, and is asked for what was forgotten.
		d.dirty = true
		e.forgetObserved(d)
		d.stored = record{revision: d.stored.revision, generation: d.stored.generation}
		if err == nil {
			d.stored.revision = 0
		}
		e.reconsider(d)
		e.release(ctx, d)
		return
	}
	if err != nil {
		e.log.Warn("removing what is kept for an unregistered device failed; it is tried again",
			slog.String("device", string(d.id)), slog.Any("error", err))
		e.orphans = append(e.orphans, d)
		return
	}
	e.forgetObserved(d)
	d.stored, d.inDoubt, d.repairedAt = record{}, false, 0
	e.drop(d)
}

// retryOrphans tries again to remove what could not be removed.
func (e *engine) retryOrphans(ctx context.Context) {
	orphans := e.orphans
	e.orphans = nil
	for _, d := range orphans {
		e.collect(ctx, d)
	}
}
