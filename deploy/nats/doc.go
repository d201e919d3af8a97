// Package nats brings up the broker of a fleet in a cluster, from the upstream
// chart of NATS.
package nats
