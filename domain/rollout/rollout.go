// Package rollout decides which generation of a deployment each device shall
// be given, and sums up how far a deployment is. Everything in it is a pure
// function: the same input gives the same output, in any order of devices.
package rollout

import (
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
)

// Input is one deployment and the devices that it matches.
type Input struct {
	// Now is the time of the decision.
	Now time.Time
	// Generation is that of the current spec.
	Generation uint64
	// Rollout is that of the current spec.
	Rollout contracts.Rollout
	// Devices are registered, not revoked and chosen by the selector, each once,
	// in any order.
	Devices []Device
}

// Device is what is known about the deployment on one device.
type Device struct {
	ID     contracts.DeviceID
	Online bool

	// Assigned is the generation that the device was given last, 0 for none; an
	// older one than Input.Generation while a rollout has not come to it.
	Assigned uint64
	// AssignedAt is when, or when the operator started if that was later.
	AssignedAt time.Time

	// Reported is the generation that the device acted upon last, 0 for none.
	Reported uint64
	Phase    contracts.Phase
	Reason   contracts.Reason
	Message  string
	// Since is when the device came into its phase, in its own clock, but never
	// later than it said so.
	Since time.Time

	// Failure is why the assigned generation cannot be given to this device,
	// empty when it can.
	Failure string
	// Refusal is why the device does not accept its desired state, empty when
	// it does.
	Refusal string
}

// Decision is what to do now, and how far the deployment is.
type Decision struct {
	// Assign is the generation for each device, in the order of Input.Devices.
	Assign []uint64
	// Status has no UpdatedAt, and no LastTransitionTime in its conditions.
	Status contracts.DeploymentStatus
	// Complete: the current generation runs on every device that is online, and
	// on one at least; or there is no device at all.
	Complete bool
}

// Plan decides for one deployment. A strategy that this version does not have
// moves nothing: every device keeps what it has, and the deployment is stalled.
func Plan(in Input) Decision {
	switch in.Rollout.Strategy {
	case "", contracts.StrategyAllAtOnce:
		return allAtOnce(in)
	case contracts.StrategyRolling, contracts.StrategyStaged:
	}
	return unsupported(in)
}

// allAtOnce gives every device the current generation.
func allAtOnce(in Input) Decision {
	assign := make([]uint64, len(in.Devices))
	for i := range assign {
		assign[i] = in.Generation
	}
	t := count(in.Generation, in.Devices)
	status := t.status
	status.Conditions = t.conditions(in.Generation)
	return Decision{Assign: assign, Status: status, Complete: t.complete()}
}

func unsupported(in Input) Decision {
	assign := make([]uint64, len(in.Devices))
	for i, device := range in.Devices {
		assign[i] = device.Assigned
	}
	t := count(in.Generation, in.Devices)
	status := t.status
	message := "this version of the operator does not know the strategy " + string(in.Rollout.Strategy) +
		": every device keeps what it has"
	status.Conditions = []contracts.Condition{
		t.available(in.Generation),
		condition(contracts.ConditionProgressing, false, ReasonUnsupportedStrategy, message),
		condition(contracts.ConditionStalled, true, ReasonUnsupportedStrategy, message),
	}
	return Decision{Assign: assign, Status: status}
}
