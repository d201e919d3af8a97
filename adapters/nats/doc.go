// Package nats implements the capabilities of the domain over NATS JetStream.
//
// A device holds no right to JetStream. It publishes reports and heartbeats
// into streams that do not acknowledge, hears its desired state on a subject to
// which the stored document is republished, and asks the SyncService for what
// it missed. Everything else (registry, deployments, leases, events) is for the
// operator and the tools, and lives in the buckets and streams that Setup makes.
package nats
