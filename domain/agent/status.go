package agent

import (
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// Status is what the agent knows, for people on the device. It holds no secrets.
type Status struct {
	Device  contracts.DeviceID
	Version string
	// TrustedKeys are the IDs of the pinned keys.
	TrustedKeys []string
	StartedAt   time.Time
	Link        domain.LinkState
	// DesiredGeneration is that of the desired state held, 0 for none.
	DesiredGeneration uint64
	// DesiredProblem says why the copy on disk is missing or not used; empty when
	// all is well.
	DesiredProblem    string
	Refused           *contracts.Refusal
	HeartbeatInterval time.Duration
	// LastHeartbeatAt and LastReportAt are zero before the first was sent.
	LastHeartbeatAt time.Time
	LastReportAt    time.Time
	ReportSequence  uint64
	// Deployments are sorted by name.
	Deployments []DeploymentStatus
	Runtimes    []RuntimeStatus
}

// DeploymentStatus is one deployment on this device. The Generation of the report
// is the desired one, the last desired one of a deployment that is removed.
type DeploymentStatus struct {
	contracts.DeploymentReport
	// AppliedGeneration is that of what is on the host, 0 for nothing.
	AppliedGeneration uint64
	// Failures counts the failed attempts in a row.
	Failures int
	// NextRetry is when the next attempt is, zero when none is planned.
	NextRetry time.Time
}

// RuntimeStatus is one workload runtime of this host.
type RuntimeStatus struct {
	Name string
	// SeenAt is when its workloads were last listed, zero for never.
	SeenAt time.Time
	// Problem is why the last look failed; empty when it did not.
	Problem string
}

// Status returns what the agent knows now. It does not block for anything outside
// the process and may be called from any goroutine, before Run and after it too.
func (a *Agent) Status() Status {
	a.mu.Lock()
	defer a.mu.Unlock()
	status := Status{
		Device:            a.identity.Device,
		Version:           a.options.Version,
		StartedAt:         a.startedAt,
		Link:              a.linkState,
		DesiredGeneration: a.generation(),
		DesiredProblem:    a.diskProblem,
		Refused:           a.refused,
		HeartbeatInterval: a.heartbeatInterval(),
		LastHeartbeatAt:   a.lastBeat,
		LastReportAt:      a.sentAt,
		ReportSequence:    a.sent,
	}
	for _, key := range a.identity.TrustedKeys {
		status.TrustedKeys = append(status.TrustedKeys, contracts.KeyID(key))
	}
	for _, report := range a.compose(time.Now()).Deployments {
		status.Deployments = append(status.Deployments, a.deploymentStatus(report))
	}
	for _, h := range a.hosts {
		runtime := RuntimeStatus{Name: h.runtime.Name(), SeenAt: h.seenAt}
		if h.err != nil {
			runtime.Problem = h.err.Error()
		}
		status.Runtimes = append(status.Runtimes, runtime)
	}
	return status
}

func (a *Agent) deploymentStatus(report contracts.DeploymentReport) DeploymentStatus {
	t := a.tasks[report.Name]
	status := DeploymentStatus{DeploymentReport: report, Failures: t.failures, NextRetry: t.retryAt}
	if found, there := a.status(t); there {
		status.AppliedGeneration = found.Generation
	}
	return status
}
