package rollout

import (
	"fmt"

	"github.com/nationtech/harmony-fleet/contracts"
)

// Removal sums up a deployment that was deleted: devices are those that still
// have it, by their own report or in their desired state. generation is the
// last one. Like Decision.Status, the status has no times. It is done when no
// device that is online still has it and no desired state holds it (Assigned);
// devices that are offline remove it when they connect.
func Removal(generation uint64, devices []Device) (status contracts.DeploymentStatus, done bool) {
	status = contracts.DeploymentStatus{ObservedGeneration: generation, Removing: true, Matched: len(devices)}
	done = true
	var worst problems
	for i := range devices {
		device := &devices[i]
		if device.Online || device.Assigned > 0 {
			done = false
		}
		if !device.Online {
			status.Offline++
		}
		phase := device.Phase
		switch phase {
		case contracts.PhaseRunning:
			status.Running++
		case contracts.PhaseDegraded:
			status.Degraded++
		case contracts.PhaseFailed:
			status.Failed++
		case contracts.PhasePending, contracts.PhaseRemoving:
			status.Pending++
		default:
			phase = contracts.PhasePending
			status.Pending++
		}
		worst.consider(device, phase)
	}
	status.Problems = worst.list
	message := fmt.Sprintf("deleted; %d devices still have it, %d of them offline", status.Matched, status.Offline)
	status.Conditions = []contracts.Condition{
		condition(contracts.ConditionAvailable, false, ReasonRemoving, message),
		condition(contracts.ConditionProgressing, !done, ReasonRemoving, message),
		condition(contracts.ConditionStalled, false, ReasonRemoving, ""),
	}
	return status, done
}
