package agent

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	// hintDelay gathers the changes of a host that come together.
	hintDelay = 100 * time.Millisecond
	// listTimeout bounds one look at a host.
	listTimeout = 30 * time.Second
)

// host is one runtime and what was seen there.
type host struct {
	runtime domain.WorkloadRuntime
	// bell asks for a look soon.
	bell chan struct{}

	// The lock of the agent protects what follows.

	// began is when the last successful look began, in the agent's logical clock;
	// 0 before the first.
	began uint64
	// statuses are what it saw, sorted by name.
	statuses []domain.WorkloadStatus
	seenAt   time.Time
	// err is why the last look failed.
	err error
}

// status returns what was last seen of a deployment.
func (h *host) status(name contracts.DeploymentName) (domain.WorkloadStatus, bool) {
	i, found := slices.BinarySearchFunc(h.statuses, name, func(s domain.WorkloadStatus, n contracts.DeploymentName) int {
		return strings.Compare(string(s.Name), string(n))
	})
	if !found {
		return domain.WorkloadStatus{}, false
	}
	return h.statuses[i], true
}

// watchHost looks at a host at once, soon after its bell and at every tick. Each
// host has its own, so that one that does not answer holds up no other.
func (a *Agent) watchHost(ctx context.Context, i int) {
	ticker := time.NewTicker(a.options.ResyncInterval)
	defer ticker.Stop()
	tick := false
	for {
		a.look(ctx, i, tick)
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			tick = true
		case <-a.hosts[i].bell:
			tick = false
			if !pause(ctx, hintDelay) {
				return
			}
		}
	}
}

// look lists a host's workloads and compares them with what is wanted.
func (a *Agent) look(ctx context.Context, i int, tick bool) {
	h := a.hosts[i]
	a.mu.Lock()
	began := a.tick()
	a.mu.Unlock()

	listing, cancel := context.WithTimeout(ctx, listTimeout)
	statuses, err := h.runtime.List(listing)
	cancel()
	if ctx.Err() != nil {
		return
	}

	a.mu.Lock()
	defer a.mu.Unlock()
	back := a.noteListing(ctx, h, err)
	if err == nil {
		a.seen(ctx, i, began, statuses)
	}
	for _, t := range a.tasks {
		if _, isHome := t.homes[i]; back && t.awaits(i, isHome) {
			t.retry()
		}
		if tick && t.host == i {
			t.due = true
			ring(t.bell)
		}
	}
}

// noteListing remembers whether the host answers, and reports whether it does so
// again after it did not.
func (a *Agent) noteListing(ctx context.Context, h *host, err error) bool {
	before := h.err
	h.err = err
	switch {
	case err != nil && before == nil:
		a.log.WarnContext(ctx, "workloads cannot be listed", "runtime", h.runtime.Name(), "error", err)
	case err == nil && before != nil:
		a.log.InfoContext(ctx, "workloads can be listed again", "runtime", h.runtime.Name())
		return true
	}
	return false
}

// awaits reports whether a step failed that may succeed now that the host answers.
func (t *task) awaits(i int, isHome bool) bool {
	if t.failure == nil {
		return false
	}
	return t.host == i && t.failure.Reason == contracts.ReasonRuntimeUnavailable || t.want == nil && isHome
}

// seen takes in what a look saw that began at the given logical time.
func (a *Agent) seen(ctx context.Context, i int, began uint64, statuses []domain.WorkloadStatus) {
	h := a.hosts[i]
	before := host{statuses: h.statuses, began: h.began}
	h.statuses, h.began, h.seenAt = statuses, began, time.Now()
	for _, status := range statuses {
		a.found(ctx, i, began, status)
	}
	changed := len(before.statuses) != len(statuses)
	for name, t := range a.tasks {
		was, wasThere := before.status(name)
		is, isThere := h.status(name)
		at, isHome := t.homes[i]
		if wasThere != isThere || !reflect.DeepEqual(was, is) {
			changed = true
			// What the last Apply did itself is no reason for another.
			if t.host == i && before.began > at.touched {
				t.due = true
				ring(t.bell)
			}
		}
		if isHome && !isThere && began > at.touched && (t.host != i || t.cancel == nil) {
			delete(t.homes, i)
			ring(t.bell)
		}
	}
	if changed {
		ring(a.reportBell)
	}
}

// found takes in that a deployment is on a host. What is not wanted there is
// removed, but not before it is known what is wanted.
func (a *Agent) found(ctx context.Context, i int, began uint64, status domain.WorkloadStatus) {
	if a.acceptance.held == nil || status.Name.Validate() != nil {
		return
	}
	t, known := a.tasks[status.Name]
	if !known {
		a.log.InfoContext(ctx, "workload found that is not wanted; it is removed", "deployment", status.Name, "runtime", a.hosts[i].runtime.Name())
		t = a.task(ctx, status.Name)
		t.generation = min(max(1, status.Generation), contracts.MaxGeneration)
	}
	at, isHome := t.homes[i]
	switch {
	case !isHome:
		t.homes[i] = home{}
		ring(t.bell)
	case at.removed && began > at.touched:
		at.removed = false
		at.attempts++
		t.homes[i] = at
		if t.host != i {
			a.failed(ctx, t, &domain.WorkloadError{
				Reason:  contracts.ReasonStopFailed,
				Message: a.hosts[i].runtime.Name() + " still has the workload after it said that it was removed",
			})
			ring(t.bell)
		}
	}
}
