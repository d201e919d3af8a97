package contracts

import (
	"encoding/hex"
	"time"
)

// MaxMessageBytes bounds the messages and reasons for people in documents.
// Writers Clip what they did not write themselves.
const MaxMessageBytes = 1024

// DeviceReport is what a device runs, sent on change. Reports are not
// acknowledged: the heartbeat carries the last report's sequence, and the
// operator asks again when it lags.
type DeviceReport struct {
	// Sequence rises with every report, across restarts of the agent too. It
	// has at most ten digits, as in a Heartbeat.
	Sequence uint64 `json:"sequence"`
	// AppliedGeneration is the generation of the desired state acted upon; 0
	// before the first one.
	AppliedGeneration uint64 `json:"appliedGeneration"`
	// AppliedDigest is DocumentDigest of that desired state. Two documents can
	// have one generation when a device was registered anew or the store lost
	// data; the digest tells them apart.
	AppliedDigest string `json:"appliedDigest,omitempty"`
	// Deployments are sorted by name, each name once.
	Deployments []DeploymentReport `json:"deployments"`
	// Refused is the last desired state that was not accepted, until a newer
	// one is.
	Refused *Refusal `json:"refused,omitempty"`
	// Upgrade is how far an upgrade of the agent is.
	Upgrade *UpgradeReport `json:"upgrade,omitempty"`
}

// DeploymentReport is one deployment on one device.
type DeploymentReport struct {
	Name DeploymentName `json:"name"`
	// Generation is that of the deployment's spec that was acted upon.
	Generation uint64 `json:"generation"`
	Phase      Phase  `json:"phase"`
	Reason     Reason `json:"reason,omitempty"`
	// Message is for people, at most 1024 bytes; it never holds secrets.
	Message string `json:"message,omitempty"`
	// Since is when phase and reason became what they are, in the device's
	// clock.
	Since    time.Time       `json:"since"`
	Services []ServiceReport `json:"services,omitempty"`
}

// ServiceReport is one service of a deployment.
type ServiceReport struct {
	Name        string       `json:"name"`
	Image       string       `json:"image,omitempty"`
	ImageDigest string       `json:"imageDigest,omitempty"`
	State       ServiceState `json:"state"`
	// Restarts counts since the service's spec last changed.
	Restarts uint64 `json:"restarts,omitempty"`
	// ExitCode is that of the last end, if there was one; 128 and more is a
	// signal.
	ExitCode *int `json:"exitCode,omitempty"`
	// PID is the host's process ID of the main process, if there is one.
	PID int `json:"pid,omitempty"`
}

// Refusal is a desired state that an agent did not accept.
type Refusal struct {
	Reason RefusalReason `json:"reason"`
	// Generation of the refused document, 0 when it could not be read.
	Generation uint64 `json:"generation,omitempty"`
	Message    string `json:"message,omitempty"`
}

// UpgradePhase is how far an upgrade of the agent is.
type UpgradePhase string

// The closed list of upgrade phases.
const (
	UpgradeStaging      UpgradePhase = "Staging"
	UpgradeVerifying    UpgradePhase = "Verifying"
	UpgradeCutoverReady UpgradePhase = "CutoverReady"
	UpgradeConfirmed    UpgradePhase = "Confirmed"
	UpgradeRolledBack   UpgradePhase = "RolledBack"
	UpgradeFailed       UpgradePhase = "Failed"
)

// UpgradeReport is how far an upgrade of the agent is, and to which version.
type UpgradeReport struct {
	Phase   UpgradePhase `json:"phase"`
	Version string       `json:"version"`
	Message string       `json:"message,omitempty"`
}

// Validate checks order, names and closed lists.
func (r DeviceReport) Validate() error {
	if r.Sequence > maxCount {
		return invalid("sequence", "must be at most %d", uint64(maxCount))
	}
	if r.AppliedGeneration > MaxGeneration {
		return invalid("appliedGeneration", "must be at most %d", uint64(MaxGeneration))
	}
	if _, err := hex.DecodeString(r.AppliedDigest); err != nil || len(r.AppliedDigest) > digestLength {
		return invalid("appliedDigest", "must be at most %d hexadecimal digits", digestLength)
	}
	if len(r.Deployments) > maxDeployments {
		return invalid("deployments", "has %d entries, at most %d are allowed", len(r.Deployments), maxDeployments)
	}
	for i, deployment := range r.Deployments {
		if err := deployment.validate(); err != nil {
			return inItem("deployments", i, err)
		}
		if i > 0 && r.Deployments[i-1].Name >= deployment.Name {
			return inItem("deployments", i, invalid("name", "names must be sorted and unique"))
		}
	}
	if r.Refused != nil {
		if err := r.Refused.validate(); err != nil {
			return in("refused", err)
		}
	}
	if r.Upgrade != nil {
		return in("upgrade", r.Upgrade.validate())
	}
	return nil
}

// canonical writes no null for an empty list.
func (r DeviceReport) canonical() Document {
	r.Deployments = nonNil(r.Deployments)
	return r
}

func (d DeploymentReport) validate() error {
	if err := d.Name.Validate(); err != nil {
		return in("name", err)
	}
	if err := checkGeneration("generation", d.Generation); err != nil {
		return err
	}
	if err := d.Phase.Validate(); err != nil {
		return in("phase", err)
	}
	if err := d.Reason.Validate(); err != nil {
		return in("reason", err)
	}
	if err := checkMessage(d.Message); err != nil {
		return err
	}
	if len(d.Services) > 2*maxServices {
		return invalid("services", "has %d entries, at most %d are allowed", len(d.Services), 2*maxServices)
	}
	for i, service := range d.Services {
		if reason := checkLabel(service.Name); reason != "" {
			return inItem("services", i, invalid("name", "%s", reason))
		}
		if err := service.State.Validate(); err != nil {
			return inItem("services", i, in("state", err))
		}
		if err := checkText("image", service.Image, maxImage); err != nil {
			return inItem("services", i, err)
		}
		if err := checkText("imageDigest", service.ImageDigest, maxText); err != nil {
			return inItem("services", i, err)
		}
	}
	return nil
}

func (r Refusal) validate() error {
	if err := r.Reason.Validate(); err != nil {
		return in("reason", err)
	}
	return checkMessage(r.Message)
}

func (u UpgradeReport) validate() error {
	switch u.Phase {
	case UpgradeStaging, UpgradeVerifying, UpgradeCutoverReady, UpgradeConfirmed, UpgradeRolledBack, UpgradeFailed:
	default:
		return invalid("phase", "%q is not a known upgrade phase", u.Phase)
	}
	if err := checkVersion("version", u.Version); err != nil {
		return err
	}
	return checkMessage(u.Message)
}

func checkMessage(message string) error {
	return checkText("message", message, MaxMessageBytes)
}
