package contracts

import (
	"slices"
	"time"
)

// EventKind names what happened.
type EventKind string

// The closed list of event kinds.
const (
	EventDeviceOnline        EventKind = "DeviceOnline"
	EventDeviceOffline       EventKind = "DeviceOffline"
	EventDeviceRegistered    EventKind = "DeviceRegistered"
	EventDeviceRemoved       EventKind = "DeviceRemoved"
	EventDeviceEnrolled      EventKind = "DeviceEnrolled"
	EventDeviceRevoked       EventKind = "DeviceRevoked"
	EventDeviceRestored      EventKind = "DeviceRestored"
	EventEnrollmentRequested EventKind = "EnrollmentRequested"
	EventEnrollmentApproved  EventKind = "EnrollmentApproved"
	EventEnrollmentDenied    EventKind = "EnrollmentDenied"
	EventEnrollmentRefused   EventKind = "EnrollmentRefused"
	EventDeviceKeyRotated    EventKind = "DeviceKeyRotated"
	EventAccessDenied        EventKind = "AccessDenied"
	EventDesiredStateRefused EventKind = "DesiredStateRefused"
	EventDesiredStateLost    EventKind = "DesiredStateLost"
	EventDeploymentApplied   EventKind = "DeploymentApplied"
	EventDeploymentDeleted   EventKind = "DeploymentDeleted"
	EventDeploymentRemoved   EventKind = "DeploymentRemoved"
	EventRolloutComplete     EventKind = "RolloutComplete"
	EventWorkloadFailed      EventKind = "WorkloadFailed"
	EventWorkloadRecovered   EventKind = "WorkloadRecovered"
	EventCommandExecuted     EventKind = "CommandExecuted"
)

// EventKinds returns the closed list of event kinds.
func EventKinds() []EventKind {
	return []EventKind{
		EventDeviceOnline, EventDeviceOffline, EventDeviceRegistered, EventDeviceRemoved,
		EventDeviceEnrolled, EventDeviceRevoked, EventDeviceRestored,
		EventEnrollmentRequested, EventEnrollmentApproved, EventEnrollmentDenied,
		EventEnrollmentRefused, EventDeviceKeyRotated,
		EventAccessDenied, EventDesiredStateRefused, EventDesiredStateLost,
		EventDeploymentApplied, EventDeploymentDeleted, EventDeploymentRemoved,
		EventRolloutComplete, EventWorkloadFailed, EventWorkloadRecovered,
		EventCommandExecuted,
	}
}

// Validate accepts the kinds of the closed list.
func (k EventKind) Validate() error {
	if slices.Contains(EventKinds(), k) {
		return nil
	}
	return invalid("", "%q is not a known event kind", k)
}

// Event is one thing that happened, for the audit.
type Event struct {
	Time time.Time `json:"time"`
	Kind EventKind `json:"kind"`
	// Device and Deployment say what it happened to; at least one is set, but in
	// a refusal of somebody who is not known to be a device.
	Device     DeviceID       `json:"device,omitempty"`
	Deployment DeploymentName `json:"deployment,omitempty"`
	// Reason is one word, such as a Reason or a RefusalReason.
	Reason string `json:"reason,omitempty"`
	// Message is for people; it never holds secrets.
	Message string `json:"message,omitempty"`
	// Actor is who caused it: "operator", "cli:<user>", "device".
	Actor string `json:"actor,omitempty"`
}

// aboutNobody is the last token of the subject of an event about a stranger.
const aboutNobody = "unknown"

// About returns the last token of the event's subject: the device, or the
// deployment when no device is concerned, or "unknown".
func (e Event) About() string {
	switch {
	case e.Device != "":
		return string(e.Device)
	case e.Deployment != "":
		return string(e.Deployment)
	default:
		return aboutNobody
	}
}

// mayBeAboutNobody holds for refusals: whom they refused may be unknown.
func (k EventKind) mayBeAboutNobody() bool {
	return k == EventAccessDenied || k == EventEnrollmentRefused
}

// Validate checks the kind, the names and the length of texts.
func (e Event) Validate() error {
	if err := e.Kind.Validate(); err != nil {
		return in("kind", err)
	}
	if e.Device == "" && e.Deployment == "" && !e.Kind.mayBeAboutNobody() {
		return invalid("device", "device or deployment must be set")
	}
	if e.Device != "" {
		if err := e.Device.Validate(); err != nil {
			return in("device", err)
		}
	}
	if e.Deployment != "" {
		if err := e.Deployment.Validate(); err != nil {
			return in("deployment", err)
		}
	}
	if err := checkText("reason", e.Reason, maxNameLength); err != nil {
		return err
	}
	if err := checkText("actor", e.Actor, maxText); err != nil {
		return err
	}
	return checkMessage(e.Message)
}
