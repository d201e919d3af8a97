// Package kube has the topology of a Kubernetes cluster and what can be in one:
// objects, secrets, and releases of charts from several kinds of source.
package kube
