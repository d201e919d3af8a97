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

// EnrollPermissions are those of the holder of an enrollment token: to ask, and
// to receive the answer. The service that answers must refuse any reply subject
// outside contracts.EnrollmentInboxPrefix of the token that the request holds.
func EnrollPermissions(token string) Permissions {
	return Permissions{
		PublishAllow:   []string{contracts.EnrollSubject},
		SubscribeAllow: []string{contracts.EnrollmentInboxPrefix(token) + ".>"},
	}
}

// ViewerPermissions are those of somebody who reads: what is stored of
// viewedStreams, message by message, and what happens, as it happens. They hold
// in an account of its own, see ServerConfig: whoever may ask the broker
// anything can have the answer written wherever it likes, but only within its
// own account. Consumers are not allowed even there, since they deliver within
// the fleet's account. Desired state and enrollments are not shown: they hold
// what only a device may know.
func ViewerPermissions() Permissions {
	p := Permissions{SubscribeAllow: append([]string{"_INBOX.>"}, viewedSubjects()...)}
	for _, stream := range viewedStreams() {
		p.PublishAllow = append(p.PublishAllow, viewedGet(stream))
	}
	return p
}

// viewedStreams are what viewers may read.
func viewedStreams() []string {
	return []string{
		bucketStream(contracts.BucketDevices),
		bucketStream(contracts.BucketDeployments),
		bucketStream(contracts.BucketDeploymentStatus),
		contracts.StreamReports,
		contracts.StreamHeartbeats,
		contracts.StreamEvents,
	}
}

// viewedSubjects are what viewers may hear.
func viewedSubjects() []string {
	return []string{contracts.AllReports, contracts.AllHeartbeats, contracts.AllEvents}
}

// messageGet is the request for one message of a stream, by its sequence or as
// the last or next of a subject.
func messageGet(stream string) string { return "$JS.API." + messageGetPrefix + stream }

const messageGetPrefix = "STREAM.MSG.GET."

// ViewPrefix is what JetStream's "$JS.API" is called for a viewer: to a tool it
// is the prefix of another account.
const ViewPrefix = "fleet.view.API"

func viewedGet(stream string) string { return ViewPrefix + "." + messageGetPrefix + stream }

// CalloutPermissions are those of the auth callout in its own account.
func CalloutPermissions() Permissions {
	return Permissions{PublishAllow: []string{"$SYS._INBOX.>"}, SubscribeAllow: []string{calloutSubject}}
}

// SystemPermissions are those of the auth callout in the system account: to
// list connections and to end them.
func SystemPermissions() Permissions {
	return Permissions{
		PublishAllow:   []string{listSubject, kickSubject("*")},
		SubscribeAllow: []string{"_INBOX.>"},
	}
}
