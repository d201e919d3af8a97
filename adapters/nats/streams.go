package nats

import (
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/nationtech/harmony-fleet/contracts"
)

const (
	// headerRoom is what headers may add to a document.
	headerRoom = 4 << 10
	// duplicateWindow is the shortest that the server accepts. Nobody uses
	// message IDs here, and a device must not make another's message look like a
	// duplicate by guessing one.
	duplicateWindow = 100 * time.Millisecond

	heartbeatAge   = 24 * time.Hour
	eventAge       = 90 * 24 * time.Hour
	eventBytes     = 1 << 30
	operatorKeys   = "*"
	bucketPrefix   = "KV_"
	keySubjectRoot = "$KV."
)

func bucketStream(bucket string) string { return bucketPrefix + bucket }

func keySubject(bucket, key string) string { return keySubjectRoot + bucket + "." + key }

// streamConfigs are the streams of a fleet, all its buckets among them.
func streamConfigs(replicas int) []jetstream.StreamConfig {
	return []jetstream.StreamConfig{
		desiredStateStream(replicas),
		bucketConfig(contracts.BucketDeployments, contracts.DeploymentHistory, replicas),
		bucketConfig(contracts.BucketDeploymentStatus, 1, replicas),
		bucketConfig(contracts.BucketDevices, 1, replicas),
		bucketConfig(contracts.BucketEnrollments, 1, replicas),
		bucketConfig(contracts.BucketLeases, 1, replicas),
		reportsStream(replicas),
		heartbeatsStream(replicas),
		eventsStream(replicas),
	}
}

// bucketConfig is a key-value bucket as every NATS tool understands it, less
// the roll-up that client libraries switch on: one header could empty it.
// Direct reads are off, so that a read goes to the leader and sees every write.
func bucketConfig(bucket string, history int64, replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              bucketStream(bucket),
		Subjects:          []string{keySubject(bucket, ">")},
		MaxMsgsPerSubject: history,
		MaxMsgs:           -1,
		MaxBytes:          -1,
		MaxMsgSize:        -1,
		MaxConsumers:      -1,
		Discard:           jetstream.DiscardNew,
		Storage:           jetstream.FileStorage,
		Replicas:          replicas,
		Duplicates:        duplicateWindow,
		DenyDelete:        true,
	}
}

// desiredStateStream is a bucket, too. Documents come in atomic batches, which
// cost one fsync each on a store that syncs always; what is stored is
// republished to its device; and the sync service reads it in batches.
func desiredStateStream(replicas int) jetstream.StreamConfig {
	config := bucketConfig(contracts.BucketDesiredState, contracts.DesiredStateHistory, replicas)
	config.AllowDirect = true
	config.AllowAtomicPublish = true
	config.RePublish = &jetstream.RePublish{
		Source:      keySubject(contracts.BucketDesiredState, operatorKeys),
		Destination: "fleet.desired.{{wildcard(1)}}",
	}
	return config
}

// reportsStream takes what devices write. It acknowledges nothing, because an
// acknowledgement goes to any subject that a device names, and it has exactly
// the two subjects per device, so that no device can fill it. DenyPurge stays
// off: ObservedStateConsumer.Forget purges a device's subjects, and no device has the
// right to ask for a purge; with roll-up off no header can do it either.
func reportsStream(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: contracts.StreamReports,
		Subjects: []string{
			contracts.ReportSubject("*", contracts.ReportInfo),
			contracts.ReportSubject("*", contracts.ReportState),
		},
		MaxMsgsPerSubject: 1,
		MaxMsgs:           -1,
		MaxBytes:          -1,
		MaxMsgSize:        contracts.MaxDocumentBytes + headerRoom,
		MaxConsumers:      -1,
		Storage:           jetstream.FileStorage,
		Replicas:          replicas,
		NoAck:             true,
		Duplicates:        duplicateWindow,
		DenyDelete:        true,
		PersistMode:       persistAsync(replicas),
	}
}

// heartbeatsStream is reportsStream in memory.
func heartbeatsStream(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              contracts.StreamHeartbeats,
		Subjects:          []string{contracts.AllHeartbeats},
		MaxMsgsPerSubject: 1,
		MaxMsgs:           -1,
		MaxBytes:          -1,
		MaxMsgSize:        contracts.MaxHeartbeatBytes + headerRoom,
		MaxConsumers:      -1,
		MaxAge:            heartbeatAge,
		Storage:           jetstream.MemoryStorage,
		Replicas:          replicas,
		NoAck:             true,
		Duplicates:        duplicateWindow,
		DenyDelete:        true,
	}
}

func eventsStream(replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:              contracts.StreamEvents,
		Subjects:          []string{contracts.AllEvents},
		MaxMsgsPerSubject: -1,
		MaxMsgs:           -1,
		MaxBytes:          eventBytes,
		MaxAge:            eventAge,
		MaxMsgSize:        headerRoom * 4,
		MaxConsumers:      -1,
		Storage:           jetstream.FileStorage,
		Replicas:          replicas,
		Duplicates:        duplicateWindow,
		DenyDelete:        true,
		PersistMode:       persistAsync(replicas),
	}
}

// persistAsync keeps reports and events from costing an fsync each on a store
// that syncs always: a lost report is sent again. The server has it for
// streams without replicas only; with them it is not needed.
func persistAsync(replicas int) jetstream.PersistModeType {
	if replicas > 1 {
		return jetstream.DefaultPersistMode
	}
	return jetstream.AsyncPersistMode
}
