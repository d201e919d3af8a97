package show

import (
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
)

// Event is one thing that happened.
type Event struct {
	Time       time.Time `json:"time"`
	Kind       string    `json:"kind"`
	Device     string    `json:"device,omitempty"`
	Deployment string    `json:"deployment,omitempty"`
	Reason     string    `json:"reason,omitempty"`
	Message    string    `json:"message,omitempty"`
	Actor      string    `json:"actor,omitempty"`
}

// NewEvent returns the shown form of an event.
func NewEvent(e contracts.Event) Event {
	return Event{
		Time: e.Time.UTC(), Kind: string(e.Kind), Device: string(e.Device), Deployment: string(e.Deployment),
		Reason: e.Reason, Message: e.Message, Actor: e.Actor,
	}
}

// Object is what the event is about: "device/NAME", "deployment/NAME", or
// "DEVICE/DEPLOYMENT" for a deployment on one device.
func (e Event) Object() string {
	switch {
	case e.Device != "" && e.Deployment != "":
		return e.Device + "/" + e.Deployment
	case e.Device != "":
		return "device/" + e.Device
	default:
		return "deployment/" + e.Deployment
	}
}
