package contracts

// Key-value buckets. The key of an entry is a device ID or a deployment name.
const (
	// BucketDesiredState holds one signed DesiredState per device.
	BucketDesiredState = "desired-state"
	// BucketDeployments holds one DeploymentRecord per deployment.
	BucketDeployments = "deployments"
	// BucketDeploymentStatus holds one DeploymentStatus per deployment.
	BucketDeploymentStatus = "deployment-status"
	// BucketDevices holds one DeviceRecord per registered device.
	BucketDevices = "devices"
	// BucketEnrollments holds one EnrollmentIntent per expected device.
	BucketEnrollments = "enrollments"
	// BucketLeases holds who leads, for operators outside Kubernetes.
	BucketLeases = "leases"
)

// Revisions kept per key.
const (
	DesiredStateHistory = 10
	DeploymentHistory   = 64
)

// Streams.
const (
	// StreamReports keeps the last info and the last state of each device.
	StreamReports = "device-reports"
	// StreamHeartbeats keeps the last heartbeat of each device, in memory.
	StreamHeartbeats = "device-heartbeats"
	// StreamEvents keeps the fleet's events.
	StreamEvents = "fleet-events"
)
