package agent

import (
	"context"
	"errors"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// work is the worker of one deployment. It ends when the deployment is neither
// wanted nor on the host, or when ctx is cancelled.
func (a *Agent) work(ctx context.Context, t *task) {
	for ctx.Err() == nil {
		a.mu.Lock()
		s := t.next(time.Now())
		if s.kind == stepDone {
			delete(a.tasks, t.name)
		}
		a.mu.Unlock()
		switch s.kind {
		case stepDone:
			a.log.InfoContext(ctx, "deployment removed", "deployment", t.name)
			ring(a.reportBell)
			return
		case stepWait:
			t.await(ctx, s.wait)
		case stepApply, stepRemove:
			a.perform(ctx, t, s)
		}
	}
}

// await blocks until the bell rings, wait is over unless it is 0, or ctx ends.
func (t *task) await(ctx context.Context, wait time.Duration) {
	var over <-chan time.Time
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-ctx.Done():
	case <-t.bell:
	case <-over:
	}
}

// perform does one step, cancelled when what is wanted changes meanwhile.
func (a *Agent) perform(ctx context.Context, t *task, s step) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a.mu.Lock()
	if t.revision != s.revision {
		a.mu.Unlock()
		return
	}
	t.cancel = cancel
	a.mu.Unlock()

	err := a.call(ctx, t, s)

	a.mu.Lock()
	defer a.mu.Unlock()
	t.cancel = nil
	overtaken := t.revision != s.revision || ctx.Err() != nil
	if s.kind == stepRemove {
		a.removed(ctx, t, s.host, err, overtaken)
	} else {
		a.applied(ctx, t, s.host, err, overtaken)
	}
}

func (a *Agent) call(ctx context.Context, t *task, s step) error {
	leave, err := a.gate.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	runtime := a.hosts[s.host].runtime
	if s.kind == stepRemove {
		return runtime.Remove(ctx, t.name)
	}
	return runtime.Apply(ctx, s.workload, func(reason contracts.Reason, message string) {
		a.progressed(t, s.revision, reason, message)
	})
}

// progressed notes what a long Apply is at.
func (a *Agent) progressed(t *task, revision uint64, reason contracts.Reason, message string) {
	if reason == "" || reason.Validate() != nil {
		reason = contracts.ReasonStarting
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if t.revision != revision {
		return
	}
	t.progress = &progress{reason: reason, message: contracts.Clip(message, contracts.MaxMessageBytes)}
	ring(a.reportBell)
}

// removed takes in the result of a Remove, under the lock.
func (a *Agent) removed(ctx context.Context, t *task, host int, err error, overtaken bool) {
	h := t.homes[host]
	h.touched = a.tick()
	h.removed = err == nil
	if err != nil {
		h.attempts++
	}
	t.homes[host] = h
	if err == nil {
		t.failure, t.failures, t.retryAt = nil, 0, time.Time{}
		ring(a.hosts[host].bell)
	} else if !overtaken {
		a.failed(ctx, t, &domain.WorkloadError{Reason: contracts.ReasonStopFailed, Message: messageOf(err), Cause: err})
	}
}

// applied takes in the result of an Apply, under the lock.
func (a *Agent) applied(ctx context.Context, t *task, host int, err error, overtaken bool) {
	_, isHome := t.homes[host]
	if err == nil && !overtaken && t.applied && t.progress == nil && isHome {
		return // all was as it should be
	}
	t.homes[host] = home{touched: a.tick()}
	ring(a.hosts[host].bell)
	switch {
	case overtaken:
	case err != nil:
		a.failed(ctx, t, asWorkloadError(err))
	default:
		if t.failures > 0 {
			a.log.InfoContext(ctx, "deployment applied after failures", "deployment", t.name, "generation", t.generation, "failures", t.failures)
		}
		t.applied, t.progress = true, nil
		t.failure, t.failures, t.retryAt = nil, 0, time.Time{}
		ring(a.reportBell)
	}
}

// failed notes and logs a failure, under the lock.
func (a *Agent) failed(ctx context.Context, t *task, err *domain.WorkloadError) {
	err.Message = contracts.Clip(err.Message, contracts.MaxMessageBytes)
	t.fail(err, a.options)
	a.log.WarnContext(ctx, "deployment failed and is tried again", "deployment", t.name, "generation", t.generation,
		"reason", err.Reason, "detail", err.Message, "failures", t.failures, "retry_at", t.retryAt)
	ring(a.reportBell)
}

// asWorkloadError returns a copy with a reason of the closed list.
func asWorkloadError(err error) *domain.WorkloadError {
	failure := domain.WorkloadError{Reason: contracts.ReasonStartFailed, Message: messageOf(err), Cause: err}
	if known, ok := errors.AsType[*domain.WorkloadError](err); ok && known.Reason != "" && known.Reason.Validate() == nil {
		failure.Reason = known.Reason
	}
	return &failure
}

// messageOf returns the text for people. Only a WorkloadError promises to hold no
// secrets; any other error is a mistake in a runtime, and says its kind alone.
func messageOf(err error) string {
	if known, ok := errors.AsType[*domain.WorkloadError](err); ok {
		return known.Message
	}
	return "the runtime failed without a reason of its own (" + domain.KindName(err) + ")"
}
