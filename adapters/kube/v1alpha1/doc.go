// Package v1alpha1 holds the Kubernetes resources of a fleet, Device and
// Deployment, as they appear on the API server. Domain code never sees them:
// package kube converts.
//
// +kubebuilder:object:generate=true
// +groupName=fleet.nationtech.io
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

const (
	// Group is the API group of the fleet.
	Group = "fleet.nationtech.io"
	// Version is the only version so far.
	Version = "v1alpha1"
	// Finalizer keeps a Deployment until the fleet has let go of it.
	Finalizer = Group + "/finalizer"
	// OriginAnnotation says who manages the deployment that a resource shows.
	OriginAnnotation = Group + "/origin"
)

// GroupVersion is that of all types in this package.
func GroupVersion() schema.GroupVersion { return schema.GroupVersion{Group: Group, Version: Version} }

// AddToScheme registers the types of this package.
func AddToScheme(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion(), &Device{}, &DeviceList{}, &Deployment{}, &DeploymentList{})
	metav1.AddToGroupVersion(scheme, GroupVersion())
	return nil
}
