package agent

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
)

// desired is what the agent knows about the state that it shall bring about.
type desired struct {
	acceptance acceptance
	// refused is the last document that was not accepted since.
	refused *contracts.Refusal
	// diskProblem says what is wrong with the copy on disk, for people.
	diskProblem string
	// unsaved is set while the held document is not on disk.
	unsaved bool
}

// restoreDesired begins with the desired state on disk. A document that cannot be
// trusted counts as none: nothing is removed before a trusted one arrives.
func (a *Agent) restoreDesired(ctx context.Context) {
	envelope, err := a.store.LoadDesired()
	if err != nil {
		a.log.ErrorContext(ctx, "desired state on disk cannot be read; the device waits for a new one", "error", err)
		a.mu.Lock()
		defer a.mu.Unlock()
		a.diskProblem = err.Error()
		return
	}
	if envelope == nil {
		return
	}
	taken, refusal := a.acceptance.judge(envelope, time.Time{})
	if refusal != nil {
		a.log.ErrorContext(ctx, "desired state on disk is not trusted; the device waits for a new one", "reason", refusal.Reason, "detail", refusal.Message)
		a.mu.Lock()
		defer a.mu.Unlock()
		a.refused, a.diskProblem = refusal, refusal.Message
		return
	}
	a.log.InfoContext(ctx, "desired state restored from disk", "generation", taken.state.Generation, "deployments", len(taken.state.Deployments))
	a.adopt(ctx, taken, nil)
}

// heldGeneration returns the generation held, 0 for none.
func (a *Agent) heldGeneration() uint64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.generation()
}

// generation is heldGeneration under the lock.
func (a *Agent) generation() uint64 {
	if a.acceptance.held == nil {
		return 0
	}
	return a.acceptance.held.state.Generation
}

// digest names the document held, "" for none, under the lock.
func (a *Agent) digest() string {
	if a.acceptance.held == nil {
		return ""
	}
	return a.acceptance.held.name
}

// receive takes an envelope from the source. Calls are made one at a time, and
// they alone change a.acceptance, so it may be read here without the lock.
func (a *Agent) receive(ctx context.Context, envelope []byte) {
	taken, refusal := a.acceptance.judge(envelope, time.Now())
	if refusal != nil {
		a.refuse(ctx, refusal)
		return
	}
	if taken == nil || ctx.Err() != nil {
		return
	}
	a.keeping.Lock()
	defer a.keeping.Unlock()
	err := a.store.SaveDesired(taken.envelope)
	a.log.InfoContext(ctx, "desired state accepted", "generation", taken.state.Generation, "deployments", len(taken.state.Deployments))
	// A full or failing disk must not take the device out of the operator's hands:
	// what fills the disk may be what the new state removes. So the agent acts all
	// the same and goes on trying to save. A restart before that begins with the
	// older state and catches up.
	a.adopt(ctx, taken, err)
}

func (a *Agent) refuse(ctx context.Context, refusal *contracts.Refusal) {
	a.mu.Lock()
	repeated := a.refused != nil && *a.refused == *refusal
	a.refused = refusal
	a.mu.Unlock()
	if repeated {
		return
	}
	a.log.WarnContext(ctx, "desired state refused", "reason", refusal.Reason, "generation", refusal.Generation, "detail", refusal.Message)
	ring(a.reportBell)
}

// adopt tells every deployment's worker what is wanted from now on. saved is why
// the document is not on disk, nil when it is.
func (a *Agent) adopt(ctx context.Context, taken *document, saved error) {
	a.mu.Lock()
	a.acceptance.hold(taken)
	a.refused = nil
	a.noteSaved(ctx, saved)
	for i := range taken.state.Deployments {
		wanted := &taken.state.Deployments[i]
		a.task(ctx, wanted.Name).set(wanted, a.hosts)
	}
	for name, t := range a.tasks {
		if !wants(taken.state, name) {
			t.set(nil, a.hosts)
		}
	}
	// What was seen before anything was known is only now known to be unwanted.
	for i, h := range a.hosts {
		for _, status := range h.statuses {
			a.found(ctx, i, h.began, status)
		}
	}
	a.mu.Unlock()
	ring(a.reportBell)
	ring(a.beatBell)
}

func wants(state contracts.DesiredState, name contracts.DeploymentName) bool {
	_, found := slices.BinarySearchFunc(state.Deployments, name, func(d contracts.DesiredDeployment, n contracts.DeploymentName) int {
		return strings.Compare(string(d.Name), string(n))
	})
	return found
}

// noteSaved remembers under the lock whether the held document is on disk.
func (a *Agent) noteSaved(ctx context.Context, err error) {
	if err == nil {
		if a.unsaved {
			a.log.InfoContext(ctx, "desired state is on disk now")
		}
		a.unsaved, a.diskProblem = false, ""
		return
	}
	if !a.unsaved {
		a.log.ErrorContext(ctx, "desired state was not saved; the agent acts on it and tries again: check the disk", "error", err)
	}
	a.unsaved, a.diskProblem = true, err.Error()
	ring(a.keepBell)
}

// keepTrying saves the held document while it is not on disk.
func (a *Agent) keepTrying(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.keepBell:
		}
		if !pause(ctx, a.options.ResyncInterval) {
			return
		}
		a.keep(ctx)
	}
}

func (a *Agent) keep(ctx context.Context) {
	a.keeping.Lock()
	defer a.keeping.Unlock()
	a.mu.Lock()
	held, unsaved := a.acceptance.held, a.unsaved
	a.mu.Unlock()
	if !unsaved {
		return
	}
	err := a.store.SaveDesired(held.envelope)
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.acceptance.held == held {
		a.noteSaved(ctx, err)
	}
}
