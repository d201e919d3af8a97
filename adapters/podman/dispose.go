package podman

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// stopsAtOnce bounds how many containers are stopped at the same time.
const stopsAtOnce = 8

// Remove implements domain.WorkloadRuntime. Images that only this deployment
// used, and that this runtime pulled, go too.
func (r *Runtime) Remove(ctx context.Context, name contracts.DeploymentName) error {
	containers, err := r.containers(ctx, r.oursOf(name))
	if err != nil {
		return failure(contracts.ReasonStopFailed, "cannot list containers", err, nil)
	}
	if err := r.dispose(ctx, containers); err != nil {
		return err
	}
	known := false
	r.state.edit(ctx, func(rec *record) {
		_, known = rec.Deployments[name]
		delete(rec.Deployments, name)
	})
	r.mu.Lock()
	delete(r.failures, name)
	r.mu.Unlock()
	if known || len(containers) > 0 {
		r.prune(ctx)
	}
	return nil
}

// dispose stops containers gracefully, all at the same time, and removes them.
func (r *Runtime) dispose(ctx context.Context, containers []container) error {
	var (
		wait  sync.WaitGroup
		slots = make(chan struct{}, stopsAtOnce)
		errs  = make([]error, len(containers))
	)
	for i, c := range containers {
		wait.Go(func() {
			slots <- struct{}{}
			defer func() { <-slots }()
			errs[i] = r.disposeOne(ctx, c)
		})
	}
	wait.Wait()
	for _, err := range errs {
		if err != nil {
			return err // the others are tried again with it
		}
	}
	return nil
}

func (r *Runtime) disposeOne(ctx context.Context, c container) error {
	if c.State.Started() {
		if err := r.client.Stop(ctx, c.ID, c.grace()); err != nil {
			return failure(contracts.ReasonStopFailed, "cannot stop container "+c.Name, err, nil)
		}
		r.readers.wait(ctx, c.ID)
	}
	if err := r.client.Remove(ctx, c.ID); err != nil {
		return failure(contracts.ReasonStopFailed, "cannot remove container "+c.Name, err, nil)
	}
	return nil
}

// grace is the container's own: the score may have changed since.
func (c container) grace() time.Duration {
	if c.Config.StopTimeout == nil {
		return contracts.DefaultGracePeriod
	}
	return time.Duration(*c.Config.StopTimeout) * time.Second
}

// containers returns ours that carry the labels.
func (r *Runtime) containers(ctx context.Context, labels []string) ([]container, error) {
	ids, err := r.client.IDs(ctx, labels...)
	if err != nil {
		return nil, err
	}
	containers := make([]container, 0, len(ids))
	for _, id := range ids {
		inspected, err := r.client.Inspect(ctx, id)
		if errors.Is(err, domain.ErrNotFound) {
			continue // gone in the meantime
		}
		if err != nil {
			return nil, err
		}
		c := container{inspected}
		if c.Config.Labels[labelOwner] == r.options.Owner { // whatever the filter did
			containers = append(containers, c)
		}
	}
	return containers, nil
}
