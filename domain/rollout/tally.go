package rollout

import (
	"slices"
	"strings"

	"github.com/nationtech/harmony-fleet/contracts"
)

// tally counts the devices of one deployment.
type tally struct {
	status contracts.DeploymentStatus
	// Of the devices that are online:
	online, onlineRunning, onlineMoving int
}

// count puts each device into exactly one phase.
func count(generation uint64, devices []Device) tally {
	t := tally{status: contracts.DeploymentStatus{ObservedGeneration: generation, Matched: len(devices)}}
	var worst problems
	for i := range devices {
		device := &devices[i]
		phase := t.add(generation, device)
		worst.consider(device, phase)
	}
	t.status.Problems = worst.list
	return t
}

func (t *tally) add(generation uint64, device *Device) contracts.Phase {
	if device.Reported == generation && device.Failure == "" {
		t.status.Updated++
	}
	phase := phaseOf(generation, device)
	switch phase {
	case contracts.PhaseRunning:
		t.status.Running++
	case contracts.PhaseDegraded:
		t.status.Degraded++
	case contracts.PhaseFailed:
		t.status.Failed++
	case contracts.PhasePending, contracts.PhaseRemoving:
		t.status.Pending++
	}
	if !device.Online {
		t.status.Offline++
		return phase
	}
	t.online++
	switch {
	case phase == contracts.PhaseRunning:
		t.onlineRunning++
	case phase == contracts.PhasePending && device.Refusal == "":
		t.onlineMoving++
	}
	return phase
}

// phaseOf is where the device stands with the given generation.
func phaseOf(generation uint64, device *Device) contracts.Phase {
	switch {
	case device.Failure != "":
		return contracts.PhaseFailed
	case device.Reported != generation, device.Phase == contracts.PhaseRemoving, device.Phase == "":
		return contracts.PhasePending
	default:
		return device.Phase
	}
}

// complete reports whether nothing is left to do.
func (t *tally) complete() bool {
	return t.status.Matched == 0 || t.onlineRunning == t.online && t.status.Running > 0
}

// problems keeps the worst contracts.MaxProblems problems, worst first.
type problems struct {
	list []contracts.Problem
}

// consider takes the device in when something is wrong with it, beyond being
// on its way.
func (p *problems) consider(device *Device, phase contracts.Phase) {
	problem := contracts.Problem{Device: device.ID, Phase: phase, Reason: device.Reason, Message: device.Message}
	switch {
	case device.Failure != "":
		problem.Reason, problem.Message = contracts.ReasonInvalidScore, device.Failure
	case phase == contracts.PhaseFailed, phase == contracts.PhaseDegraded:
	case phase == contracts.PhasePending && device.Refusal != "":
		problem.Reason, problem.Message = "", "the device refuses its desired state: "+device.Refusal
	default:
		return
	}
	if len(p.list) == contracts.MaxProblems && compareProblems(problem, p.list[len(p.list)-1]) >= 0 {
		return
	}
	i, _ := slices.BinarySearchFunc(p.list, problem, compareProblems)
	p.list = slices.Insert(p.list, i, problem)
	p.list = p.list[:min(len(p.list), contracts.MaxProblems)]
}

// compareProblems orders by severity, then by device.
func compareProblems(a, b contracts.Problem) int {
	if d := severity(a.Phase) - severity(b.Phase); d != 0 {
		return d
	}
	return strings.Compare(string(a.Device), string(b.Device))
}

func severity(phase contracts.Phase) int {
	switch phase {
	case contracts.PhaseFailed:
		return 0
	case contracts.PhaseDegraded:
		return 1
	case contracts.PhasePending, contracts.PhaseRunning, contracts.PhaseRemoving:
	}
	return 2
}
