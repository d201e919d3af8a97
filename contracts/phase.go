package contracts

import "slices"

// Phase is where one deployment stands on one device.
type Phase string

// The closed list of phases.
const (
	// PhasePending: on the way to running, nothing wrong so far.
	PhasePending Phase = "Pending"
	// PhaseRunning: every service runs as declared.
	PhaseRunning Phase = "Running"
	// PhaseDegraded: some services run, others do not.
	PhaseDegraded Phase = "Degraded"
	// PhaseFailed: nothing of the new set runs; the agent tries again.
	PhaseFailed Phase = "Failed"
	// PhaseRemoving: no longer wanted, still being stopped.
	PhaseRemoving Phase = "Removing"
)

// Phases returns the closed list of phases.
func Phases() []Phase {
	return []Phase{PhasePending, PhaseRunning, PhaseDegraded, PhaseFailed, PhaseRemoving}
}

// Validate accepts the phases of the closed list.
func (p Phase) Validate() error {
	if slices.Contains(Phases(), p) {
		return nil
	}
	return invalid("", "%q is not a known phase", p)
}

// Reason says in one word why a deployment is in its phase. PhaseRunning has
// no reason.
type Reason string

// The closed list of reasons.
const (
	ReasonStarting           Reason = "Starting"           // services are being started
	ReasonImagePulling       Reason = "ImagePulling"       // an image is being pulled
	ReasonInitRunning        Reason = "InitRunning"        // an init container runs
	ReasonStopping           Reason = "Stopping"           // services are being stopped
	ReasonImagePullFailed    Reason = "ImagePullFailed"    // an image could not be pulled
	ReasonInitFailed         Reason = "InitFailed"         // an init container ended with an error
	ReasonInitTimeout        Reason = "InitTimeout"        // an init container ran too long
	ReasonStartFailed        Reason = "StartFailed"        // a service could not be started
	ReasonCommandNotFound    Reason = "CommandNotFound"    // a service's program does not exist
	ReasonCrashLoop          Reason = "CrashLoop"          // a service ends again and again
	ReasonExited             Reason = "Exited"             // a service ended and shall not restart
	ReasonUnhealthy          Reason = "Unhealthy"          // a service's health check fails
	ReasonOutOfMemory        Reason = "OutOfMemory"        // a service exceeded its memory
	ReasonPortConflict       Reason = "PortConflict"       // a port of the host is taken
	ReasonDiskFull           Reason = "DiskFull"           // the device's disk is full
	ReasonRuntimeUnavailable Reason = "RuntimeUnavailable" // the container engine does not answer
	ReasonStopFailed         Reason = "StopFailed"         // a service could not be stopped or removed
	ReasonUnsupportedScore   Reason = "UnsupportedScore"   // no runtime on this device knows the score's type
	ReasonInvalidScore       Reason = "InvalidScore"       // the score's data is not valid
)

// Reasons returns the closed list of reasons.
func Reasons() []Reason {
	return []Reason{
		ReasonStarting, ReasonImagePulling, ReasonInitRunning, ReasonStopping,
		ReasonImagePullFailed, ReasonInitFailed, ReasonInitTimeout, ReasonStartFailed,
		ReasonCommandNotFound, ReasonCrashLoop, ReasonExited, ReasonUnhealthy,
		ReasonOutOfMemory, ReasonPortConflict, ReasonDiskFull, ReasonRuntimeUnavailable,
		ReasonStopFailed, ReasonUnsupportedScore, ReasonInvalidScore,
	}
}

// Validate accepts the reasons of the closed list and the empty one.
func (r Reason) Validate() error {
	if r == "" || slices.Contains(Reasons(), r) {
		return nil
	}
	return invalid("", "%q is not a known reason", r)
}

// ServiceState is the state of one service's process or container.
type ServiceState string

// The closed list of service states.
const (
	ServiceWaiting    ServiceState = "Waiting"    // not started yet
	ServiceRunning    ServiceState = "Running"    // its main process is alive
	ServiceRestarting ServiceState = "Restarting" // it ended and will be started again
	ServiceExited     ServiceState = "Exited"     // it ended and stays so
	ServiceUnhealthy  ServiceState = "Unhealthy"  // it runs and its health check fails
)

// Validate accepts the states of the closed list.
func (s ServiceState) Validate() error {
	switch s {
	case ServiceWaiting, ServiceRunning, ServiceRestarting, ServiceExited, ServiceUnhealthy:
		return nil
	default:
		return invalid("", "%q is not a known service state", s)
	}
}

// RefusalReason says why an agent did not accept a desired state.
type RefusalReason string

// The closed list of refusals.
const (
	RefusedMalformed       RefusalReason = "Malformed"       // not a valid document
	RefusedUnknownKey      RefusalReason = "UnknownKey"      // signed by a key not pinned on the device
	RefusedBadSignature    RefusalReason = "BadSignature"    // the signature does not fit
	RefusedWrongDevice     RefusalReason = "WrongDevice"     // another device's document
	RefusedOlderGeneration RefusalReason = "OlderGeneration" // older than the one held
)

// Validate accepts the refusals of the closed list.
func (r RefusalReason) Validate() error {
	switch r {
	case RefusedMalformed, RefusedUnknownKey, RefusedBadSignature, RefusedWrongDevice, RefusedOlderGeneration:
		return nil
	default:
		return invalid("", "%q is not a known refusal", r)
	}
}
