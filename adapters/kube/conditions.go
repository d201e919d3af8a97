package kube

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nationtech/harmony-fleet/contracts"
)

// condition returns a condition that holds or not.
func condition(kind string, holds bool, reason, message string) metav1.Condition {
	status := metav1.ConditionFalse
	if holds {
		status = metav1.ConditionTrue
	}
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message}
}

// conditionFromDomain returns a condition as the fleet has it. Kubernetes asks
// for a reason.
func conditionFromDomain(c contracts.Condition) metav1.Condition {
	reason := c.Reason
	if reason == "" {
		reason = "Unknown"
	}
	return metav1.Condition{
		Type:               string(c.Type),
		Status:             metav1.ConditionStatus(c.Status),
		Reason:             reason,
		Message:            c.Message,
		LastTransitionTime: metav1.Time{Time: c.LastTransitionTime.Truncate(time.Second)},
	}
}

// keepTransitions gives each condition the time at which its status became what
// it is: the shown one while the status is the same, else its own, else now. So
// an unchanged status stays the same to the byte.
func keepTransitions(conditions, shown []metav1.Condition, now time.Time) {
	for i := range conditions {
		c := &conditions[i]
		if old := meta.FindStatusCondition(shown, c.Type); old != nil && old.Status == c.Status {
			c.LastTransitionTime = old.LastTransitionTime
		}
		if c.LastTransitionTime.IsZero() {
			c.LastTransitionTime = metav1.Time{Time: now.UTC().Truncate(time.Second)}
		}
	}
}
