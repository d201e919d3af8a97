package metrics

import (
	"context"
	"errors"
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

const (
	operationApply  = "apply"
	operationRemove = "remove"
)

// Runtime returns a runtime that counts what the given one does. It runs
// commands if that one can.
func (c *Counts) Runtime(runtime domain.WorkloadRuntime) domain.WorkloadRuntime {
	counted := countedRuntime{WorkloadRuntime: runtime, counts: c}
	if runner, ok := runtime.(domain.CommandRunner); ok {
		return struct {
			countedRuntime
			domain.CommandRunner
		}{counted, runner}
	}
	return counted
}

type countedRuntime struct {
	domain.WorkloadRuntime
	counts *Counts
}

// Apply implements domain.WorkloadRuntime.
func (r countedRuntime) Apply(ctx context.Context, workload domain.Workload, progress domain.Progress) error {
	began := time.Now()
	err := r.WorkloadRuntime.Apply(ctx, workload, progress)
	r.note(ctx, operationApply, contracts.ReasonStartFailed, began, err)
	return err
}

// Remove implements domain.WorkloadRuntime.
func (r countedRuntime) Remove(ctx context.Context, name contracts.DeploymentName) error {
	began := time.Now()
	err := r.WorkloadRuntime.Remove(ctx, name)
	r.note(ctx, operationRemove, contracts.ReasonStopFailed, began, err)
	return err
}

// note counts a call, unless it was called off.
func (r countedRuntime) note(ctx context.Context, operation string, reason contracts.Reason, began time.Time, err error) {
	if err != nil && ctx.Err() != nil {
		return
	}
	r.counts.took(operation, time.Since(began))
	if err == nil {
		return
	}
	if failure, ok := errors.AsType[*domain.WorkloadError](err); ok && failure.Reason.Validate() == nil && failure.Reason != "" {
		reason = failure.Reason
	}
	r.counts.failed(operation, string(reason))
}
