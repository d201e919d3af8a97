package domain

import (
	"context"
	"io"

	"github.com/nationtech/harmony-fleet/contracts"
)

// Workload is one deployment as it shall run on this host.
type Workload struct {
	Name       contracts.DeploymentName
	Generation uint64
	Score      contracts.ReconcileScore
}

// WorkloadStatus is one deployment as it runs on this host.
type WorkloadStatus struct {
	Name contracts.DeploymentName
	// Generation is that of the last applied workload.
	Generation uint64
	// Services are sorted by name.
	Services []contracts.ServiceReport
	// Reason and Message say what is wrong; empty when nothing is.
	Reason  contracts.Reason
	Message string
}

// Progress is told what a long Apply is at. It must not block.
type Progress func(reason contracts.Reason, message string)

// LogQuery chooses a service's log.
type LogQuery struct {
	Deployment contracts.DeploymentName
	// Service may be empty when the deployment has one service.
	Service string
	// Tail is how many of the last lines to begin with; negative for all.
	Tail int
	// Follow goes on at the end of the log instead of ending.
	Follow bool
}

// WorkloadRuntime is what runs on this host. It knows its own workloads by
// marks of its own and never touches anything else. Safe for concurrent use
// for different workloads; calls for one workload are made one at a time.
//
// Workloads go on without the agent. A new runtime on the same host finds and
// adopts what an earlier one started, without restarting it.
type WorkloadRuntime interface {
	// Name says which runtime this is, with its version, such as "podman 4.3.1".
	Name() string
	// Supports reports whether the runtime can run scores of that type.
	Supports(score contracts.ScoreType) bool
	// Apply makes the host run the workload: services that are missing or
	// changed are started, those that are no longer in it are stopped, and those
	// that are as declared are left alone. Applying the same workload again
	// changes nothing and is cheap. It blocks until started, not until healthy,
	// reports long steps to progress, and leaves what it has done when ctx is
	// cancelled. A failure is a *WorkloadError.
	Apply(ctx context.Context, workload Workload, progress Progress) error
	// Remove stops every service, the stop signal first and SIGKILL after the
	// grace period, and removes all that the workload left on the host but its
	// named volumes. It returns nil when there is nothing to remove, and when
	// ctx is cancelled it can be called again.
	Remove(ctx context.Context, name contracts.DeploymentName) error
	// List returns every workload of this runtime that is on the host, sorted
	// by name.
	List(ctx context.Context) ([]WorkloadStatus, error)
	// Logs returns a service's log, which the caller closes; closing ends a
	// blocked Read. ErrNotFound when there is no such service, ErrInvalid when
	// the service must be named.
	Logs(ctx context.Context, query LogQuery) (io.ReadCloser, error)
	// Watch calls handle with the name of a workload soon after something in it
	// changed by itself. Names may come in vain and some changes may be missed:
	// it only makes reaction faster. It blocks and returns nil after ctx is
	// cancelled.
	Watch(ctx context.Context, handle func(contracts.DeploymentName)) error
}

// WorkloadError is why a workload could not be applied or removed.
type WorkloadError struct {
	Reason contracts.Reason
	// Message is for people and never holds secrets.
	Message string
	// Cause may be nil.
	Cause error
}

// Error returns the message alone; the cause is for errors.Is.
func (e *WorkloadError) Error() string { return string(e.Reason) + ": " + e.Message }

// Unwrap returns the cause.
func (e *WorkloadError) Unwrap() error { return e.Cause }

// Assess returns the phase of a workload that should run, and why.
func (s WorkloadStatus) Assess() (contracts.Phase, contracts.Reason) {
	good := 0
	for _, service := range s.Services {
		if service.State == contracts.ServiceRunning || completed(service) && s.Reason == "" {
			good++
		}
	}
	switch {
	case good == len(s.Services) && good > 0:
		return contracts.PhaseRunning, ""
	case s.Reason == "":
		return contracts.PhasePending, contracts.ReasonStarting
	case good > 0:
		return contracts.PhaseDegraded, s.Reason
	default:
		return contracts.PhaseFailed, s.Reason
	}
}

// completed reports whether a service ended well and was not to be restarted.
func completed(service contracts.ServiceReport) bool {
	return service.State == contracts.ServiceExited && service.ExitCode != nil && *service.ExitCode == 0
}
