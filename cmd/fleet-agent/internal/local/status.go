// Package local lets people on the device ask the running agent how it is, over
// a unix socket in its state directory.
package local

import (
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain/agent"
)

// Status is what `fleet-agent status -o json` prints. Times that never were are
// left out.
type Status struct {
	Device contracts.DeviceID `json:"device"`
	// Running is false when the daemon did not answer: then only what lies on
	// disk is told, and the phases are those last reported.
	Running     bool      `json:"running"`
	Version     string    `json:"version,omitempty"`
	StartedAt   time.Time `json:"startedAt,omitzero"`
	TrustedKeys []string  `json:"trustedKeys"`
	// Identity is that of an enrolled device.
	Identity *Identity `json:"identity,omitempty"`
	// Link is absent when the daemon does not run.
	Link *Link `json:"link,omitempty"`
	// DesiredGeneration is that of the desired state held, 0 for none.
	DesiredGeneration uint64 `json:"desiredGeneration"`
	// DesiredProblem is why the copy on disk is missing or not used.
	DesiredProblem  string             `json:"desiredProblem,omitempty"`
	Refused         *contracts.Refusal `json:"refused,omitempty"`
	LastHeartbeatAt time.Time          `json:"lastHeartbeatAt,omitzero"`
	LastReportAt    time.Time          `json:"lastReportAt,omitzero"`
	ReportSequence  uint64             `json:"reportSequence,omitempty"`
	// Deployments are sorted by name.
	Deployments []Deployment `json:"deployments"`
	Runtimes    []Runtime    `json:"runtimes"`
}

// Identity is who the device is to its identity provider.
type Identity struct {
	Issuer string `json:"issuer"`
	UserID string `json:"userID"`
	KeyID  string `json:"keyID"`
	// KeyExpiresAt is when the provider stops accepting the device's key.
	KeyExpiresAt time.Time `json:"keyExpiresAt,omitzero"`
}

// Link is the connection to the broker.
type Link struct {
	Connected bool      `json:"connected"`
	Server    string    `json:"server,omitempty"`
	Since     time.Time `json:"since,omitzero"`
	Problem   string    `json:"problem,omitempty"`
}

// Deployment is one deployment on this device.
type Deployment struct {
	Name string `json:"name"`
	// Generation is the desired one; AppliedGeneration that of what is on the
	// host, 0 for nothing, and absent when the daemon does not run.
	Generation        uint64           `json:"generation"`
	AppliedGeneration *uint64          `json:"appliedGeneration,omitempty"`
	Phase             contracts.Phase  `json:"phase,omitempty"`
	Reason            contracts.Reason `json:"reason,omitempty"`
	Message           string           `json:"message,omitempty"`
	Since             time.Time        `json:"since,omitzero"`
	// Restarts is the sum over the services.
	Restarts uint64 `json:"restarts"`
	// Failures counts the failed attempts in a row; NextRetry is when the next
	// one is planned.
	Failures  int                       `json:"failures,omitempty"`
	NextRetry time.Time                 `json:"nextRetry,omitzero"`
	Services  []contracts.ServiceReport `json:"services,omitempty"`
}

// Runtime is one workload runtime of the host.
type Runtime struct {
	Name string `json:"name"`
	// SeenAt is when its workloads were last listed.
	SeenAt  time.Time `json:"seenAt,omitzero"`
	Problem string    `json:"problem,omitempty"`
}

// FromAgent is the view of a running agent.
func FromAgent(s agent.Status) Status {
	view := Status{
		Device:            s.Device,
		Running:           true,
		Version:           s.Version,
		StartedAt:         s.StartedAt,
		TrustedKeys:       append([]string{}, s.TrustedKeys...),
		Link:              &Link{Connected: s.Link.Connected, Server: s.Link.Server, Since: s.Link.Since, Problem: s.Link.Problem},
		DesiredGeneration: s.DesiredGeneration,
		DesiredProblem:    s.DesiredProblem,
		Refused:           s.Refused,
		LastHeartbeatAt:   s.LastHeartbeatAt,
		LastReportAt:      s.LastReportAt,
		ReportSequence:    s.ReportSequence,
		Deployments:       make([]Deployment, 0, len(s.Deployments)),
		Runtimes:          make([]Runtime, 0, len(s.Runtimes)),
	}
	for _, d := range s.Deployments {
		deployment := fromReport(d.DeploymentReport)
		deployment.AppliedGeneration = &d.AppliedGeneration
		deployment.Failures, deployment.NextRetry = d.Failures, d.NextRetry
		view.Deployments = append(view.Deployments, deployment)
	}
	for _, r := range s.Runtimes {
		view.Runtimes = append(view.Runtimes, Runtime{Name: r.Name, SeenAt: r.SeenAt, Problem: r.Problem})
	}
	return view
}

func fromReport(report contracts.DeploymentReport) Deployment {
	deployment := Deployment{
		Name:       string(report.Name),
		Generation: report.Generation,
		Phase:      report.Phase,
		Reason:     report.Reason,
		Message:    report.Message,
		Since:      report.Since,
		Services:   report.Services,
	}
	for _, service := range report.Services {
		deployment.Restarts += service.Restarts
	}
	return deployment
}
