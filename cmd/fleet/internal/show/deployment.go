package show

import (
	"cmp"
	"slices"
	"time"

	"github.com/nationtech/harmony-fleet/cmd/fleet/internal/live"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// DeploymentState says at a glance how a deployment is.
type DeploymentState string

// The states of a deployment.
const (
	// StateAvailable: it runs on every matched device that is online.
	StateAvailable DeploymentState = "Available"
	// StateProgressing: some of them are on their way.
	StateProgressing DeploymentState = "Progressing"
	// StateStalled: none is on its way, and not all run it.
	StateStalled DeploymentState = "Stalled"
	// StateOffline: no matched device is online.
	StateOffline DeploymentState = "Offline"
	// StateNoDevices: the selector chooses no device.
	StateNoDevices DeploymentState = "NoDevices"
	// StateWaiting: the operator has not acted upon the current generation.
	StateWaiting DeploymentState = "Waiting"
	// StateRemoving: deleted, and devices still have it.
	StateRemoving DeploymentState = "Removing"
	// StateDeleted is shown by a watch alone.
	StateDeleted DeploymentState = "Deleted"
)

// DeploymentStates returns all states, the healthy one first.
func DeploymentStates() []DeploymentState {
	return []DeploymentState{
		StateAvailable, StateProgressing, StateStalled, StateOffline,
		StateNoDevices, StateWaiting, StateRemoving,
	}
}

// Deployment is one deployment.
type Deployment struct {
	Name        string            `json:"name"`
	State       DeploymentState   `json:"state"`
	Generation  uint64            `json:"generation,omitempty"`
	Labels      map[string]string `json:"labels"`
	Origin      string            `json:"origin,omitempty"`
	ChangeCause string            `json:"changeCause,omitempty"`
	CreatedAt   *time.Time        `json:"createdAt,omitempty"`
	UpdatedAt   *time.Time        `json:"updatedAt,omitempty"`
	// Spec is that of the manifest; absent once deleted.
	Spec *contracts.DeploymentSpec `json:"spec,omitempty"`
	// Status is what the operator said last; absent before it said anything.
	Status *DeploymentStatus `json:"status,omitempty"`
}

// DeploymentStatus counts devices: pending + running + degraded + failed =
// targeted; offline ones are counted by what they last said.
type DeploymentStatus struct {
	ObservedGeneration uint64      `json:"observedGeneration"`
	Targeted           int         `json:"targeted"`
	Updated            int         `json:"updated"`
	Pending            int         `json:"pending"`
	Running            int         `json:"running"`
	Degraded           int         `json:"degraded"`
	Failed             int         `json:"failed"`
	Offline            int         `json:"offline"`
	Conditions         []Condition `json:"conditions"`
	Problems           []Problem   `json:"problems"`
	UpdatedAt          *time.Time  `json:"updatedAt,omitempty"`
}

// Condition is one aspect of a status, in the Kubernetes convention.
type Condition struct {
	Type               string    `json:"type"`
	Status             string    `json:"status"`
	Reason             string    `json:"reason"`
	Message            string    `json:"message,omitempty"`
	LastTransitionTime time.Time `json:"lastTransitionTime"`
}

// Problem is one device on which a deployment does not run, and why.
type Problem struct {
	Device  string `json:"device"`
	Phase   string `json:"phase"`
	Reason  string `json:"reason,omitempty"`
	Message string `json:"message,omitempty"`
}

// Deployments returns all deployments of a snapshot by name, those that are
// being removed included.
func Deployments(snapshot *live.Snapshot) []Deployment {
	var all []Deployment
	for name, stored := range snapshot.Deployments {
		d := NewDeployment(stored)
		if status, ok := snapshot.Statuses[name]; ok {
			d.Status = deploymentStatus(status)
		}
		d.State = stateOf(stored, snapshot.Statuses[name])
		all = append(all, d)
	}
	for name, status := range snapshot.Statuses {
		if _, ok := snapshot.Deployments[name]; !ok {
			all = append(all, Deployment{Name: string(name), State: StateRemoving, Labels: map[string]string{}, Status: deploymentStatus(status)})
		}
	}
	slices.SortFunc(all, func(a, b Deployment) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// NewDeployment returns what is stored of a deployment, without its status.
func NewDeployment(stored domain.FleetDeployment) Deployment {
	labels := map[string]string(stored.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	return Deployment{
		Name: string(stored.Name), Generation: stored.Generation, Labels: labels, State: StateWaiting,
		Origin:      string(cmp.Or(stored.Origin, contracts.OriginCLI)),
		ChangeCause: stored.ChangeCause,
		CreatedAt:   timeOrNil(stored.CreatedAt), UpdatedAt: timeOrNil(stored.UpdatedAt),
		Spec: &stored.Spec,
	}
}

func stateOf(stored domain.FleetDeployment, status contracts.DeploymentStatus) DeploymentState {
	is := func(t contracts.ConditionType) bool { return status.Condition(t).Status == contracts.ConditionTrue }
	switch {
	case status.ObservedGeneration < stored.Generation, status.Removing:
		return StateWaiting
	case is(contracts.ConditionStalled):
		return StateStalled
	case is(contracts.ConditionProgressing):
		return StateProgressing
	case status.Matched == 0:
		return StateNoDevices
	case status.Offline >= status.Matched:
		return StateOffline
	case is(contracts.ConditionAvailable):
		return StateAvailable
	default:
		return StateProgressing
	}
}

func deploymentStatus(s contracts.DeploymentStatus) *DeploymentStatus {
	status := &DeploymentStatus{
		ObservedGeneration: s.ObservedGeneration, Targeted: s.Matched, Updated: s.Updated, Pending: s.Pending,
		Running: s.Running, Degraded: s.Degraded, Failed: s.Failed, Offline: s.Offline,
		Conditions: []Condition{}, Problems: []Problem{}, UpdatedAt: timeOrNil(s.UpdatedAt),
	}
	for _, c := range s.Conditions {
		status.Conditions = append(status.Conditions, Condition{
			Type: string(c.Type), Status: string(c.Status), Reason: c.Reason, Message: c.Message,
			LastTransitionTime: c.LastTransitionTime.UTC(),
		})
	}
	for _, p := range s.Problems {
		status.Problems = append(status.Problems, Problem{
			Device: string(p.Device), Phase: string(p.Phase), Reason: string(p.Reason), Message: p.Message,
		})
	}
	return status
}
