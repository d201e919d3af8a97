package podman

import (
	"context"
	"fmt"

	"github.com/nationtech/harmony-fleet/adapters/podman/internal/engine"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// Apply implements domain.WorkloadRuntime. Images are fetched, the new
// containers made and the init containers run while the old services still
// run: a bad image or a failing init container stops nothing. Init containers
// run when none of the wanted services has run before; a change of an init
// container asks for a fresh set of services. An image of pull policy "always"
// is pulled again once per generation.
func (r *Runtime) Apply(ctx context.Context, workload domain.Workload, progress domain.Progress) error {
	err := r.apply(ctx, workload, progress)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		delete(r.failures, workload.Name)
		return nil
	}
	failure := failure(contracts.ReasonStartFailed, "deployment "+string(workload.Name), err, nil)
	if ctx.Err() == nil {
		r.failures[workload.Name] = failure
	}
	return failure
}

func (r *Runtime) apply(ctx context.Context, workload domain.Workload, progress domain.Progress) error {
	if !r.Supports(workload.Score.Type) {
		return &domain.WorkloadError{
			Reason:  contracts.ReasonUnsupportedScore,
			Message: fmt.Sprintf("score type %q is not run by containers", workload.Score.Type), Cause: domain.ErrUnsupported,
		}
	}
	if err := workload.Name.Validate(); err != nil {
		return &domain.WorkloadError{Reason: contracts.ReasonInvalidScore, Message: err.Error(), Cause: domain.ErrInvalid}
	}
	score, err := workload.Score.PodmanV0()
	if err != nil {
		return &domain.WorkloadError{
			Reason: contracts.ReasonInvalidScore, Message: err.Error(),
			Cause: domain.WrapError(domain.ErrInvalid, err, "deployment %s", workload.Name),
		}
	}
	a := &application{Runtime: r, plan: newPlan(workload, score), progress: progress}
	return a.run(ctx)
}

// application is one Apply under way.
type application struct {
	*Runtime
	plan     plan
	progress domain.Progress

	// have are the wanted containers that exist, by name; stale are the rest
	// of this deployment's.
	have  map[string]container
	stale []container
	// images are those of what was made in this run, by name.
	images map[string]engine.Image
}

func (a *application) run(ctx context.Context) error {
	if err := a.look(ctx); err != nil {
		return err
	}
	changed, err := a.prepare(ctx)
	if err != nil {
		return err
	}
	if err := a.runInits(ctx); err != nil {
		return err
	}
	if err := a.retire(ctx); err != nil {
		return err
	}
	if err := a.start(ctx); err != nil {
		return err
	}
	a.settle(ctx)
	if changed {
		a.prune(ctx)
	}
	return nil
}

// look sorts what is on the host into what is wanted and what is stale.
func (a *application) look(ctx context.Context) error {
	containers, err := a.containers(ctx, a.oursOf(a.plan.name))
	if err != nil {
		return failure(contracts.ReasonRuntimeUnavailable, "cannot list containers", err, nil)
	}
	hashes := map[string]string{}
	for _, wanted := range append(a.plan.services, a.plan.inits...) {
		hashes[wanted.Name] = wanted.hash
	}
	a.have, a.stale, a.images = map[string]container{}, nil, map[string]engine.Image{}
	for _, c := range containers {
		twin, twice := a.have[c.service()]
		switch {
		case hashes[c.service()] != c.hash():
			a.stale = append(a.stale, c)
		case !twice:
			a.have[c.service()] = c
		case c.State.Started() && !twin.State.Started():
			a.stale, a.have[c.service()] = append(a.stale, twin), c
		default:
			a.stale = append(a.stale, c)
		}
	}
	return nil
}

// prepare fetches images and makes the service containers that are missing,
// and reports whether it made any or others are in the way.
func (a *application) prepare(ctx context.Context) (bool, error) {
	a.Runtime.images.RLock()
	defer a.Runtime.images.RUnlock()
	refresh := a.state.generation(a.plan.name) != a.plan.generation
	if err := a.refreshAlways(ctx, refresh); err != nil {
		return false, err
	}
	var missing []wanted
	for _, service := range a.plan.services {
		if _, ok := a.have[service.Name]; !ok {
			missing = append(missing, service)
		}
	}
	if len(missing) == 0 {
		return len(a.stale) > 0, nil
	}
	fresh := len(missing) == len(a.plan.services)
	if fresh { // what init containers did was for another set
		if err := a.dropInits(ctx); err != nil {
			return false, err
		}
		for _, init := range a.plan.inits {
			if _, err := a.Runtime.image(ctx, init, refresh, a.progress); err != nil {
				return false, err
			}
		}
	}
	for _, service := range missing {
		if _, done := a.images[service.Name]; done {
			continue
		}
		image, err := a.Runtime.image(ctx, service, refresh, a.progress)
		if err != nil {
			return false, err
		}
		a.images[service.Name] = image
	}
	for _, service := range missing {
		if err := a.create(ctx, service); err != nil {
			return false, err
		}
	}
	return true, nil
}

// refreshAlways pulls the images of pull policy "always" of services that are
// there, and calls those stale whose image has changed.
func (a *application) refreshAlways(ctx context.Context, refresh bool) error {
	if !refresh {
		return nil
	}
	for _, service := range a.plan.services {
		existing, ok := a.have[service.Name]
		if !ok || service.PullPolicy != contracts.PullAlways {
			continue
		}
		image, err := a.Runtime.image(ctx, service, refresh, a.progress)
		if err != nil {
			return err
		}
		if image.ID != existing.Image {
			a.stale = append(a.stale, existing)
			a.images[service.Name] = image
			delete(a.have, service.Name)
		}
	}
	return nil
}

// create makes a container without starting it, beside the one it replaces.
func (a *application) create(ctx context.Context, w wanted) error {
	name := a.containerName(a.plan.name, w.Name)
	for _, old := range a.stale {
		if old.Name == name {
			name += nextSuffix
		}
	}
	for i, old := range a.stale { // from an Apply that did not come to its end
		if old.Name == name {
			if err := a.client.Remove(ctx, old.ID); err != nil {
				return failure(contracts.ReasonStopFailed, "cannot remove container "+old.Name, err, nil)
			}
			a.stale = append(a.stale[:i:i], a.stale[i+1:]...)
			break
		}
	}
	a.progress(contracts.ReasonStarting, "creating "+w.label())
	spec := a.marked(a.plan, w, digestOf(w.Image, a.images[w.Name].RepoDigests))
	id, err := a.client.Create(ctx, name, spec)
	if err != nil {
		if taken, other := a.client.Inspect(ctx, name); other == nil && taken.Config.Labels[labelOwner] != a.options.Owner {
			return failed(contracts.ReasonStartFailed, w.label()+": a container named "+name+
				" exists that does not belong to this agent, and is left alone: remove or rename it")
		}
		return failure(contracts.ReasonStartFailed, "cannot create "+w.label(), err, w.Env)
	}
	created, err := a.client.Inspect(ctx, id)
	if err != nil {
		return failure(contracts.ReasonStartFailed, "cannot look at "+w.label(), err, w.Env)
	}
	a.have[w.Name] = container{created}
	return nil
}

// retire stops and removes what is not wanted any more.
func (a *application) retire(ctx context.Context) error {
	if len(a.stale) == 0 {
		return nil
	}
	a.progress(contracts.ReasonStopping, fmt.Sprintf("stopping %d containers that are changed or not wanted", len(a.stale)))
	if err := a.dispose(ctx, a.stale); err != nil {
		return err
	}
	a.stale = nil
	return nil
}
