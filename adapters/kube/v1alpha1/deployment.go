package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// Conditions of a Deployment.
const (
	// DeploymentReady: the fleet has taken it in and it runs where it should.
	DeploymentReady = "Ready"
	// DeploymentReconciling: the fleet is on its way to what the spec says.
	DeploymentReconciling = "Reconciling"
	// DeploymentStalled: no progress without somebody's help.
	DeploymentStalled = "Stalled"
	// DeploymentAvailable: it runs on every matched device that is online.
	DeploymentAvailable = "Available"
	// DeploymentProgressing: some matched device that is online is not there yet.
	DeploymentProgressing = "Progressing"
)

// Deployment says what runs on which devices of the fleet. One that was made
// here is taken in by the fleet; one that was made with the fleet command is
// shown here, and edits of it are put back.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Namespaced,shortName=fleetdep,categories=fleet
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.ready`
// +kubebuilder:printcolumn:name="Up-to-date",type=integer,JSONPath=`.status.updated`
// +kubebuilder:printcolumn:name="Failing",type=integer,JSONPath=`.status.failing`
// +kubebuilder:printcolumn:name="Offline",type=integer,JSONPath=`.status.offline`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Origin",type=string,JSONPath=`.status.origin`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Strategy",type=string,priority=1,JSONPath=`.spec.rollout.strategy`
// +kubebuilder:printcolumn:name="Score",type=string,priority=1,JSONPath=`.spec.score.type`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63 && !self.metadata.name.contains('.')",message="metadata.name must be a DNS-1123 label: at most 63 lower-case letters, digits and inner hyphens"
type Deployment struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   DeploymentSpec   `json:"spec"`
	Status DeploymentStatus `json:"status,omitempty"`
}

// DeploymentList is a list of deployments.
//
// +kubebuilder:object:root=true
type DeploymentList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Deployment `json:"items"`
}

// DeploymentSpec says what runs on which devices and how it gets there.
type DeploymentSpec struct {
	// TargetSelector chooses the devices; {} chooses all of them.
	TargetSelector LabelSelector `json:"targetSelector"`
	Score          Score         `json:"score"`
	// +optional
	Rollout *Rollout `json:"rollout,omitempty"`
}

// LabelValue is the value of a label.
//
// +kubebuilder:validation:Pattern=`^(([A-Za-z0-9][A-Za-z0-9_.-]{0,61})?[A-Za-z0-9])?$`
type LabelValue string

// LabelSelector chooses devices by their labels: all of matchLabels and all of
// matchExpressions must hold.
type LabelSelector struct {
	// +optional
	MatchLabels map[string]LabelValue `json:"matchLabels,omitempty"`
	// +optional
	// +listType=atomic
	MatchExpressions []SelectorRequirement `json:"matchExpressions,omitempty"`
}

// SelectorRequirement is one condition on one label.
//
// +kubebuilder:validation:XValidation:rule="self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : !has(self.values) || size(self.values) == 0",message="In and NotIn need values, Exists and DoesNotExist must have none"
type SelectorRequirement struct {
	// +kubebuilder:validation:Pattern=`^([a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*/)?([A-Za-z0-9][A-Za-z0-9_.-]{0,61})?[A-Za-z0-9]$`
	Key string `json:"key"`
	// +kubebuilder:validation:Enum=In;NotIn;Exists;DoesNotExist
	Operator string `json:"operator"`
	// +optional
	// +listType=atomic
	Values []LabelValue `json:"values,omitempty"`
}

// Duration is a length of time with a unit, such as 30s or 1h30m.
//
// +kubebuilder:validation:Pattern=`^[-+]?(0|(([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h))+)$`
type Duration string

// Rollout says how a new spec reaches the devices.
//
// +kubebuilder:validation:XValidation:rule="!has(self.maxUnavailable) || (type(self.maxUnavailable) == int ? self.maxUnavailable >= 0 && self.maxUnavailable <= 2147483647 : string(self.maxUnavailable).size() <= 10 && string(self.maxUnavailable).matches('^(0|[1-9][0-9]*|([0-9]|[1-9][0-9]|100)%)?$'))",message="maxUnavailable must be a number of devices, or a percentage such as 10%"
// +kubebuilder:validation:XValidation:rule="!has(self.maxFailures) || (type(self.maxFailures) == int ? self.maxFailures >= 0 && self.maxFailures <= 2147483647 : string(self.maxFailures).size() <= 10 && string(self.maxFailures).matches('^(0|[1-9][0-9]*|([0-9]|[1-9][0-9]|100)%)?$'))",message="maxFailures must be a number of devices, or a percentage such as 10%"
type Rollout struct {
	// Strategy is AllAtOnce (default), Rolling or Staged.
	// +optional
	// +kubebuilder:validation:Enum="";AllAtOnce;Rolling;Staged
	Strategy string `json:"strategy,omitempty"`
	// MaxUnavailable is the most devices not available at a time, as a number or
	// a percentage.
	// +optional
	MaxUnavailable *intstr.IntOrString `json:"maxUnavailable,omitempty"`
	// MinReady is how long a device must run before it counts as available.
	// +optional
	MinReady Duration `json:"minReady,omitempty"`
	// ProgressDeadline is the longest time without progress.
	// +optional
	ProgressDeadline Duration `json:"progressDeadline,omitempty"`
	// MaxFailures is the most failed devices before onFailure is done.
	// +optional
	MaxFailures *intstr.IntOrString `json:"maxFailures,omitempty"`
	// OnFailure is Pause (default) or Rollback.
	// +optional
	// +kubebuilder:validation:Enum="";Pause;Rollback
	OnFailure string `json:"onFailure,omitempty"`
}

// DeploymentStatus is how far a deployment is. Devices are counted once:
// pending + running + degraded + failed = matched.
type DeploymentStatus struct {
	// ObservedGeneration is the generation of this resource that the counts are about.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// FleetGeneration is the same as the fleet counts it, across deletions.
	// +optional
	FleetGeneration int64 `json:"fleetGeneration,omitempty"`
	// Origin says who manages the deployment: cli or kubernetes.
	// +optional
	Origin string `json:"origin,omitempty"`
	// Ready is how many of the matched devices run it, such as 3/5.
	// +optional
	Ready string `json:"ready,omitempty"`
	// Matched devices are chosen by the selector and not revoked.
	// +optional
	Matched int64 `json:"matched"`
	// Updated devices have acted upon the observed generation.
	// +optional
	Updated int64 `json:"updated"`
	// +optional
	Pending int64 `json:"pending"`
	// Running devices run the observed generation.
	// +optional
	Running int64 `json:"running"`
	// +optional
	Degraded int64 `json:"degraded"`
	// +optional
	Failed int64 `json:"failed"`
	// Failing is degraded + failed.
	// +optional
	Failing int64 `json:"failing"`
	// Offline devices are counted above by what they last said.
	// +optional
	Offline int64 `json:"offline"`
	// Problems are a few devices on which it does not run, worst first.
	// +optional
	// +listType=atomic
	Problems []Problem `json:"problems,omitempty"`
	// Conditions are Ready, Reconciling, Stalled, Available and Progressing.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Problem is one device on which a deployment does not run, and why.
type Problem struct {
	Device string `json:"device"`
	Phase  string `json:"phase"`
	// +optional
	Reason string `json:"reason,omitempty"`
	// +optional
	Message string `json:"message,omitempty"`
}
