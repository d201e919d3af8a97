package kube

import (
	"fmt"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/nationtech/harmony-fleet/adapters/kube/v1alpha1"
	"github.com/nationtech/harmony-fleet/contracts"
)

// Reasons of the conditions of a Device.
const (
	reasonOnline       = "Online"      // heard of lately
	reasonOffline      = "Offline"     // silent for longer than three heartbeats
	reasonNeverSeen    = "NeverSeen"   // registered, and never connected
	reasonUnknown      = "Unknown"     // the operator itself has just begun to listen
	reasonRevoked      = "Revoked"     // may not connect
	reasonRefused      = "Refused"     // did not accept its desired state
	reasonFailing      = "Failing"     // not all of its deployments run
	reasonStarting     = "Starting"    // its deployments are on their way
	reasonRunning      = "Running"     // all of its deployments run
	reasonNoWorkloads  = "NoWorkloads" // it has none
	reasonNotYetHeard  = "NotYetHeard" // it has not said what it runs
	maxConditionDetail = 512           // keeps a condition's text short
	separator          = "; "          // between the parts of a text
	unknownMessage     = "not heard of since the operator began to listen"
	revokedMessage     = "revoked: it may not connect and takes part in no rollout"
	neverSeenMessage   = "registered; it has never connected"
	noReportYetMessage = "it has not said what it runs"
)

// deviceSpec is what people and the enrollment decided.
func deviceSpec(d *device) v1alpha1.DeviceSpec {
	spec := v1alpha1.DeviceSpec{Revoked: d.record.Revoked, Enrolled: d.record.PublicKey != ""}
	if !d.record.RegisteredAt.IsZero() {
		spec.RegisteredAt = &metav1.Time{Time: d.record.RegisteredAt.UTC().Truncate(time.Second)}
	}
	return spec
}

// deviceStatus is what is known from what the device said. shown is the status
// that the resource has.
func deviceStatus(d *device, shown *v1alpha1.DeviceStatus, generation int64, now time.Time) v1alpha1.DeviceStatus {
	status := v1alpha1.DeviceStatus{ObservedGeneration: generation}
	if d.info != nil {
		status.AgentVersion = d.info.AgentVersion
		status.Inventory = inventoryFromDomain(d.info.Inventory)
	}
	running := 0
	if d.report != nil {
		for _, deployment := range d.report.Deployments {
			if deployment.Phase == contracts.PhaseRunning {
				running++
			}
			status.Deployments = append(status.Deployments, v1alpha1.DeviceDeployment{
				Name:       string(deployment.Name),
				Generation: int64(deployment.Generation), //nolint:gosec // at most contracts.MaxGeneration
				Phase:      string(deployment.Phase),
				Reason:     string(deployment.Reason),
				Message:    deployment.Message,
			})
		}
		status.Workloads = fmt.Sprintf("%d/%d", running, len(d.report.Deployments))
		if refused := d.report.Refused; refused != nil {
			status.Refused = &v1alpha1.Refusal{
				Reason:     string(refused.Reason),
				Generation: int64(min(refused.Generation, contracts.MaxGeneration)), //nolint:gosec // bounded
				Message:    refused.Message,
			}
		}
		if upgrade := d.report.Upgrade; upgrade != nil {
			status.Upgrade = &v1alpha1.Upgrade{Phase: string(upgrade.Phase), Version: upgrade.Version, Message: upgrade.Message}
		}
	}
	online := onlineCondition(d, shown)
	status.Conditions = []metav1.Condition{online, readyCondition(d, online)}
	for i := range status.Conditions {
		status.Conditions[i].ObservedGeneration = generation
	}
	keepTransitions(status.Conditions, shown.Conditions, now)
	return status
}

// onlineCondition is what is shown already while nobody can tell.
func onlineCondition(d *device, shown *v1alpha1.DeviceStatus) metav1.Condition {
	const kind = v1alpha1.DeviceOnline
	switch {
	case d.record.Revoked:
		return condition(kind, false, reasonRevoked, revokedMessage)
	case d.liveness == livenessOnline:
		return condition(kind, true, reasonOnline, "")
	case d.liveness == livenessUnknown:
		if old := meta.FindStatusCondition(shown.Conditions, kind); old != nil {
			return *old
		}
		c := condition(kind, false, reasonUnknown, unknownMessage)
		c.Status = metav1.ConditionUnknown
		return c
	case d.seenAt.IsZero() && d.report == nil && d.info == nil:
		return condition(kind, false, reasonNeverSeen, neverSeenMessage)
	default:
		// When it was last heard of is when this condition changed, less the
		// patience: a time in the text would be one more write for nothing.
		return condition(kind, false, reasonOffline, "it was not heard of for longer than three heartbeats; its workloads go on by themselves")
	}
}

// readyCondition answers the first question of whoever is on call: is the
// device there, and does it run what it should; if not, why.
func readyCondition(d *device, online metav1.Condition) metav1.Condition {
	const kind = v1alpha1.DeviceReady
	switch {
	case online.Status != metav1.ConditionTrue:
		return metav1.Condition{Type: kind, Status: online.Status, Reason: online.Reason, Message: online.Message}
	case d.report == nil:
		return condition(kind, false, reasonNotYetHeard, noReportYetMessage)
	case d.report.Refused != nil:
		return condition(kind, false, reasonRefused, contracts.Clip(
			"it did not accept its desired state: "+string(d.report.Refused.Reason)+": "+d.report.Refused.Message, maxConditionDetail))
	case len(d.report.Deployments) == 0:
		return condition(kind, true, reasonNoWorkloads, "")
	}
	var failing, starting []string
	for _, deployment := range d.report.Deployments {
		text := string(deployment.Name) + " " + string(deployment.Phase)
		if deployment.Reason != "" {
			text += " " + string(deployment.Reason)
		}
		switch deployment.Phase {
		case contracts.PhaseRunning:
		case contracts.PhaseDegraded, contracts.PhaseFailed:
			if deployment.Message != "" {
				text += ": " + deployment.Message
			}
			failing = append(failing, text)
		case contracts.PhasePending, contracts.PhaseRemoving:
			starting = append(starting, text)
		}
	}
	switch {
	case len(failing) > 0:
		return condition(kind, false, reasonFailing, contracts.Clip(strings.Join(failing, separator), maxConditionDetail))
	case len(starting) > 0:
		return condition(kind, false, reasonStarting, contracts.Clip(strings.Join(starting, separator), maxConditionDetail))
	default:
		return condition(kind, true, reasonRunning, "")
	}
}

func inventoryFromDomain(i contracts.Inventory) *v1alpha1.Inventory {
	return &v1alpha1.Inventory{
		Hostname:     i.Hostname,
		OS:           i.OS,
		Kernel:       i.Kernel,
		Architecture: i.Architecture,
		CPUs:         int64(i.CPUs),
		MemoryBytes:  i.MemoryBytes,
		DiskBytes:    i.DiskBytes,
		MachineID:    i.MachineID,
		Serial:       i.Serial,
		Model:        i.Model,
		Runtimes:     i.Runtimes,
	}
}
