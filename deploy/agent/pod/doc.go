// Package pod brings up fleet-agent in a cluster: a device that is a pod, for
// gateways that live there and for fleets to try things with.
package pod
