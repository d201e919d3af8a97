package podman

import (
	"context"
	"strings"
	"time"

	"github.com/nationtech/harmony-fleet/adapters/podman/internal/engine"
	"github.com/nationtech/harmony-fleet/contracts"
)

const (
	// quietFor is the least time between two calls for one workload: a crash
	// loop makes many events a second.
	quietFor = time.Second
	// firstRetry and mostRetry bound the wait before events are asked for again.
	firstRetry = 500 * time.Millisecond
	mostRetry  = 30 * time.Second
)

// Watch implements domain.WorkloadRuntime. When the engine comes back after it
// was away, handle is called for every workload.
func (r *Runtime) Watch(ctx context.Context, handle func(contracts.DeploymentName)) error {
	names := make(chan contracts.DeploymentName)
	done := make(chan struct{})
	go func() {
		defer close(done)
		deliver(ctx, names, handle)
	}()
	defer func() { <-done }()
	retry := firstRetry
	for away := false; ; away = true {
		began := time.Now()
		err := r.client.Events(ctx, r.ours(), func() {
			if away {
				r.tellAll(ctx, names)
			}
		}, func(event engine.Event) { r.tell(ctx, names, event) })
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(began) > mostRetry {
			retry = firstRetry
		}
		r.log.DebugContext(ctx, "container events interrupted", "error", err, "retry", retry)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(retry):
		}
		retry = min(2*retry, mostRetry)
	}
}

// tell passes on what a container did by itself. What comes with making and
// removing one is left out, and so is what happens inside.
func (r *Runtime) tell(ctx context.Context, names chan<- contracts.DeploymentName, event engine.Event) {
	action, _, _ := strings.Cut(event.Action, ":")
	switch action {
	case "die", "start", "stop", "oom", "restart", "health_status", "destroy", "remove", "pause", "unpause":
	default:
		return
	}
	send(ctx, names, contracts.DeploymentName(event.Labels[labelDeployment]))
}

func (r *Runtime) tellAll(ctx context.Context, names chan<- contracts.DeploymentName) {
	all, err := r.List(ctx)
	if err != nil {
		r.log.DebugContext(ctx, "containers not listed after the engine came back", "error", err)
	}
	for _, workload := range all {
		send(ctx, names, workload.Name)
	}
}

func send(ctx context.Context, names chan<- contracts.DeploymentName, name contracts.DeploymentName) {
	if name.Validate() != nil {
		return
	}
	select {
	case names <- name:
	case <-ctx.Done():
	}
}

// deliver calls handle at once for a name that was quiet, and otherwise once
// its quiet time is over, until ctx ends.
func deliver(ctx context.Context, names <-chan contracts.DeploymentName, handle func(contracts.DeploymentName)) {
	last := map[contracts.DeploymentName]time.Time{}
	waiting := map[contracts.DeploymentName]bool{}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case name := <-names:
			waiting[name] = true
		case <-timer.C:
		}
		next := quietFor
		for name := range waiting {
			if rest := quietFor - time.Since(last[name]); rest > 0 {
				next = min(next, rest)
				continue
			}
			delete(waiting, name)
			last[name] = time.Now()
			handle(name)
		}
		if len(waiting) > 0 {
			timer.Reset(next)
		}
	}
}
