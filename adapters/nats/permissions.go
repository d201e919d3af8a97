package nats

import (
	"time"

	"github.com/nationtech/harmony-fleet/contracts"
)

// Permissions are what one user of the broker may do, as plain data.
type Permissions struct {
	PublishAllow   []string
	PublishDeny    []string
	SubscribeAllow []string
	// Responses is how many replies to one received request may be published to
	// its reply subject, and ResponseTime within which time; zero for none.
	Responses    int
	ResponseTime time.Duration
}

// commandResponseTime is a little more than the longest command takes.
const commandResponseTime = 11 * time.Minute

// DevicePermissions are those of one device: its own subjects, replies to the
// commands it receives, and nothing of JetStream. The server never checks the
// reply subject of a request, so whoever may ask JetStream anything can have
// the answer written wherever it likes.
func DevicePermissions(device contracts.DeviceID) Permissions {
	return Permissions{
		PublishAllow: []string{
			contracts.SyncSubject(device),
			contracts.ReportsSubject(device),
			contracts.HeartbeatSubject(device),
		},
		SubscribeAllow: []string{
			contracts.DesiredSubject(device),
			contracts.CommandsSubject(device),
			contracts.InboxPrefix(device) + ".>",
		},
		Responses:    1,
		ResponseTime: commandResponseTime,
	}
}

// OperatorPermissions are everything within the fleet's account but speaking
// as a device and the live desired state, which only the store publishes.
func OperatorPermissions() Permissions {
	return Permissions{
		PublishAllow: []string{">"},
		PublishDeny: []string{
			contracts.AllReports,
			contracts.AllHeartbeats,
			contracts.AllSyncs,
			contracts.AllDesired,
		},
		SubscribeAllow: []string{">"},
	}
}
