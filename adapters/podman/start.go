package podman

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/nationtech/harmony-fleet/adapters/podman/internal/engine"
	"github.com/nationtech/harmony-fleet/contracts"
)

// exitNotFound is the exit code that Docker leaves in a container whose
// program does not exist.
const exitNotFound = 127

// start starts every service that should run and does not. A service that
// cannot start does not keep the others from it; the first failure is returned.
func (a *application) start(ctx context.Context) error {
	var first error
	for _, service := range a.plan.services {
		err := a.startOne(ctx, service, a.have[service.Name])
		if ctx.Err() != nil {
			return failure(contracts.ReasonStarting, service.label()+" was not started", ctx.Err(), nil)
		}
		if first == nil {
			first = err
		}
	}
	return first
}

func (a *application) startOne(ctx context.Context, service wanted, c container) error {
	if name := a.containerName(a.plan.name, service.Name); c.Name != name {
		if err := a.client.Rename(ctx, c.ID, name); err != nil {
			return failure(contracts.ReasonStartFailed, "cannot name "+service.label(), err, service.Env)
		}
	}
	held, err := a.hold(ctx, service, c)
	if err != nil || held || !a.due(c) {
		return err
	}
	a.progress(contracts.ReasonStarting, "starting "+service.label())
	a.noteStart(ctx, service, c)
	if err := a.client.Start(ctx, c.ID); err != nil {
		return a.explain(ctx, service, c.ID, contracts.ReasonStartFailed, err)
	}
	return nil
}

// hold reports whether a service in a crash loop is to stay stopped for now,
// and stops it when Podman would restart it several times a second.
func (a *application) hold(ctx context.Context, service wanted, c container) (bool, error) {
	info, known := a.client.Known()
	looping := a.crashes.observe(c, a.restarts(c))
	if !looping || !known || info.Product != engine.Podman || !c.State.Started() || !a.restarting(c) {
		return false, nil
	}
	if c.State.Running() && uptime(c.State) >= stableAfter {
		return false, nil
	}
	held, begun := a.crashes.held(c.ID)
	if begun && !held {
		return false, nil
	}
	if !begun {
		a.crashes.hold(c.ID)
	}
	if err := a.stopLooping(ctx, c); err != nil {
		return false, failure(contracts.ReasonStopFailed, "cannot stop "+service.label()+", which is in a crash loop", err, nil)
	}
	return true, nil
}

// stopLooping stops a container that Podman restarts all the time. A stop that
// comes between two runs has no effect, so it is looked at again, until it was
// caught running or has stayed down for longer than Podman ever waits.
func (a *application) stopLooping(ctx context.Context, c container) error {
	const looks, pause = 20, 100 * time.Millisecond
	down := 0
	for range looks {
		if c.State.Running() {
			down = 0
			if err := a.client.Stop(ctx, c.ID, a.plan.grace); err != nil {
				return err
			}
		} else if down++; down > 5 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
		again, err := a.client.Inspect(ctx, c.ID)
		if err != nil {
			return err
		}
		c = container{again}
	}
	return nil // the next Apply goes on
}

// due reports whether a container is to be started now. Restarts are the
// engine's business; this is for what never ran, for what a reboot or a person
// stopped, and for what the engine gave up on.
func (r *Runtime) due(c container) bool {
	switch c.State.Status {
	case "running", "paused", "restarting", "stopping", "removing":
		return false
	}
	return !c.State.Started() || r.restarting(c)
}

// noteStart keeps the number of restarts over a start by us, at which the
// engine begins to count anew, and in which boot it was.
func (a *application) noteStart(ctx context.Context, service wanted, c container) {
	a.crashes.started(c.ID)
	a.state.edit(ctx, func(rec *record) {
		deployment := rec.deployment(a.plan.name)
		entry := deployment.Services[service.Name]
		if entry.Container != c.ID {
			entry.Container, entry.Restarts = c.ID, 0
		}
		if c.State.Started() {
			entry.Restarts += c.RestartCount + 1
		}
		entry.Boot = a.boot
		deployment.Services[service.Name] = entry
	})
}

// explain turns a failed start into its reason. Docker tells a missing program
// by an exit code, Podman in words.
func (a *application) explain(ctx context.Context, w wanted, id string, otherwise contracts.Reason, err error) error {
	refusal, refused := errors.AsType[*engine.Error](err)
	if refused && refusal.Status == http.StatusBadRequest {
		if c, look := a.client.Inspect(ctx, id); look == nil && !c.State.Started() && c.State.ExitCode == exitNotFound {
			otherwise = contracts.ReasonCommandNotFound
		}
	}
	return failure(otherwise, "cannot start "+w.label(), err, w.Env)
}

// settle records what was applied.
func (a *application) settle(ctx context.Context) {
	a.state.edit(ctx, func(rec *record) {
		deployment := rec.deployment(a.plan.name)
		deployment.Generation = a.plan.generation
		services := make(map[string]serviceRecord, len(a.plan.services))
		for _, service := range a.plan.services {
			entry, c := deployment.Services[service.Name], a.have[service.Name]
			entry.Image = service.Image
			if entry.Current != c.Image {
				entry.Previous, entry.Current = entry.Current, c.Image
			}
			if entry.Container != c.ID {
				entry.Container, entry.Restarts = c.ID, 0
			}
			services[service.Name] = entry
		}
		deployment.Services = services
	})
}

func (rec *record) deployment(name contracts.DeploymentName) *deploymentRecord {
	deployment := rec.Deployments[name]
	if deployment == nil {
		deployment = &deploymentRecord{Services: map[string]serviceRecord{}}
		rec.Deployments[name] = deployment
	}
	return deployment
}
