package kube

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nationtech/harmony-fleet/adapters/kube/v1alpha1"
	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// Reasons of the conditions of a Deployment, besides those of the fleet.
const (
	reasonInvalid    = "Invalid"          // the fleet cannot take the spec in
	reasonElsewhere  = "ManagedElsewhere" // a deployment of that name was made with the fleet command
	reasonAccepted   = "Accepted"         // taken in; the fleet is about to act
	reasonRemoving   = "Removing"         // deleted, still being stopped
	reasonReadyNot   = "NotReady"         // the fleet does not say why
	removingMessage  = "deleted; it is being removed from the devices"
	acceptedMessage  = "the fleet is about to act upon generation %d"
	untoldConditions = "Unknown"
)

// outcome is what became of a resource's spec.
type outcome struct {
	// stored and status are what the fleet has under the resource's name.
	stored *domain.FleetDeployment
	status *contracts.DeploymentStatus
	// current: what is stored is what the resource says.
	current bool
	// removing: the resource or what is stored was deleted.
	removing bool
	// refused is why the fleet does not take the spec in, with a reason.
	refused, reason string
}

// deploymentStatus is how far a deployment is, in the conventions of
// Kubernetes. It is a function of its arguments alone, so that an operator
// that takes over writes nothing new.
func deploymentStatus(resource *v1alpha1.Deployment, o outcome, now time.Time) v1alpha1.DeploymentStatus {
	shown := &resource.Status
	status := v1alpha1.DeploymentStatus{ObservedGeneration: shown.ObservedGeneration}
	if o.stored != nil {
		status.Origin = string(o.stored.Manager())
	}
	if o.status != nil {
		countsFromDomain(&status, o.status)
	}
	// acted: the counts are about what the resource says now.
	acted := o.current && o.status != nil && o.stored != nil && o.status.ObservedGeneration == o.stored.Generation && !o.status.Removing
	if acted || o.refused != "" || o.removing {
		status.ObservedGeneration = resource.Generation
	}
	about := status.ObservedGeneration
	if old := meta.FindStatusCondition(shown.Conditions, v1alpha1.DeploymentAvailable); o.refused != "" && old != nil {
		about = old.ObservedGeneration // the last spec that the fleet took in
	}
	available := fleetCondition(o.status, contracts.ConditionAvailable, about)
	progressing := fleetCondition(o.status, contracts.ConditionProgressing, about)

	var ready, reconciling, stalled metav1.Condition
	switch {
	case o.removing:
		ready = condition(v1alpha1.DeploymentReady, false, reasonRemoving, removingMessage)
		reconciling = condition(v1alpha1.DeploymentReconciling, true, reasonRemoving, removingMessage)
		stalled = condition(v1alpha1.DeploymentStalled, false, reasonRemoving, "")
	case o.refused != "":
		ready = condition(v1alpha1.DeploymentReady, false, o.reason, o.refused)
		reconciling = condition(v1alpha1.DeploymentReconciling, false, o.reason, "")
		stalled = condition(v1alpha1.DeploymentStalled, true, o.reason, o.refused)
	case !acted:
		message := fmt.Sprintf(acceptedMessage, resource.Generation)
		ready = condition(v1alpha1.DeploymentReady, false, reasonAccepted, message)
		reconciling = condition(v1alpha1.DeploymentReconciling, true, reasonAccepted, message)
		stalled = condition(v1alpha1.DeploymentStalled, false, reasonAccepted, "")
	default:
		stalled = fleetCondition(o.status, contracts.ConditionStalled, resource.Generation)
		reconciling = condition(v1alpha1.DeploymentReconciling, progressing.Status == metav1.ConditionTrue, progressing.Reason, progressing.Message)
		ready = readiness(available, progressing, stalled)
	}
	for _, c := range []*metav1.Condition{&ready, &reconciling, &stalled} {
		c.ObservedGeneration = resource.Generation
	}
	status.Conditions = []metav1.Condition{ready, reconciling, stalled, available, progressing}
	keepTransitions(status.Conditions, shown.Conditions, now)
	return status
}

// readiness sums the fleet's conditions up.
func readiness(available, progressing, stalled metav1.Condition) metav1.Condition {
	ready := metav1.Condition{Type: v1alpha1.DeploymentReady, Status: metav1.ConditionFalse, Reason: reasonReadyNot}
	switch {
	case stalled.Status == metav1.ConditionTrue:
		ready.Reason, ready.Message = stalled.Reason, stalled.Message
	case progressing.Status == metav1.ConditionTrue:
		ready.Reason, ready.Message = progressing.Reason, progressing.Message
	default:
		ready.Status, ready.Reason, ready.Message = available.Status, available.Reason, available.Message
	}
	return ready
}

// fleetCondition returns a condition of the fleet, Unknown when it has none.
func fleetCondition(status *contracts.DeploymentStatus, kind contracts.ConditionType, generation int64) metav1.Condition {
	c := metav1.Condition{Type: string(kind), Status: metav1.ConditionUnknown, Reason: untoldConditions}
	if status != nil {
		c = conditionFromDomain(status.Condition(kind))
	}
	c.ObservedGeneration = generation
	return c
}

func countsFromDomain(to *v1alpha1.DeploymentStatus, from *contracts.DeploymentStatus) {
	to.FleetGeneration = int64(from.ObservedGeneration) //nolint:gosec // at most contracts.MaxGeneration
	to.Ready = fmt.Sprintf("%d/%d", from.Running, from.Matched)
	to.Matched, to.Updated = int64(from.Matched), int64(from.Updated)
	to.Pending, to.Running = int64(from.Pending), int64(from.Running)
	to.Degraded, to.Failed = int64(from.Degraded), int64(from.Failed)
	to.Failing, to.Offline = to.Degraded+to.Failed, int64(from.Offline)
	for _, problem := range from.Problems {
		to.Problems = append(to.Problems, v1alpha1.Problem{
			Device:  string(problem.Device),
			Phase:   string(problem.Phase),
			Reason:  string(problem.Reason),
			Message: problem.Message,
		})
	}
}
