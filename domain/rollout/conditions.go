package rollout

import (
	"fmt"

	"github.com/nationtech/harmony-fleet/contracts"
)

// Reasons of the conditions of a deployment.
const (
	ReasonComplete            = "Complete"            // runs on every device that is online
	ReasonNoDevices           = "NoDevices"           // the selector chooses no device
	ReasonAllOffline          = "AllOffline"          // no matched device is online
	ReasonUpdating            = "Updating"            // devices are on their way
	ReasonDevicesFailing      = "DevicesFailing"      // the rest does not run it
	ReasonRemoving            = "Removing"            // deleted, still being stopped
	ReasonUnsupportedStrategy = "UnsupportedStrategy" // a newer version's strategy
)

// maxMessage keeps a condition's text short: the problems have the details.
const maxMessage = 512

func (t *tally) conditions(generation uint64) []contracts.Condition {
	return []contracts.Condition{t.available(generation), t.progressing(generation), t.stalled(generation)}
}

func (t *tally) available(generation uint64) contracts.Condition {
	const kind = contracts.ConditionAvailable
	switch {
	case t.status.Matched == 0:
		return condition(kind, true, ReasonNoDevices, "no registered device matches the selector")
	case t.online == 0:
		c := condition(kind, false, ReasonAllOffline, t.offlineMessage())
		c.Status = contracts.ConditionUnknown
		return c
	case t.onlineRunning == t.online:
		return condition(kind, true, ReasonComplete, t.progress(generation))
	case t.onlineMoving > 0:
		return condition(kind, false, ReasonUpdating, t.progress(generation))
	default:
		return condition(kind, false, ReasonDevicesFailing, t.progress(generation))
	}
}

func (t *tally) progressing(generation uint64) contracts.Condition {
	const kind = contracts.ConditionProgressing
	switch {
	case t.onlineMoving > 0:
		return condition(kind, true, ReasonUpdating, t.progress(generation))
	case t.status.Matched == 0:
		return condition(kind, false, ReasonNoDevices, "")
	case t.online == 0 && t.status.Running < t.status.Matched:
		return condition(kind, false, ReasonAllOffline, t.offlineMessage())
	case t.onlineRunning == t.online:
		return condition(kind, false, ReasonComplete, t.progress(generation))
	default:
		return condition(kind, false, ReasonDevicesFailing, t.progress(generation))
	}
}

// stalled: some online devices do not run it, and none is on its way.
func (t *tally) stalled(generation uint64) contracts.Condition {
	const kind = contracts.ConditionStalled
	if t.onlineMoving > 0 || t.onlineRunning == t.online {
		return condition(kind, false, t.progressing(generation).Reason, "")
	}
	message := t.progress(generation)
	if len(t.status.Problems) > 0 {
		worst := t.status.Problems[0]
		message += fmt.Sprintf("; on %s: %s: %s", worst.Device, worst.Reason, worst.Message)
	}
	return condition(kind, true, ReasonDevicesFailing, message)
}

func (t *tally) progress(generation uint64) string {
	text := fmt.Sprintf("%d of %d online devices run generation %d", t.onlineRunning, t.online, generation)
	if t.status.Offline > 0 {
		text += fmt.Sprintf("; %d offline", t.status.Offline)
	}
	return text
}

func (t *tally) offlineMessage() string {
	return fmt.Sprintf("all %d matched devices are offline; they catch up when they connect", t.status.Matched)
}

func condition(kind contracts.ConditionType, holds bool, reason, message string) contracts.Condition {
	status := contracts.ConditionFalse
	if holds {
		status = contracts.ConditionTrue
	}
	return contracts.Condition{Type: kind, Status: status, Reason: reason, Message: contracts.Clip(message, maxMessage)}
}
