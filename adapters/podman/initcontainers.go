package podman

import (
	"context"
	"errors"
	"fmt"

	"github.com/nationtech/harmony-fleet/contracts"
)

var errInitTimeout = errors.New("the init container ran too long")

// runInits runs the init containers in order, unless one of the wanted
// services ran before or they have all done their work for this set. Each
// stays on the host after its end: its exit code is the proof that it need not
// run again, and its log can be read.
func (a *application) runInits(ctx context.Context) error {
	for _, service := range a.plan.services {
		if a.have[service.Name].State.Started() {
			return nil
		}
	}
	for _, init := range a.plan.inits {
		existing, ok := a.have[init.Name]
		if ok && existing.succeeded() {
			continue
		}
		if ok && !existing.State.Running() {
			if err := a.client.Remove(ctx, existing.ID); err != nil {
				return failure(contracts.ReasonStopFailed, "cannot remove "+init.label(), err, nil)
			}
			delete(a.have, init.Name)
		}
		if err := a.runInit(ctx, init); err != nil {
			return err
		}
	}
	return nil
}

func (c container) succeeded() bool {
	return c.State.Started() && !c.State.Running() && c.State.ExitCode == 0 && c.State.Status != "created"
}

// runInit runs one to its end. One that an earlier agent started is waited for.
func (a *application) runInit(ctx context.Context, init wanted) error {
	if _, running := a.have[init.Name]; !running {
		if err := a.startInit(ctx, init); err != nil {
			return err
		}
	}
	a.progress(contracts.ReasonInitRunning, init.label()+" runs")
	id := a.have[init.Name].ID
	bounded, cancel := context.WithTimeoutCause(ctx, init.timeout, errInitTimeout)
	defer cancel()
	err := a.client.Wait(bounded, id)
	if err != nil && ctx.Err() == nil && bounded.Err() != nil {
		if err := a.client.Stop(ctx, id, a.plan.grace); err != nil {
			return failure(contracts.ReasonStopFailed, "cannot stop "+init.label(), err, nil)
		}
		return failed(contracts.ReasonInitTimeout, fmt.Sprintf("%s was not done after %s and was stopped; its log says more", init.label(), init.timeout))
	}
	if err != nil {
		return failure(contracts.ReasonInitFailed, "cannot wait for "+init.label(), err, init.Env)
	}
	ended, err := a.client.Inspect(ctx, id)
	if err != nil {
		return failure(contracts.ReasonInitFailed, "cannot look at "+init.label(), err, init.Env)
	}
	a.have[init.Name] = container{ended}
	if outOfMemory(ended) {
		return failed(contracts.ReasonInitFailed, init.label()+" was killed: it exceeded its memory limit")
	}
	if ended.State.ExitCode != 0 {
		return failed(contracts.ReasonInitFailed, fmt.Sprintf("%s ended with exit code %d; its log says more", init.label(), ended.State.ExitCode))
	}
	return nil
}

func (a *application) startInit(ctx context.Context, init wanted) error {
	image, err := a.Runtime.image(ctx, init, false, a.progress)
	if err != nil {
		return err
	}
	a.images[init.Name] = image
	if err := a.create(ctx, init); err != nil {
		return err
	}
	if err := a.client.Start(ctx, a.have[init.Name].ID); err != nil {
		return a.explain(ctx, init, a.have[init.Name].ID, contracts.ReasonInitFailed, err)
	}
	return nil
}

// dropInits removes the init containers of an earlier set.
func (a *application) dropInits(ctx context.Context) error {
	var old []container
	for _, init := range a.plan.inits {
		if c, ok := a.have[init.Name]; ok && !c.State.Running() {
			old = append(old, c)
			delete(a.have, init.Name)
		}
	}
	return a.dispose(ctx, old)
}
