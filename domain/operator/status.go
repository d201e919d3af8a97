package operator

import (
	"bytes"
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// statusWriter brings one deployment's status to the store, seldom and only
// when it changed.
type statusWriter struct {
	// current is the status as it should be, without UpdatedAt.
	current contracts.DeploymentStatus
	// written is what the store has, encoded without UpdatedAt; nil for nothing
	// or unknown.
	written []byte
	// unsaved: current is not what is written.
	unsaved bool
	// writing: a worker is at it.
	writing bool
	// notBefore is the earliest time of the next write.
	notBefore time.Time
}

// adopt takes over what the store has.
func (w *statusWriter) adopt(stored contracts.DeploymentStatus) {
	stored.UpdatedAt = time.Time{}
	w.current = stored
	w.written, _ = contracts.Encode(stored)
}

// forget makes the next status be written whatever it is.
func (w *statusWriter) forget() { w.written = nil }

// newStatus sets what a deployment's status should be.
func (e *engine) newStatus(deployment *deployment, status contracts.DeploymentStatus) {
	w := &deployment.status
	for i := range status.Conditions {
		condition := &status.Conditions[i]
		condition.LastTransitionTime = e.now.UTC()
		old := w.current.Condition(condition.Type)
		if old.Status == condition.Status && !old.LastTransitionTime.IsZero() {
			condition.LastTransitionTime = old.LastTransitionTime
		}
	}
	w.current = status
	e.compareStatus(deployment)
}

// compareStatus finds out whether the status has to be written.
func (e *engine) compareStatus(deployment *deployment) {
	w := &deployment.status
	encoded, err := contracts.Encode(w.current)
	if err != nil {
		e.log.Error("the status of a deployment cannot be encoded",
			slog.String("deployment", string(deployment.name)), slog.Any("error", err))
		return
	}
	w.unsaved = !bytes.Equal(encoded, w.written)
	if w.unsaved {
		e.attend(deployment, later(w.notBefore, e.now))
	}
}

// writeStatus starts to write an unsaved status when its time has come.
func (e *engine) writeStatus(ctx context.Context, deployment *deployment) {
	w := &deployment.status
	if !w.unsaved || w.writing {
		return
	}
	if w.notBefore.After(e.now) {
		e.wakeAt(w.notBefore)
		return
	}
	status := w.current
	encoded, err := contracts.Encode(status)
	if err != nil {
		return // logged by compareStatus
	}
	status.UpdatedAt = e.now.UTC()
	status.Conditions, status.Problems = slices.Clone(status.Conditions), slices.Clone(status.Problems)
	name := deployment.name
	w.writing, w.unsaved = true, false
	w.notBefore = e.now.Add(e.options.StatusInterval)
	e.chores.start(ctx, e, func(ctx context.Context) func(context.Context) {
		err := e.operator.capabilities.Statuses.Put(ctx, name, status)
		return func(context.Context) {
			w.writing = false
			if err != nil {
				e.log.Warn("writing the status of a deployment failed; it is tried again",
					slog.String("deployment", string(name)), slog.Any("error", err))
				w.forget()
				w.notBefore = e.now.Add(retryDelay)
			} else {
				w.written = encoded
			}
			e.compareStatus(deployment)
			if deployment.removing() {
				e.markStatus(deployment) // its end waited for this write
			}
		}
	})
}

// loadStatuses reads what an earlier operator left.
func loadStatuses(ctx context.Context, store domain.DeploymentStatusStore) (map[contracts.DeploymentName]contracts.DeploymentStatus, error) {
	statuses := map[contracts.DeploymentName]contracts.DeploymentStatus{}
	err := store.Watch(ctx, 0, func(change domain.StatusChange) error {
		switch change.Kind {
		case domain.ChangePut:
			statuses[change.Key] = change.Value
		case domain.ChangeDeleted:
			delete(statuses, change.Key)
		case domain.ChangeCaughtUp:
			return errCaughtUp
		}
		return nil
	})
	return statuses, err
}
