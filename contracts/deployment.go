package contracts

import (
	"slices"
	"time"
)

// DeploymentSpec says what runs on which devices and how it gets there.
type DeploymentSpec struct {
	// TargetSelector chooses the devices; it must be written, and the empty
	// selector {} chooses all of them.
	TargetSelector *LabelSelector `json:"targetSelector"`
	Score          ReconcileScore `json:"score"`
	Rollout        Rollout        `json:"rollout,omitzero"`
}

// Validate checks the spec as a person writes it.
func (s DeploymentSpec) Validate() error {
	if s.TargetSelector == nil {
		return invalid("targetSelector", "is required; write {} to choose every device")
	}
	if err := s.TargetSelector.Validate(); err != nil {
		return in("targetSelector", err)
	}
	if err := s.Score.Validate(); err != nil {
		return in("score", err)
	}
	return in("rollout", s.Rollout.Validate())
}

// Origin says who manages a deployment; only its manager may change it.
type Origin string

// Origins. The empty origin is OriginCLI.
const (
	OriginCLI        Origin = "cli"
	OriginKubernetes Origin = "kubernetes"
)

// DeploymentRecord is a deployment as stored. Its score is kept even when this
// version does not know the type.
type DeploymentRecord struct {
	Name DeploymentName `json:"name"`
	// Generation rises by one with every change of the spec, and goes on
	// rising when a deleted name is used again.
	Generation uint64         `json:"generation"`
	Labels     Labels         `json:"labels,omitempty"`
	Origin     Origin         `json:"origin,omitempty"`
	Spec       DeploymentSpec `json:"spec"`
	CreatedAt  time.Time      `json:"createdAt"`
	UpdatedAt  time.Time      `json:"updatedAt"`
	// ChangeCause is for people: who changed it and why.
	ChangeCause string `json:"changeCause,omitempty"`
}

// Validate checks the record but not the score's data, which a newer version
// may have written.
func (d DeploymentRecord) Validate() error {
	if err := d.Name.Validate(); err != nil {
		return in("name", err)
	}
	if err := checkGeneration("generation", d.Generation); err != nil {
		return err
	}
	if err := d.Labels.Validate(); err != nil {
		return in("labels", err)
	}
	switch d.Origin {
	case "", OriginCLI, OriginKubernetes:
	default:
		return invalid("origin", "%q is unknown: use cli or kubernetes", d.Origin)
	}
	if err := checkText("changeCause", d.ChangeCause, MaxMessageBytes); err != nil {
		return err
	}
	if d.Spec.TargetSelector == nil {
		return invalid("spec.targetSelector", "is required")
	}
	if err := d.Spec.TargetSelector.Validate(); err != nil {
		return in("spec.targetSelector", err)
	}
	if err := d.Spec.Score.validateForm(); err != nil {
		return in("spec.score", err)
	}
	return in("spec.rollout", d.Spec.Rollout.Validate())
}

// DeploymentStatus is how far a deployment is, kept apart from its spec.
// Devices are counted once: Pending + Running + Degraded + Failed = Matched.
type DeploymentStatus struct {
	// ObservedGeneration is the spec generation that the counts are about.
	ObservedGeneration uint64 `json:"observedGeneration"`
	// Removing is set once the deployment is deleted and until the last
	// online device no longer has it.
	Removing bool `json:"removing,omitempty"`
	// Matched devices are chosen by the selector and not revoked.
	Matched int `json:"matched"`
	// Updated devices have acted upon the observed generation.
	Updated int `json:"updated"`
	Pending int `json:"pending"`
	// Running devices run the observed generation.
	Running  int `json:"running"`
	Degraded int `json:"degraded"`
	Failed   int `json:"failed"`
	// Offline devices are counted above by what they last said.
	Offline    int         `json:"offline"`
	Conditions []Condition `json:"conditions,omitempty"`
	// Problems are a few devices on which it does not run, worst first.
	Problems  []Problem `json:"problems,omitempty"`
	UpdatedAt time.Time `json:"updatedAt"`
}

// Condition is one aspect of a status, in the Kubernetes convention.
type Condition struct {
	Type               ConditionType   `json:"type"`
	Status             ConditionStatus `json:"status"`
	Reason             string          `json:"reason"`
	Message            string          `json:"message,omitempty"`
	LastTransitionTime time.Time       `json:"lastTransitionTime"`
}

// ConditionType names an aspect.
type ConditionType string

// The conditions of a deployment.
const (
	// ConditionAvailable: it runs on every matched device that is online.
	ConditionAvailable ConditionType = "Available"
	// ConditionProgressing: some matched device that is online is not there yet.
	ConditionProgressing ConditionType = "Progressing"
	// ConditionStalled: no progress without somebody's help.
	ConditionStalled ConditionType = "Stalled"
)

// ConditionStatus is "True", "False" or "Unknown".
type ConditionStatus string

// Condition statuses.
const (
	ConditionTrue    ConditionStatus = "True"
	ConditionFalse   ConditionStatus = "False"
	ConditionUnknown ConditionStatus = "Unknown"
)

// Problem is one device on which a deployment does not run, and why.
type Problem struct {
	Device  DeviceID `json:"device"`
	Phase   Phase    `json:"phase"`
	Reason  Reason   `json:"reason,omitempty"`
	Message string   `json:"message,omitempty"`
}

// MaxProblems bounds the problems in a status.
const MaxProblems = 10

// Condition returns the condition of the given type, Unknown when absent.
func (s DeploymentStatus) Condition(t ConditionType) Condition {
	i := slices.IndexFunc(s.Conditions, func(c Condition) bool { return c.Type == t })
	if i < 0 {
		return Condition{Type: t, Status: ConditionUnknown}
	}
	return s.Conditions[i]
}

// Validate checks counts, conditions and problems.
func (s DeploymentStatus) Validate() error {
	if s.ObservedGeneration > MaxGeneration {
		return invalid("observedGeneration", "must be at most %d", uint64(MaxGeneration))
	}
	counts := []struct {
		field string
		value int
	}{
		{"matched", s.Matched},
		{"updated", s.Updated},
		{"pending", s.Pending},
		{"running", s.Running},
		{"degraded", s.Degraded},
		{"failed", s.Failed},
		{"offline", s.Offline},
	}
	for _, count := range counts {
		if count.value < 0 {
			return invalid(count.field, "must not be negative")
		}
	}
	if len(s.Conditions) > 16 {
		return invalid("conditions", "has %d entries, at most 16 are allowed", len(s.Conditions))
	}
	for i, condition := range s.Conditions {
		if condition.Type == "" {
			return inItem("conditions", i, invalid("type", "must not be empty"))
		}
		switch condition.Status {
		case ConditionTrue, ConditionFalse, ConditionUnknown:
		default:
			return inItem("conditions", i, invalid("status", "%q is unknown: use True, False or Unknown", condition.Status))
		}
	}
	if len(s.Problems) > MaxProblems {
		return invalid("problems", "has %d entries, at most %d are allowed", len(s.Problems), MaxProblems)
	}
	for i, problem := range s.Problems {
		if err := problem.Device.Validate(); err != nil {
			return inItem("problems", i, in("device", err))
		}
		if err := problem.Phase.Validate(); err != nil {
			return inItem("problems", i, in("phase", err))
		}
		if err := problem.Reason.Validate(); err != nil {
			return inItem("problems", i, in("reason", err))
		}
	}
	return nil
}
