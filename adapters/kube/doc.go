// Package kube shows the fleet as Kubernetes resources and takes deployments in
// that are made there. Nothing else of the fleet's core knows Kubernetes.
package kube
