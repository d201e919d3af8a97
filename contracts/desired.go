package contracts

import "time"

const (
	maxDeployments = 256
	// MaxGeneration bounds generations, so that none can be chosen from which
	// no higher one exists, and so that every JSON reader holds them exactly.
	MaxGeneration = 1<<53 - 1

	// DefaultHeartbeatInterval is used before the first desired state and by an
	// operator that is told no other.
	DefaultHeartbeatInterval = Duration(30 * time.Second)
)

// DesiredState is everything one device shall run: one document, one
// signature, one revision. The operator's output is byte-deterministic, so an
// unchanged document is never written again.
type DesiredState struct {
	Device DeviceID `json:"device"`
	// Generation rises by at least one with every change of the document.
	Generation uint64 `json:"generation"`
	// Deployments are sorted by name, each name once.
	Deployments []DesiredDeployment `json:"deployments"`
	// AgentVersion is the version the agent shall run; empty means no wish.
	AgentVersion string `json:"agentVersion,omitempty"`
	// HeartbeatInterval is the mean time between heartbeats, 1s to 1h.
	HeartbeatInterval Duration `json:"heartbeatInterval"`
}

// DesiredDeployment is one deployment's share of a desired state.
type DesiredDeployment struct {
	Name DeploymentName `json:"name"`
	// Generation is that of the deployment's spec.
	Generation uint64 `json:"generation"`
	// Score is expanded for this device. It is not checked on decode: a score
	// that one agent cannot read fails that deployment alone.
	Score ReconcileScore `json:"score"`
}

// Validate checks the document but not the scores in it.
func (d DesiredState) Validate() error {
	if err := d.Device.Validate(); err != nil {
		return in("device", err)
	}
	if err := checkGeneration("generation", d.Generation); err != nil {
		return err
	}
	if len(d.Deployments) > maxDeployments {
		return invalid("deployments", "has %d entries, at most %d are allowed", len(d.Deployments), maxDeployments)
	}
	for i, deployment := range d.Deployments {
		if err := deployment.validate(); err != nil {
			return inItem("deployments", i, err)
		}
		if i > 0 && d.Deployments[i-1].Name >= deployment.Name {
			return inItem("deployments", i, invalid("name", "names must be sorted and unique"))
		}
	}
	if err := checkVersion("agentVersion", d.AgentVersion); err != nil {
		return err
	}
	return checkDuration("heartbeatInterval", d.HeartbeatInterval, time.Second, time.Hour)
}

// canonical writes no null for an empty list.
func (d DesiredState) canonical() Document {
	d.Deployments = nonNil(d.Deployments)
	return d
}

func (d DesiredDeployment) validate() error {
	if err := d.Name.Validate(); err != nil {
		return in("name", err)
	}
	if err := checkGeneration("generation", d.Generation); err != nil {
		return err
	}
	return in("score", d.Score.validateForm())
}

func checkGeneration(field string, generation uint64) error {
	if generation == 0 || generation > MaxGeneration {
		return invalid(field, "must be from 1 to %d", uint64(MaxGeneration))
	}
	return nil
}

// maxVersionLength keeps the longest heartbeat below MaxHeartbeatBytes.
const maxVersionLength = 28

// checkVersion accepts "" and 1 to 28 letters, digits, '.', '-' and '+'.
func checkVersion(field, version string) error {
	if len(version) > maxVersionLength {
		return invalid(field, "must be at most %d bytes", maxVersionLength)
	}
	for i := range len(version) {
		if c := version[i]; !isAlphanumeric(c) && c != '.' && c != '-' && c != '+' {
			return invalid(field, "must be letters, digits, '.', '-' and '+'")
		}
	}
	return nil
}
