package operator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"sync"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
	"github.com/nationtech/harmony-fleet/domain/rollout"
)

// caughtUp says which of the stores are fully known.
type caughtUp struct {
	devices, deployments, observed, desired bool
}

func (c caughtUp) all() bool { return c.devices && c.deployments && c.observed && c.desired }

// loaded is what was found in the stores that are read once.
type loaded struct {
	records  map[contracts.DeviceID]record
	statuses map[contracts.DeploymentName]contracts.DeploymentStatus
}

// errCaughtUp ends a watch that only wanted what is stored.
var errCaughtUp = errors.New("caught up")

// recover reads the stores that nobody else writes: once is enough.
func (e *engine) recover(ctx context.Context) {
	e.running.Go(func() {
		found, err := e.load(ctx)
		if err != nil {
			if ctx.Err() == nil {
				e.fail(err)
			}
			return
		}
		_ = send(ctx, e.loaded, found) // a cancelled engine needs it no more
	})
}

func (e *engine) load(ctx context.Context) (loaded, error) {
	statuses, err := loadStatuses(ctx, e.operator.capabilities.Statuses)
	if !errors.Is(err, errCaughtUp) {
		if err == nil {
			err = errors.New("the watch ended before it had caught up")
		}
		return loaded{}, domain.WrapError(domain.ErrUnavailable, err, "reading deployment statuses")
	}
	records, err := loadRecords(ctx, e.operator.capabilities.Desired, e.operator.composer, e.log)
	if err != nil {
		return loaded{}, fmt.Errorf("reading stored desired state: %w", err)
	}
	return loaded{records: records, statuses: statuses}, nil
}

// loadRecords reads and verifies every stored document, on all processors.
func loadRecords(ctx context.Context, store domain.DesiredStatePublisher, c *composer, logger *slog.Logger) (map[contracts.DeviceID]record, error) {
	var (
		readers sync.WaitGroup
		mu      sync.Mutex
		records = map[contracts.DeviceID]record{}
		queue   = make(chan domain.DesiredDocument, 1024)
	)
	for range runtime.GOMAXPROCS(0) {
		readers.Go(func() {
			for stored := range queue {
				read, err := c.read(stored)
				if err != nil {
					// Without a content it is written again.
					read.record = record{revision: stored.Revision}
					logger.Warn("a stored desired state is not ours and will be replaced",
						slog.String("device", string(stored.Device)), slog.Any("error", err))
				}
				mu.Lock()
				records[stored.Device] = read.record
				mu.Unlock()
			}
		})
	}
	err := store.Load(ctx, func(stored domain.DesiredDocument) error { return send(ctx, queue, stored) })
	close(queue)
	readers.Wait()
	return records, err
}

func (e *engine) takeLoaded(found loaded) {
	for id, stored := range found.records {
		e.device(id).stored = stored
	}
	for name, status := range found.statuses {
		deployment, ok := e.deployments[name]
		if !ok {
			deployment = newDeployment(name)
			e.deployments[name] = deployment
		}
		deployment.status.adopt(status)
	}
	e.caughtUp.desired = true
}

// recovered begins to act, now that everything is known.
func (e *engine) recovered(ctx context.Context) {
	e.recovering, e.recoveredAt = false, e.now
	for _, d := range e.devices {
		e.firstLiveness(d)
	}
	for _, deployment := range e.deployments {
		if deployment.removing() {
			e.resumeRemoval(deployment)
			continue
		}
		e.resume(deployment)
	}
	unregistered := 0
	for _, d := range e.devices {
		switch {
		case d.eligible():
			e.markDirty(d)
			e.checkLag(d)
		case !d.registered && d.stored.revision != 0:
			unregistered++
			e.emit(contracts.Event{Kind: contracts.EventDeviceRemoved, Device: d.id})
			e.collect(ctx, d)
		}
	}
	e.log.Info("the state of the fleet is known",
		slog.Int("devices", e.status.Devices), slog.Int("online", e.status.Online),
		slog.Int("deployments", len(e.deployments)), slog.Int("orphans", unregistered))
	e.wakeAt(e.now)
}

// resume goes on with a deployment as its last status says.
func (e *engine) resume(deployment *deployment) {
	status := &deployment.status.current
	if status.ObservedGeneration != deployment.spec.generation || status.Removing {
		e.announceApplied(deployment) // nobody led when it was
	} else if status.Condition(contracts.ConditionProgressing).Reason == rollout.ReasonComplete {
		deployment.completed = deployment.spec.generation
	}
	e.rematch(deployment)
	e.markMembers(deployment)
}

// resumeRemoval goes on with a deployment that has a status and no spec.
func (e *engine) resumeRemoval(deployment *deployment) {
	status := &deployment.status.current
	if !status.Removing {
		e.emit(contracts.Event{
			Kind: contracts.EventDeploymentDeleted, Deployment: deployment.name,
			Message: fmt.Sprintf("generation %d", status.ObservedGeneration),
		})
	}
	e.beginRemoval(deployment, status.ObservedGeneration)
}
