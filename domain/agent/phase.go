package agent

import (
	"slices"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// assess says where a deployment stands, under the lock. Name and Since are left
// to the caller.
func (a *Agent) assess(t *task) contracts.DeploymentReport {
	r := contracts.DeploymentReport{Generation: t.generation}
	status, there := a.status(t)
	r.Services = status.Services
	switch {
	case t.want == nil:
		r.Phase, r.Reason = contracts.PhaseRemoving, contracts.ReasonStopping
		if t.failure != nil {
			r.Reason, r.Message = t.failure.Reason, t.failure.Message
		}
	case t.hopeless != nil:
		r.Phase, r.Reason, r.Message = contracts.PhaseFailed, t.hopeless.Reason, t.hopeless.Message
	case t.progress != nil && (t.failure == nil || beyond(t.progress.reason, t.failure.Reason)):
		r.Phase, r.Reason, r.Message = contracts.PhasePending, t.progress.reason, t.progress.message
	case t.failure != nil:
		r.Phase, r.Reason, r.Message = contracts.PhaseFailed, t.failure.Reason, t.failure.Message
		if there && status.Generation == t.want.Generation && slices.ContainsFunc(status.Services, isRunning) {
			r.Phase = contracts.PhaseDegraded
		}
	case !t.applied || !there || a.hosts[t.host].began <= t.homes[t.host].touched || status.Generation != t.want.Generation:
		r.Phase, r.Reason = contracts.PhasePending, contracts.ReasonStarting
	default:
		r.Phase, r.Reason = status.Assess()
		r.Message = status.Message
	}
	if r.Reason.Validate() != nil {
		r.Reason = contracts.ReasonStartFailed
	}
	r.Message = contracts.Clip(r.Message, contracts.MaxMessageBytes)
	return r
}

func isRunning(s contracts.ServiceReport) bool { return s.State == contracts.ServiceRunning }

// status returns what was last seen of a deployment where it shall run, or else
// wherever it is.
func (a *Agent) status(t *task) (domain.WorkloadStatus, bool) {
	if t.host != nowhere {
		if status, there := a.hosts[t.host].status(t.name); there {
			return status, true
		}
		return domain.WorkloadStatus{}, false
	}
	for _, h := range a.hosts {
		if status, there := h.status(t.name); there {
			return status, true
		}
	}
	return domain.WorkloadStatus{}, false
}

// beyond reports whether a new attempt has come further than the failed one did.
// Until it has, the failure is what people want to know: a deployment that fails
// again and again would otherwise seem to begin anew each time.
func beyond(now, failed contracts.Reason) bool { return stage(now) > stage(failed) }

// stage orders what Apply does.
func stage(reason contracts.Reason) int {
	switch reason {
	case contracts.ReasonRuntimeUnavailable, contracts.ReasonDiskFull:
		return 0
	case contracts.ReasonImagePulling, contracts.ReasonImagePullFailed:
		return 1
	case contracts.ReasonInitRunning, contracts.ReasonInitFailed, contracts.ReasonInitTimeout:
		return 2
	default:
		return 3
	}
}

// settled reports whether it is known how the deployment stands.
func (a *Agent) settled(t *task) bool {
	return t.want == nil || t.hopeless != nil || t.failure != nil || t.progress != nil ||
		t.applied && a.hosts[t.host].began > t.homes[t.host].touched
}
